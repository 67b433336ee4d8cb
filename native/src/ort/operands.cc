#include "operands.h"

#include "tasks.h"

namespace g4::ort {

bool exact_activations(const Node& node, const OrtKernelInfo* info) {
  const std::string activations = word(node, info, "activations", "int8");
  if (activations != "int8" && activations != "float32")
    node.wrong("activations is \"" + activations + "\", not \"int8\" or \"float32\"");
  return activations == "float32";
}

std::size_t Call::outputs() const {
  std::size_t count = 0;
  node_.check(node_.api().KernelContext_GetOutputCount(context_, &count));
  return count;
}

std::size_t Call::inputs() const {
  std::size_t count = 0;
  node_.check(node_.api().KernelContext_GetInputCount(context_, &count));
  return count;
}

const OrtValue* Call::input(std::size_t index) const {
  if (index >= inputs()) return nullptr;
  const OrtValue* value = nullptr;
  node_.check(node_.api().KernelContext_GetInput(context_, index, &value));
  return value;
}

Tensor Call::tensor(std::size_t index, const char* operand) const {
  const OrtValue* value = input(index);
  if (!value) node_.wrong(std::string(operand) + " is missing");
  return node_.tensor(value);
}

void* Call::output(const Shape& shape, std::size_t index) const {
  OrtValue* value = nullptr;
  void* data = nullptr;
  node_.check(node_.api().KernelContext_GetOutput(context_, index, shape.data(), shape.size(), &value));
  node_.check(node_.api().GetTensorMutableData(value, &data));
  return data;
}

void Call::run(void* context, std::size_t tasks, Task task, void* argument) {
  const Call& call = *static_cast<Call*>(context);
  Tasks(task, argument).run([&](Task each, void* given) {
    call.node_.check(call.node_.api().KernelContext_ParallelFor(call.context_, each, tasks, std::size_t{0}, given));
  });
}

WeightOperands::WeightOperands(const Node& node, const OrtKernelInfo* info, std::size_t first)
    : WeightOperands(node, info,
                     {integer(node, info, "bits"), integer(node, info, "block", 0), integer(node, info, "K"),
                      integer(node, info, "N")},
                     {{{"codes", first}, {"scales", first + 1}, {"zero_points", first + 2}}}, 0) {}

WeightOperands::WeightOperands(const Node& node, const OrtKernelInfo* info, const Format& format,
                               const Operands& operands, std::int64_t count)
    : format_(format), operands_(operands), count_(count) {
  const std::string wrong = problem(format_);
  if (!wrong.empty()) node.wrong(wrong);
  for (std::size_t operand = 0; operand < 3; ++operand) {
    int constant = 0;
    const OrtValue* value = nullptr;
    OrtStatus* status = node.api().KernelInfoGetConstantInput_tensor(info, operands_[operand].index, &constant, &value);
    if (status)
      node.api().ReleaseStatus(status);  // the node has no such input
    else if (constant && value)
      constants_[operand] = check(node, operand, node.tensor(value));
  }
}

const void* WeightOperands::check(const Node& node, std::size_t operand, const Tensor& tensor) const {
  const Format& f = format_;
  const char* const name = operands_[operand].name;
  const auto stacked = [&](Shape shape) {
    if (count_) shape.insert(shape.begin(), count_);
    return shape;
  };
  const Shape blocks = stacked({f.panels(), f.blocks(), kPanel});
  if (operand == 0)
    return node.data(name, tensor, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8, stacked({f.panels(), f.panel_bytes()}));
  if (operand == 2) return node.data(name, tensor, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8, blocks);
  if (f.block) return node.data(name, tensor, ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16, blocks);
  return node.data(name, tensor, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, stacked({f.panels() * kPanel}));
}

Weights WeightOperands::read(const Node& node, const Call& call) const {
  const void* found[3];
  for (std::size_t operand = 0; operand < 3; ++operand) {
    const Operand& one = operands_[operand];
    found[operand] = constants_[operand];
    if (!found[operand] && (operand < 2 || call.has(one.index)))
      found[operand] = check(node, operand, call.tensor(one.index, one.name));
  }
  return {format_, static_cast<const std::uint8_t*>(found[0]), found[1], static_cast<const std::uint8_t*>(found[2])};
}

}  // namespace g4::ort
