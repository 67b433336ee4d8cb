// What a node of ONNX Runtime is run by: its plan, and the calls that read inputs, make outputs, take scratch and
// launch.
#pragma once
#include <span>

#include "../ort/node.h"
#include "plan.h"
#include "scratch.h"

namespace g4::cuda {

class PlannedNode {
 public:
  using Types = std::span<const ONNXTensorElementDataType>;

  // `inputs`, `outputs`: of all that the op may have; the types outlive the node. Throws Wrong with the node's name.
  PlannedNode(const OrtApi* table, const OrtKernelInfo* info, const char* op, std::size_t inputs, Types outputs);
  // One call: everything is on ONNX Runtime's stream when it returns, and its scratch is given back.
  void compute(OrtKernelContext* context) const;

 private:
  // Addresses and sizes of the operands of one call; `outputs` has scratch too.
  struct Call {
    void* inputs[kMaxOperands] = {};
    void* outputs[kMaxOperands] = {};
    Dimensions sizes[kMaxOperands] = {};
  };

  void read_inputs(OrtKernelContext* context, Call& call) const;
  void make_output(OrtKernelContext* context, const OutputSize& output, Call& call) const;
  std::size_t scratch_bytes(const OutputSize& output, const Scope& scope) const;
  void launch(const Launch& launch, const Call& call, unsigned long long cuda_context, void* stream) const;

  ort::Node node_;
  Types types_;
  std::size_t input_count_ = 0;
  Plan plan_;
  Allocator allocator_;
};

}  // namespace g4::cuda
