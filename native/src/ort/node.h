// A node of ONNX Runtime: its name, its attributes, and tensors. What is wrong is thrown as `Wrong` with the node in its
// words, and becomes an OrtStatus where the op was called (`guarded`).
#pragma once
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "../wrong.h"
#include "g4/ort_api.h"

namespace g4::ort {

using Shape = std::vector<std::int64_t>;

struct Tensor {
  ONNXTensorElementDataType type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
  Shape shape;
  void* data = nullptr;
};

std::size_t element_bytes(ONNXTensorElementDataType type);
std::string text(const Shape& shape);
// The product of all dimensions but the last one.
std::int64_t rows_of(const Shape& shape);

// A node while its kernel is made, and the words that name it afterwards.
class Node {
 public:
  Node(const OrtApi* table, const OrtKernelInfo* info, const char* op);

  [[noreturn]] void wrong(const std::string& words) const { throw Wrong(name_ + ": " + words); }
  // Runs `body`, and puts the node in front of what it throws.
  template <class Body>
  auto named(const Body& body) const {
    try {
      return body();
    } catch (const Wrong& problem) {
      wrong(problem.words);
    } catch (const std::exception& error) {
      throw std::runtime_error(name_ + ": " + error.what());
    }
  }
  const Api& api() const { return api_; }
  // Throws what a status says, and releases it.
  void check(OrtStatus* status) const;
  Tensor tensor(const OrtValue* value) const;
  // `data` of a tensor with this type and shape, aligned to its elements.
  const void* data(const char* operand, const Tensor& tensor, ONNXTensorElementDataType type, const Shape& shape) const;
  const void* aligned(const char* operand, const Tensor& tensor) const;

 private:
  Api api_;
  std::string name_;
};

// Attributes of a node; an absent one is `otherwise`, or wrong where there is no such value.
std::int64_t integer(const Node& node, const OrtKernelInfo* info, const char* name);
std::int64_t integer(const Node& node, const OrtKernelInfo* info, const char* name, std::int64_t otherwise);
float number(const Node& node, const OrtKernelInfo* info, const char* name);
std::string word(const Node& node, const OrtKernelInfo* info, const char* name, const char* otherwise);

// Runs `body`, and makes a status of what it throws.
template <class Body>
OrtStatus* guarded(const OrtApi* table, const Body& body) noexcept {
  try {
    body();
    return nullptr;
  } catch (const Wrong& wrong) {
    return Api(table).CreateStatus(ORT_INVALID_ARGUMENT, wrong.what());
  } catch (const std::exception& error) {
    return Api(table).CreateStatus(ORT_FAIL, error.what());
  }
}

}  // namespace g4::ort
