// The ops of domain g4 around RMS norms. Each norms the last axis: x / sqrt(mean of squares + epsilon) * weight.
//
//   NormAdd       (x float32 [.., H], weight [H], residual [.., H], scale? [1]) -> y float32 [.., H]; epsilon
//                 (residual + norm of x) * scale
//   NormQuantize  (x float32 [.., K], weight [K]) -> uint8 [.., bytes]; K, epsilon; activation_block 0
//                 what QuantizeActivations makes of the norm
//   NormHeads     (x float32 [B, S, N * D], weight [D], cos?, sin? [B, S, R / 2] or [B, S, A, R / 2])
//                 -> y float32 [B, N, S, D]; heads (N), epsilon
//                 pairs (i, R / 2 + i) of a normed head, or of each of its A equal parts, are rotated
//   LayerGate     (gate float32 [.., D], inputs [.., L, D]) -> y float32 [.., D]; layer
//                 gelu_tanh(gate) * the inputs of a layer
#include "../norms.h"
#include "definition.h"

namespace g4::ort {
namespace {

const float* floats(const Node& node, const char* operand, const Tensor& tensor, const Shape& shape) {
  return static_cast<const float*>(node.data(operand, tensor, kFloat, shape));
}

// The norm of rows x [.., width].
Norm norm_of(const Node& node, const Call& call, std::int64_t width, float epsilon) {
  return {width, floats(node, "weight", call.tensor(1, "weight"), {width}), epsilon};
}

Tensor with_rows(const Node& node, const Call& call, const char* operand) {
  const Tensor x = call.tensor(0, operand);
  if (x.shape.empty() || x.shape.back() < 1) node.wrong(std::string(operand) + " has shape " + text(x.shape));
  return x;
}

struct NormAdd {
  static constexpr const char* name = "NormAdd";
  static constexpr ONNXTensorElementDataType inputs[] = {kFloat, kFloat, kFloat, kFloat}, outputs[] = {kFloat};
  static constexpr std::size_t required = 3;

  NormAdd(const OrtApi* table, const OrtKernelInfo* info)
      : node(table, info, name), epsilon(number(node, info, "epsilon")), kernels(ort::kernels(node)) {}

  void compute(Call& call) const {
    const Tensor x = with_rows(node, call, "x");
    const Norm norm = norm_of(node, call, x.shape.back(), epsilon);
    const float* residual = floats(node, "residual", call.tensor(2, "residual"), x.shape);
    const float scale = call.has(3) ? *floats(node, "scale", call.tensor(3, "scale"), {1}) : 1;
    auto* y = static_cast<float*>(call.output(x.shape));
    const auto* rows = static_cast<const float*>(node.aligned("x", x));
    norm_add(kernels, call.parallel(), norm, rows_of(x.shape), rows, residual, scale, y);
  }

  Node node;
  float epsilon;
  const Kernels& kernels;
};

struct NormQuantize {
  static constexpr const char* name = "NormQuantize";
  static constexpr ONNXTensorElementDataType inputs[] = {kFloat, kFloat}, outputs[] = {kBytes};
  static constexpr std::size_t required = 2;

  NormQuantize(const OrtApi* table, const OrtKernelInfo* info)
      : node(table, info, name), epsilon(number(node, info, "epsilon")), shape(packed_shape(node, info)),
        kernels(ort::kernels(node)) {}

  void compute(Call& call) const {
    const Tensor x = call.tensor(0, "x");
    Activations all = shape;
    all.M = packed_rows(node, x, all.K);
    const Norm norm = norm_of(node, call, all.K, epsilon);
    Shape packed = x.shape;
    packed.back() = all.row_bytes();
    void* to = call.output(packed);
    if (all.M) norm_quantize(kernels, call.parallel(), norm, all, static_cast<const float*>(node.aligned("x", x)), to);
  }

  Node node;
  float epsilon;
  Activations shape;
  const Kernels& kernels;
};

struct NormHeads {
  static constexpr const char* name = "NormHeads";
  static constexpr ONNXTensorElementDataType inputs[] = {kFloat, kFloat, kFloat, kFloat}, outputs[] = {kFloat};
  static constexpr std::size_t required = 2;

  NormHeads(const OrtApi* table, const OrtKernelInfo* info)
      : node(table, info, name), epsilon(number(node, info, "epsilon")), N(integer(node, info, "heads")),
        kernels(ort::kernels(node)) {
    if (N < 1) node.wrong("heads is " + std::to_string(N) + ", below 1");
  }

  void compute(Call& call) const {
    const Tensor x = call.tensor(0, "x");
    if (x.shape.size() != 3 || x.shape[2] < 1 || x.shape[2] % N)
      node.wrong("x has shape " + text(x.shape) + ", not [B, S, " + std::to_string(N) + " * D]");
    Heads heads{x.shape[0], x.shape[1], N, x.shape[2] / N};
    const float *cos = nullptr, *sin = nullptr;
    if (call.has(2) != call.has(3)) node.wrong("cos and sin go together");
    if (call.has(2)) {
      const Tensor angles = call.tensor(2, "cos");
      heads.half = angles.shape.empty() ? 0 : angles.shape.back();
      Shape shape = {heads.B, heads.S, heads.half};
      if (angles.shape.size() == 4) {
        heads.parts = angles.shape[2];
        shape.insert(shape.end() - 1, heads.parts);
      }
      cos = floats(node, "cos", angles, shape);
      sin = floats(node, "sin", call.tensor(3, "sin"), shape);
    }
    const std::string wrong = problem(heads);
    if (!wrong.empty()) node.wrong(wrong);
    const Norm norm = norm_of(node, call, heads.D, epsilon);
    auto* y = static_cast<float*>(call.output({heads.B, heads.N, heads.S, heads.D}));
    const auto* rows = static_cast<const float*>(node.aligned("x", x));
    norm_heads(kernels, call.parallel(), norm, heads, rows, cos, sin, y);
  }

  Node node;
  float epsilon;
  std::int64_t N;
  const Kernels& kernels;
};

struct LayerGate {
  static constexpr const char* name = "LayerGate";
  static constexpr ONNXTensorElementDataType inputs[] = {kFloat, kFloat}, outputs[] = {kFloat};
  static constexpr std::size_t required = 2;

  LayerGate(const OrtApi* table, const OrtKernelInfo* info)
      : node(table, info, name), layer(integer(node, info, "layer")), kernels(ort::kernels(node)) {}

  void compute(Call& call) const {
    const Tensor gate = with_rows(node, call, "gate"), all = call.tensor(1, "inputs");
    Shape shape = gate.shape;
    const std::int64_t layers = all.shape.size() > 1 ? all.shape[all.shape.size() - 2] : 0, width = shape.back();
    if (layer < 0 || layer >= layers)
      node.wrong("inputs has shape " + text(all.shape) + ", which has no layer " + std::to_string(layer));
    shape.insert(shape.end() - 1, layers);
    const float* inputs = floats(node, "inputs", all, shape);
    auto* y = static_cast<float*>(call.output(gate.shape));
    const auto* rows = static_cast<const float*>(node.aligned("gate", gate));
    layer_gate(kernels, call.parallel(), rows_of(gate.shape), width, layers, layer, rows, inputs, y);
  }

  Node node;
  std::int64_t layer;
  const Kernels& kernels;
};

}  // namespace

std::vector<const OrtCustomOp*> norm_ops() {
  return {Definition<NormAdd>::get(), Definition<NormQuantize>::get(), Definition<NormHeads>::get(),
          Definition<LayerGate>::get()};
}

}  // namespace g4::ort
