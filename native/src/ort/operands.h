// What an op reads of a node and of a call: attributes, tensors and their shapes. What is wrong is thrown as `Wrong`
// with the node and the operand in its words, and becomes an OrtStatus where the op was called (`guarded`).
#pragma once
#include <array>
#include <exception>
#include <string>
#include <vector>

#include "../parallel.h"
#include "../weights.h"
#include "g4/ort_api.h"

namespace g4::ort {

struct Wrong : std::exception {
  explicit Wrong(std::string words) : words(std::move(words)) {}
  const char* what() const noexcept override { return words.c_str(); }
  std::string words;
};

using Shape = std::vector<std::int64_t>;

struct Tensor {
  ONNXTensorElementDataType type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
  Shape shape;
  void* data = nullptr;
};

std::string text(const Shape& shape);
// The product of all dimensions but the last one.
std::int64_t rows_of(const Shape& shape);

// A node while its kernel is made, and the words that name it afterwards.
class Node {
 public:
  Node(const OrtApi* table, const OrtKernelInfo* info, const char* op);

  [[noreturn]] void wrong(const std::string& words) const { throw Wrong(name_ + ": " + words); }
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

// Whether the attribute activations says "float32" and not "int8", which it is where it is absent.
bool exact_activations(const Node& node, const OrtKernelInfo* info);

// Inputs and outputs of a call.
class Call {
 public:
  Call(const Node& node, OrtKernelContext* context) : node_(node), context_(context) {}
  std::size_t inputs() const;
  std::size_t outputs() const;
  bool has(std::size_t index) const { return input(index) != nullptr; }
  Tensor tensor(std::size_t index, const char* operand) const;
  void* output(const Shape& shape, std::size_t index = 0) const;
  // The threads of the session. A failure is thrown.
  Parallel parallel() { return {this, run}; }

 private:
  static void run(void* context, std::size_t tasks, Task task, void* argument);
  const OrtValue* input(std::size_t index) const;
  const Node& node_;
  OrtKernelContext* context_;
};

// The operands codes, scales and zero points of a node. Those that are constant are checked once, when the kernel is
// made, and read where ONNX Runtime has mapped them.
class WeightOperands {
 public:
  struct Operand {
    const char* name;
    std::size_t index;
  };
  using Operands = std::array<Operand, 3>;

  // One matrix with the attributes bits, block, K and N. `first`: the index of codes; the others follow.
  WeightOperands(const Node& node, const OrtKernelInfo* info, std::size_t first);
  // Matrices of one format behind a leading axis of `count`; 0: one matrix and no such axis.
  WeightOperands(const Node& node, const OrtKernelInfo* info, const Format& format, const Operands& operands,
                 std::int64_t count);
  Weights read(const Node& node, const Call& call) const;
  const Format& format() const { return format_; }

 private:
  const void* check(const Node& node, std::size_t operand, const Tensor& tensor) const;
  Format format_;
  Operands operands_;
  std::int64_t count_;
  const void* constants_[3] = {};
};

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
