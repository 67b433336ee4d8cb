#include "node.h"

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

}  // namespace

std::size_t element_bytes(ONNXTensorElementDataType type) {
  switch (type) {
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT:
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32: return 4;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64: return 8;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16:
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16: return 2;
    default: return 1;
  }
}

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

}  // namespace g4::ort
