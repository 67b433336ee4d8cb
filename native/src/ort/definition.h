// How an op becomes what ONNX Runtime calls.
#pragma once
#include <iterator>
#include <vector>

#include "../activations.h"
#include "../kernels.h"
#include "operands.h"
#include "registration.h"

namespace g4::ort {

constexpr auto kFloat = ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
constexpr auto kBytes = ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8;
constexpr auto kAny = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;

inline const Kernels& kernels(const Node& node) {
  const Kernels* chosen = chosen_kernels();
  if (!chosen) node.wrong("G4OPS_INSTRUCTION_SET names nothing that runs here");
  return *chosen;
}

// Attention, CacheWrite, EncoderAttention and QMoEExperts (layer_ops.cc).
std::vector<const OrtCustomOp*> layer_ops();
// NormAdd, NormQuantize, NormHeads and LayerGate (norm_ops.cc).
std::vector<const OrtCustomOp*> norm_ops();

// The attributes K and activation_block of a node that packs activations; M is 0.
Activations packed_shape(const Node& node, const OrtKernelInfo* info);
// The rows of x [.., width], few enough to be packed.
std::int64_t packed_rows(const Node& node, const Tensor& x, std::int64_t width);

// ONNX Runtime's table of functions of an op. An op has a name, the types of its inputs and outputs, how many of its
// inputs are `required` (the others are optional, and so are all outputs but the first), and `compute`.
template <class Op>
struct Definition {
  struct Kernel {
    const OrtApi* table;
    Op op;
  };

  static OrtStatus* create(const OrtCustomOp*, const OrtApi* table, const OrtKernelInfo* info, void** kernel) {
    return guarded(table, [&] { *kernel = new Kernel{table, Op(table, info)}; });
  }

  static OrtStatus* compute(void* kernel, OrtKernelContext* context) {
    auto& it = *static_cast<Kernel*>(kernel);
    return guarded(it.table, [&] {
      Call call(it.op.node, context);
      it.op.compute(call);
    });
  }

  static const OrtCustomOp* get() {
    static const OrtCustomOp definition = [] {
      OrtCustomOp op = blank_op();
      op.GetName = [](const OrtCustomOp*) { return Op::name; };
      op.GetInputTypeCount = [](const OrtCustomOp*) { return std::size(Op::inputs); };
      op.GetInputType = [](const OrtCustomOp*, std::size_t i) { return Op::inputs[i]; };
      op.GetInputCharacteristic = [](const OrtCustomOp*, std::size_t i) {
        return i < Op::required ? INPUT_OUTPUT_REQUIRED : INPUT_OUTPUT_OPTIONAL;
      };
      op.GetOutputTypeCount = [](const OrtCustomOp*) { return std::size(Op::outputs); };
      op.GetOutputType = [](const OrtCustomOp*, std::size_t i) { return Op::outputs[i]; };
      op.GetOutputCharacteristic = [](const OrtCustomOp*, std::size_t i) {
        return i < 1 ? INPUT_OUTPUT_REQUIRED : INPUT_OUTPUT_OPTIONAL;
      };
      op.CreateKernelV2 = create;
      op.KernelComputeV2 = compute;
      op.KernelDestroy = [](void* kernel) { delete static_cast<Kernel*>(kernel); };
      return op;
    }();
    return &definition;
  }
};

}  // namespace g4::ort
