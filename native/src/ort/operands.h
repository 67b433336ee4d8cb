// What the ops of libg4ops read of a node and of a call: inputs, outputs, and weights. What is wrong is thrown with the
// node and the operand in its words (`node.h`).
#pragma once
#include <array>
#include <string>

#include "../parallel.h"
#include "../weights.h"
#include "node.h"

namespace g4::ort {

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

}  // namespace g4::ort
