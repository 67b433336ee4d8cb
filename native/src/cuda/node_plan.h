// What a node of ONNX Runtime is run by: its plan, and the calls that read inputs, make outputs and launch.
#pragma once
#include "../ort/node.h"
#include "plan.h"

namespace g4::cuda {

class PlannedNode {
 public:
  // `inputs`, `outputs`: as many as the op has at most. Throws Wrong with the node's name.
  PlannedNode(const OrtApi* table, const OrtKernelInfo* info, const char* op, std::size_t inputs, std::size_t outputs);
  // One call: everything is on ONNX Runtime's stream when it returns. Allocates nothing but the outputs.
  void compute(OrtKernelContext* context) const;

 private:
  // Addresses and sizes of the operands of one call.
  struct Call {
    void* inputs[kMaxOperands] = {};
    void* outputs[kMaxOperands] = {};
    Dimensions sizes[kMaxOperands] = {};
  };

  void read_inputs(OrtKernelContext* context, Call& call) const;
  void make_output(OrtKernelContext* context, const OutputSize& output, Call& call) const;
  void launch(const Launch& launch, const Call& call, unsigned long long cuda_context, void* stream) const;

  ort::Node node_;
  std::size_t input_count_ = 0;
  Plan plan_;
};

}  // namespace g4::cuda
