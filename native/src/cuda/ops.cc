// RegisterCustomOps, which ONNX Runtime calls when it loads libg4cuda, and the table of its ops. What an op computes is
// stated in docs/design/0010-onnx-cuda.md; here is only how many operands it has, and what type each output is.
#include <deque>
#include <string>
#include <vector>

#include "../ort/registration.h"
#include "node_plan.h"

namespace g4::cuda {
namespace {

// Tests run the ops where there is no GPU: on ONNX Runtime's CPU provider.
#ifdef G4CUDA_ON_CPU
constexpr const char* kProvider = nullptr;
#else
constexpr const char* kProvider = "CUDAExecutionProvider";
#endif

constexpr auto kFloat = ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
constexpr auto kHalf = ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16;
constexpr auto kInt = ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32;
constexpr auto kLong = ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64;

struct Op {
  const char* name;
  const char* inputs;  // those in brackets may be absent; any type
  std::vector<ONNXTensorElementDataType> outputs;  // all but the first may be absent
};

// An output has one type for a name, so an op whose first output is of two types has two names. An output that a node
// does not have is scratch of the op, of the type that stands here.
const std::vector<Op>& table() {
  static const std::vector<Op> ops = {
      {"EmbedRows", "ids table [scales]", {kFloat}},
      {"EmbedRowsNarrow", "ids table [scales]", {kHalf}},
      {"RotaryAngles", "positions inv_freq", {kFloat}},
      {"PerLayerInputs", "projected rows weight", {kHalf}},
      {"NormProduct", "h [p] [post] [scalar] [pre] w0 [w1] [w2] [s0] [s1] [s2] [gate]", {kHalf, kFloat, kHalf, kHalf}},
      {"NormLogits", "h [p] [post] [scalar] [pre] w0 [w1] [w2] [s0] [s1] [s2] [gate]", {kFloat, kFloat, kHalf, kHalf}},
      {"Product", "x w0 [w1] [w2] [s0] [s1] [s2]", {kHalf, kHalf}},
      {"CachedAttention", "qkv positions angles q_norm [k_norm] keys values", {kHalf, kHalf, kFloat}},
      {"Router", "v scale w0 expert_scale pre", {kHalf, kFloat, kInt, kInt, kInt, kFloat, kFloat, kInt, kInt}},
      {"RoutedGateUp", "x row_token tile_expert w0 [s0]", {kHalf}},
      {"RoutedDown", "hidden row_token tile_expert w0 [s0]", {kHalf}},
      {"ExpertSum", "dense dense_norm out slot_of weights expert_norm", {kHalf}},
      {"NextToken", "logits", {kLong, kFloat}},
      {"TopTokens", "logits", {kFloat, kLong, kLong}},
  };
  return ops;
}

// ONNX Runtime's table of functions of an op, with the op behind it.
struct Definition : OrtCustomOp {
  explicit Definition(const Op& op) : OrtCustomOp(ort::blank_op()), op(op) {
    for (const std::string_view word : words_of(op.inputs)) optional.push_back(word[0] == '[');
    GetName = [](const OrtCustomOp* it) { return own(it).op.name; };
    GetExecutionProviderType = [](const OrtCustomOp*) { return kProvider; };
    GetInputTypeCount = [](const OrtCustomOp* it) { return own(it).optional.size(); };
    GetInputType = [](const OrtCustomOp*, std::size_t) { return ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED; };
    GetInputCharacteristic = [](const OrtCustomOp* it, std::size_t i) {
      return own(it).optional[i] ? INPUT_OUTPUT_OPTIONAL : INPUT_OUTPUT_REQUIRED;
    };
    GetOutputTypeCount = [](const OrtCustomOp* it) { return own(it).op.outputs.size(); };
    GetOutputType = [](const OrtCustomOp* it, std::size_t i) { return own(it).op.outputs[i]; };
    GetOutputCharacteristic = [](const OrtCustomOp*, std::size_t i) {
      return i ? INPUT_OUTPUT_OPTIONAL : INPUT_OUTPUT_REQUIRED;
    };
    CreateKernelV2 = [](const OrtCustomOp* it, const OrtApi* api, const OrtKernelInfo* info, void** kernel) {
      return ort::guarded(api, [&] {
        const Definition& own_it = own(it);
        const Op& op = own_it.op;
        *kernel = new Kernel{api, PlannedNode(api, info, op.name, own_it.optional.size(), op.outputs)};
      });
    };
    KernelComputeV2 = [](void* kernel, OrtKernelContext* context) {
      const Kernel& it = *static_cast<const Kernel*>(kernel);
      return ort::guarded(it.table, [&] { it.node.compute(context); });
    };
    KernelDestroy = [](void* kernel) { delete static_cast<Kernel*>(kernel); };
  }

  struct Kernel {
    const OrtApi* table;
    PlannedNode node;
  };

  static const Definition& own(const OrtCustomOp* it) { return *static_cast<const Definition*>(it); }

  const Op& op;
  std::vector<bool> optional;  // of each input
};

std::vector<const OrtCustomOp*> all_ops() {
  static const std::deque<Definition> definitions(table().begin(), table().end());
  std::vector<const OrtCustomOp*> ops;
  for (const Definition& one : definitions) ops.push_back(&one);
  return ops;
}

}  // namespace
}  // namespace g4::cuda

extern "C" G4_ORT_EXPORT OrtStatus* RegisterCustomOps(OrtSessionOptions* options, const OrtApiBase* base) {
  return g4::ort::register_ops(options, base, {"libg4cuda", G4_ORT_LATER_API_VERSION, g4::cuda::all_ops});
}
