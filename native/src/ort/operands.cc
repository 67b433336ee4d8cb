#include "operands.h"

namespace g4::ort {
namespace {

const char* type_name(ONNXTensorElementDataType type) {
  switch (type) {
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT: return "float32";
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8: return "uint8";
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8: return "int8";
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16: return "uint16";
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64: return "int64";
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16: return "bfloat16";
    default: return "another type";
  }
}

std::size_t element_bytes(ONNXTensorElementDataType type) {
  switch (type) {
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT: return 4;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64: return 8;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16:
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16: return 2;
    default: return 1;
  }
}

}  // namespace

std::string text(const Shape& shape) {
  std::string words = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) words += (i ? ", " : "") + std::to_string(shape[i]);
  return words + "]";
}

std::int64_t rows_of(const Shape& shape) {
  std::int64_t rows = 1;
  for (std::size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
  return rows;
}

Node::Node(const OrtApi* table, const OrtKernelInfo* info, const char* op) : api_(table), name_(op) {
  std::size_t size = 0;
  check(api_.KernelInfo_GetNodeName(info, static_cast<char*>(nullptr), &size));
  std::string name(size, '\0');
  check(api_.KernelInfo_GetNodeName(info, name.data(), &size));
  while (!name.empty() && name.back() == '\0') name.pop_back();
  if (!name.empty()) name_ += " \"" + name + "\"";
}

void Node::check(OrtStatus* status) const {
  if (!status) return;
  const std::string words = api_.GetErrorMessage(status);
  api_.ReleaseStatus(status);
  wrong(words);
}

Tensor Node::tensor(const OrtValue* value) const {
  OrtTensorTypeAndShapeInfo* info = nullptr;
  check(api_.GetTensorTypeAndShape(value, &info));
  Tensor tensor;
  std::size_t rank = 0;
  OrtStatus* status = api_.GetTensorElementType(info, &tensor.type);
  if (!status) status = api_.GetDimensionsCount(info, &rank);
  if (!status) {
    tensor.shape.resize(rank);
    status = api_.GetDimensions(info, tensor.shape.data(), rank);
  }
  api_.ReleaseTensorTypeAndShapeInfo(info);
  check(status);
  check(api_.GetTensorMutableData(const_cast<OrtValue*>(value), &tensor.data));  // there is no call for const data
  return tensor;
}

const void* Node::aligned(const char* operand, const Tensor& tensor) const {
  // Packed activations are bytes that hold numbers of 4.
  const std::size_t bytes = tensor.type == ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8 ? 4 : element_bytes(tensor.type);
  if (reinterpret_cast<std::uintptr_t>(tensor.data) % bytes)
    wrong(std::string(operand) + " is not aligned to " + std::to_string(bytes) + " bytes");
  return tensor.data;
}

const void* Node::data(const char* operand, const Tensor& tensor, ONNXTensorElementDataType type,
                       const Shape& shape) const {
  if (tensor.type != type) wrong(std::string(operand) + " is " + type_name(tensor.type) + ", not " + type_name(type));
  if (tensor.shape != shape)
    wrong(std::string(operand) + " has shape " + text(tensor.shape) + ", not " + text(shape));
  return type == ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8 ? tensor.data : aligned(operand, tensor);
}

std::int64_t integer(const Node& node, const OrtKernelInfo* info, const char* name) {
  std::int64_t value = 0;
  OrtStatus* status = node.api().KernelInfoGetAttribute_int64(info, name, &value);
  if (!status) return value;
  node.api().ReleaseStatus(status);
  node.wrong("there is no integer attribute " + std::string(name));
}

std::int64_t integer(const Node& node, const OrtKernelInfo* info, const char* name, std::int64_t otherwise) {
  std::int64_t value = otherwise;
  OrtStatus* status = node.api().KernelInfoGetAttribute_int64(info, name, &value);
  if (status) node.api().ReleaseStatus(status);
  return status ? otherwise : value;
}

float number(const Node& node, const OrtKernelInfo* info, const char* name) {
  float value = 0;
  OrtStatus* status = node.api().KernelInfoGetAttribute_float(info, name, &value);
  if (!status) return value;
  node.api().ReleaseStatus(status);
  node.wrong("there is no float attribute " + std::string(name));
}

std::string word(const Node& node, const OrtKernelInfo* info, const char* name, const char* otherwise) {
  std::size_t size = 0;
  OrtStatus* status = node.api().KernelInfoGetAttribute_string(info, name, static_cast<char*>(nullptr), &size);
  if (status) {
    node.api().ReleaseStatus(status);
    return otherwise;
  }
  std::string value(size, '\0');
  node.check(node.api().KernelInfoGetAttribute_string(info, name, value.data(), &size));
  while (!value.empty() && value.back() == '\0') value.pop_back();
  return value;
}

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
  call.node_.check(call.node_.api().KernelContext_ParallelFor(call.context_, task, tasks, std::size_t{0}, argument));
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
