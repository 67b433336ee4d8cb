#include "node_plan.h"

#include <algorithm>
#include <limits>

#include "driver.h"

namespace g4::cuda {
namespace {

constexpr int kProgrammaticSerialization = 6;  // CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION
// A compiler of kernels may add pointers to scratch memory behind the arguments; they are null where it needs none.
constexpr std::size_t kHidden = 2;

// A list of strings. ONNX Runtime allocates it, and everything in it.
std::vector<std::string> strings(const ort::Node& node, const OrtKernelInfo* info, const char* name) {
  const ort::Api& api = node.api();
  OrtAllocator* allocator = nullptr;
  node.check(api.GetAllocatorWithDefaultOptions(&allocator));
  char** list = nullptr;
  std::size_t size = 0;
  if (OrtStatus* status = api.KernelInfoGetAttributeArray_string(info, name, allocator, &list, &size)) {
    api.ReleaseStatus(status);
    node.wrong("there is no attribute " + std::string(name) + " of strings");
  }
  std::vector<std::string> found;
  for (std::size_t i = 0; list && i < size; ++i) {
    found.emplace_back(list[i]);
    node.check(api.AllocatorFree(allocator, list[i]));
  }
  if (list) node.check(api.AllocatorFree(allocator, list));
  return found;
}

// Which of the operands of a node are there: an absent one has no name.
template <class Count, class Name>
std::vector<bool> present(const ort::Node& node, std::size_t most, const Count& count, const Name& name) {
  std::size_t given = 0;
  node.check(count(&given));
  std::vector<bool> found(most);
  for (std::size_t i = 0; i < std::min(given, most); ++i) {
    std::size_t size = 0;
    node.check(name(i, &size));
    found[i] = size > 1;  // there is a zero behind the name
  }
  return found;
}

Plan read_plan(const ort::Node& node, const OrtKernelInfo* info, std::size_t inputs, std::size_t outputs) {
  const ort::Api& api = node.api();
  char* const none = nullptr;
  Operands operands;
  operands.inputs = present(
      node, inputs, [&](std::size_t* n) { return api.KernelInfo_GetInputCount(info, n); },
      [&](std::size_t i, std::size_t* n) { return api.KernelInfo_GetInputName(info, i, none, n); });
  operands.outputs = present(
      node, outputs, [&](std::size_t* n) { return api.KernelInfo_GetOutputCount(info, n); },
      [&](std::size_t i, std::size_t* n) { return api.KernelInfo_GetOutputName(info, i, none, n); });
  const std::vector<std::string> launches = strings(node, info, "launches"), sizes = strings(node, info, "sizes");
  return node.named([&] { return Plan(launches, sizes, operands, Registry::get()); });
}

// An argument as the driver reads it: by its address.
union Slot {
  void* address;
  std::int32_t integer;
};

std::size_t bytes_of(const Argument& argument) {
  return argument.kind == Argument::Kind::integer ? sizeof(std::int32_t) : sizeof(void*);
}

// Throws Wrong where the arguments of a launch are not what the machine code reads.
void check_parameters(const Launch& launch, const Kernel::Loaded& loaded) {
  const std::size_t given = launch.arguments.size(), taken = loaded.parameters.size();
  bool fits = given <= taken && taken <= given + kHidden;
  for (std::size_t i = 0; fits && i < taken; ++i)
    fits = loaded.parameters[i] == (i < given ? bytes_of(launch.arguments[i]) : sizeof(void*));
  if (fits) return;
  std::string words = "the kernel \"" + launch.kernel->record().name + "\" takes parameters of";
  for (const std::size_t size : loaded.parameters) words.append(" ").append(std::to_string(size));
  words += " bytes, and the launch has arguments of";
  for (const Argument& argument : launch.arguments) words.append(" ").append(std::to_string(bytes_of(argument)));
  throw Wrong(words);
}

std::int64_t within(std::int64_t value, const Expression& expression) {
  if (value > std::numeric_limits<std::int32_t>::max())
    throw Wrong(expression.text() + " is " + std::to_string(value) + ", more than an int32 holds");
  return value;
}

}  // namespace

PlannedNode::PlannedNode(const OrtApi* table, const OrtKernelInfo* info, const char* op, std::size_t inputs,
                         Types outputs)
    : node_(table, info, op),
      types_(outputs),
      plan_(read_plan(node_, info, inputs, outputs.size())),
      allocator_(node_, info) {
  node_.check(node_.api().KernelInfo_GetInputCount(info, &input_count_));
}

void PlannedNode::compute(OrtKernelContext* context) const {
  Call call;
  read_inputs(context, call);
  const Scope scope{std::span<const Dimensions>(call.sizes, input_count_), {}};
  const Choice* choice = node_.named([&] { return &plan_.choose(scope); });
  for (const OutputSize& output : choice->outputs) make_output(context, output, call);
  if (choice->launches.empty()) return;
  Scratch scratch(allocator_);
  node_.named([&] {
    for (const OutputSize& one : choice->scratch) call.outputs[one.index] = scratch.take(scratch_bytes(one, scope));
  });
  void* stream = nullptr;
  node_.check(node_.api().KernelContext_GetGPUComputeStream(context, &stream));
  node_.named([&] {
    const unsigned long long cuda_context = Driver::get().context();
    for (const Launch& one : choice->launches) launch(one, call, cuda_context, stream);
  });
}

void PlannedNode::read_inputs(OrtKernelContext* context, Call& call) const {
  const ort::Api& api = node_.api();
  for (std::size_t i = 0; i < input_count_; ++i) {
    const bool address = plan_.reads_address(i), sizes = plan_.reads_sizes(i);
    if (!address && !sizes) continue;
    const OrtValue* value = nullptr;
    node_.check(api.KernelContext_GetInput(context, i, &value));
    if (!value) node_.wrong("input " + std::to_string(i) + " has no value");
    if (address)
      node_.check(api.GetTensorMutableData(const_cast<OrtValue*>(value), &call.inputs[i]));  // a cache is written
    if (!sizes) continue;
    ONNXTensorElementDataType type;
    node_.check(api.GetTensorElementTypeAndShapeDataReference(value, &type, &call.sizes[i].sizes, &call.sizes[i].rank));
  }
}

void PlannedNode::make_output(OrtKernelContext* context, const OutputSize& output, Call& call) const {
  const ort::Api& api = node_.api();
  std::int64_t dims[kMaxRank] = {};
  node_.named([&] {
    const Scope scope{std::span<const Dimensions>(call.sizes, input_count_), {}};
    for (std::size_t i = 0; i < output.dims.size(); ++i) dims[i] = output.dims[i].value(scope);
  });
  OrtValue* value = nullptr;
  node_.check(api.KernelContext_GetOutput(context, output.index, static_cast<const std::int64_t*>(dims),
                                          output.dims.size(), &value));
  node_.check(api.GetTensorMutableData(value, &call.outputs[output.index]));
}

std::size_t PlannedNode::scratch_bytes(const OutputSize& output, const Scope& scope) const {
  std::size_t bytes = ort::element_bytes(types_[output.index]);
  for (const Expression& dim : output.dims)
    if (__builtin_mul_overflow(bytes, dim.value(scope), &bytes))
      throw Wrong("the scratch o" + std::to_string(output.index) + " has more bytes than 64 bits hold");
  return bytes;
}

void PlannedNode::launch(const Launch& launch, const Call& call, unsigned long long cuda_context, void* stream) const {
  const Record& record = launch.kernel->record();
  const std::size_t count = launch.arguments.size();
  Slot slots[kMaxArguments + kHidden] = {};
  void* arguments[kMaxArguments + kHidden];
  std::int64_t integers[kMaxArguments];
  std::size_t integer_count = 0;
  const Scope sizes{std::span<const Dimensions>(call.sizes, input_count_), {}};
  for (std::size_t i = 0; i < count; ++i) {
    const Argument& argument = launch.arguments[i];
    if (argument.kind == Argument::Kind::integer) {
      const std::int64_t value = within(argument.expression[0].value(sizes), argument.expression[0]);
      slots[i].integer = static_cast<std::int32_t>(value);
      integers[integer_count++] = value;
    } else if (argument.kind == Argument::Kind::null) {
      slots[i].address = nullptr;
    } else {
      slots[i].address = (argument.kind == Argument::Kind::input ? call.inputs : call.outputs)[argument.index];
    }
  }
  for (std::size_t i = 0; i < count + kHidden; ++i) arguments[i] = &slots[i];

  unsigned grid[3];
  const Scope of_launch{{}, std::span<const std::int64_t>(integers, integer_count)};
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const Expression& expression = launch.kernel->grid()[axis];
    grid[axis] = static_cast<unsigned>(within(expression.value(of_launch), expression));
  }
  if (!grid[0] || !grid[1] || !grid[2]) return;

  const Driver& driver = Driver::get();
  const Kernel::Loaded& loaded = launch.kernel->in(cuda_context);
  check_parameters(launch, loaded);
  Result result = 0;
  if (record.dependent) {
    LaunchAttribute attribute{kProgrammaticSerialization, 0, 1, {}};
    const LaunchConfig config{{grid[0], grid[1], grid[2]}, {record.threads, 1, 1}, record.shared, stream, &attribute, 1};
    result = driver.cuLaunchKernelEx(&config, loaded.function, arguments, nullptr);
  } else {
    result = driver.cuLaunchKernel(loaded.function, grid[0], grid[1], grid[2], record.threads, 1, 1, record.shared,
                                   stream, arguments, nullptr);
  }
  if (result)
    driver.check(result, record.dependent ? "cuLaunchKernelEx" : "cuLaunchKernel",
                 "the kernel \"" + record.name + "\" (grid " + std::to_string(grid[0]) + " " + std::to_string(grid[1]) +
                     " " + std::to_string(grid[2]) + ", " + std::to_string(record.threads) + " threads, " +
                     std::to_string(record.shared) + " bytes of shared memory)");
}

}  // namespace g4::cuda
