// RegisterCustomOps, which ONNX Runtime calls when it loads this library, and the ops of domain g4 that multiply and
// look up (attention and experts: layer_ops.cc; norms: norm_ops.cc):
//
//   QLinear              (x, codes, scales, zero_points?) -> y float32 [.., N]
//                        x float32 [.., K], or what QuantizeActivations made of it
//                        bits, K, N; block 0; activations "int8" or "float32"; activation_block 0
//   QGeGLU               (x, gate_codes, gate_scales, up_codes, up_scales, gate_zero_points?, up_zero_points?)
//                        -> y float32 [.., N]; as QLinear: gelu_tanh(x * gate^T) * (x * up^T)
//                        gate_bits, up_bits, K, N; gate_block 0, up_block 0; activations, activation_block 0
//   QuantizeActivations  (x float32 [.., K]) -> uint8 [.., bytes]; K; activation_block 0
//   QGather              (ids int64 [..], codes, scales, zero_points?) -> y float32 [.., K]; bits, K, N; block 0
#include <vector>

#include "../activations.h"
#include "../products.h"
#include "definition.h"
#include "registration.h"

namespace g4::ort {
namespace {

std::int64_t activation_block(const Node& node, const OrtKernelInfo* info) {
  const std::int64_t block = integer(node, info, "activation_block", 0);
  if (block != 0 && block != 128) node.wrong("activation_block is " + std::to_string(block) + ", not 0 or 128");
  return block;
}

Shape with_last(Shape shape, std::int64_t last) {
  shape.back() = last;
  return shape;
}

// What a product reads: float32 rows, or rows that QuantizeActivations packed.
struct Operand {
  Operand(const Node& node, const OrtKernelInfo* info)
      : exact(exact_activations(node, info)), block(activation_block(node, info)) {
    if (exact && block) node.wrong("activation_block is for activations \"int8\"");
  }

  // The shape of the activations of a call; data: x, packed unless `exact` (null where x has no rows).
  Activations read(const Node& node, Call& call, std::int64_t K, const void*& data) const {
    const Tensor x = call.tensor(0, "x");
    Activations shape{0, K, block};
    const bool packed = x.type == kBytes && !exact;
    if (!packed && x.type != kFloat) node.wrong("x is neither float32 nor packed activations of type uint8");
    shape.M = packed_rows(node, x, packed ? shape.row_bytes() : shape.K);
    data = shape.M ? node.aligned("x", x) : nullptr;
    if (exact || packed || !shape.M) return shape;
    // One buffer a thread that calls: it lives as long as the thread, and is as large as its largest input.
    thread_local std::vector<std::uint32_t> buffer;
    if (buffer.size() * 4 < shape.bytes()) buffer.resize(shape.bytes() / 4 + 1);
    quantize(kernels(node), call.parallel(), shape, static_cast<const float*>(data), buffer.data());
    data = buffer.data();
    return shape;
  }

  bool exact;
  std::int64_t block;
};

struct QLinear {
  static constexpr const char* name = "QLinear";
  static constexpr ONNXTensorElementDataType inputs[] = {kAny, kBytes, kAny, kBytes}, outputs[] = {kFloat};
  static constexpr std::size_t required = 3;

  QLinear(const OrtApi* table, const OrtKernelInfo* info)
      : node(table, info, name), weights(node, info, 1), operand(node, info) {
    kernels(node);
  }

  void compute(Call& call) const {
    const Weights w = weights.read(node, call);
    const void* x = nullptr;
    const Activations shape = operand.read(node, call, w.format.K, x);
    auto* y = static_cast<float*>(call.output(with_last(call.tensor(0, "x").shape, w.format.N)));
    if (!shape.M) return;
    if (operand.exact)
      product_float(kernels(node), call.parallel(), w, static_cast<const float*>(x), shape.M, y);
    else
      product(kernels(node), call.parallel(), w, shape, x, y);
  }

  Node node;
  WeightOperands weights;
  Operand operand;
};

struct QGeGLU {
  static constexpr const char* name = "QGeGLU";
  static constexpr ONNXTensorElementDataType inputs[] = {kAny, kBytes, kAny, kBytes, kAny, kBytes, kBytes};
  static constexpr ONNXTensorElementDataType outputs[] = {kFloat};
  static constexpr std::size_t required = 5;

  QGeGLU(const OrtApi* table, const OrtKernelInfo* info)
      : node(table, info, name),
        gate(node, info, format(info, "gate"),
             {{{"gate_codes", 1}, {"gate_scales", 2}, {"gate_zero_points", 5}}}, 0),
        up(node, info, format(info, "up"), {{{"up_codes", 3}, {"up_scales", 4}, {"up_zero_points", 6}}}, 0),
        operand(node, info) {
    kernels(node);
  }

  void compute(Call& call) const {
    const Weights first = gate.read(node, call), second = up.read(node, call);
    const std::int64_t N = first.format.N;
    const void* x = nullptr;
    const Activations shape = operand.read(node, call, first.format.K, x);
    auto* y = static_cast<float*>(call.output(with_last(call.tensor(0, "x").shape, N)));
    if (!shape.M) return;
    if (!operand.exact) return gated_product(kernels(node), call.parallel(), first, second, shape, x, y);
    std::vector<float> ups(static_cast<std::size_t>(shape.M * N));
    product_float(kernels(node), call.parallel(), first, static_cast<const float*>(x), shape.M, y);
    product_float(kernels(node), call.parallel(), second, static_cast<const float*>(x), shape.M, ups.data());
    auto row = [&](std::size_t index) {
      const std::int64_t at = static_cast<std::int64_t>(index) * N;
      kernels(node).floats->geglu(y + at, ups.data() + at, N, y + at);
    };
    call.parallel().each(static_cast<std::size_t>(shape.M), row);
  }

 private:
  Format format(const OrtKernelInfo* info, const std::string& matrix) const {
    return {integer(node, info, (matrix + "_bits").c_str()), integer(node, info, (matrix + "_block").c_str(), 0),
            integer(node, info, "K"), integer(node, info, "N")};
  }

 public:
  Node node;

 private:
  WeightOperands gate, up;
  Operand operand;
};

struct QuantizeActivations {
  static constexpr const char* name = "QuantizeActivations";
  static constexpr ONNXTensorElementDataType inputs[] = {kFloat}, outputs[] = {kBytes};
  static constexpr std::size_t required = 1;

  QuantizeActivations(const OrtApi* table, const OrtKernelInfo* info)
      : node(table, info, name), shape(packed_shape(node, info)) {
    kernels(node);
  }

  void compute(Call& call) const {
    const Tensor x = call.tensor(0, "x");
    Activations all = shape;
    all.M = packed_rows(node, x, all.K);
    void* packed = call.output(with_last(x.shape, all.row_bytes()));
    if (all.M == 0) return;
    quantize(kernels(node), call.parallel(), all, static_cast<const float*>(node.aligned("x", x)), packed);
  }

  Node node;
  Activations shape;
};

struct QGather {
  static constexpr const char* name = "QGather";
  static constexpr ONNXTensorElementDataType inputs[] = {ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, kBytes, kAny, kBytes};
  static constexpr ONNXTensorElementDataType outputs[] = {kFloat};
  static constexpr std::size_t required = 3;

  QGather(const OrtApi* table, const OrtKernelInfo* info) : node(table, info, name), weights(node, info, 1) {}

  void compute(Call& call) const {
    const Tensor ids = call.tensor(0, "ids");
    const Weights w = weights.read(node, call);
    Shape shape = ids.shape;
    shape.push_back(w.format.K);
    const std::int64_t count = rows_of(shape);
    const auto* given = static_cast<const std::int64_t*>(node.aligned("ids", ids));
    for (std::int64_t i = 0; i < count; ++i)
      if (given[i] < 0 || given[i] >= w.format.N)
        node.wrong("ids holds " + std::to_string(given[i]) + " at place " + std::to_string(i) + ", not in 0.." +
                   std::to_string(w.format.N - 1));
    float* y = static_cast<float*>(call.output(shape));
    auto row = [&](std::size_t i) { lookup(w, given + i, 1, y + static_cast<std::int64_t>(i) * w.format.K); };
    if (count) call.parallel().each(static_cast<std::size_t>(count), row);
  }

  Node node;
  WeightOperands weights;
};

std::vector<const OrtCustomOp*> all_ops() {
  std::vector<const OrtCustomOp*> ops = layer_ops(), norms = norm_ops();
  ops.insert(ops.end(), norms.begin(), norms.end());
  ops.insert(ops.end(), {Definition<QLinear>::get(), Definition<QGeGLU>::get(), Definition<QuantizeActivations>::get(),
                         Definition<QGather>::get()});
  return ops;
}

}  // namespace

Activations packed_shape(const Node& node, const OrtKernelInfo* info) {
  const std::int64_t K = integer(node, info, "K");
  if (K < 1 || K > kMaxK) node.wrong("K is " + std::to_string(K) + ", not in 1.." + std::to_string(kMaxK));
  return {0, K, activation_block(node, info)};
}

std::int64_t packed_rows(const Node& node, const Tensor& x, std::int64_t width) {
  if (x.shape.empty() || x.shape.back() != width)
    node.wrong("x has shape " + text(x.shape) + ", not [.., " + std::to_string(width) + "]");
  const std::int64_t count = rows_of(x.shape);
  if (count > kMaxRows) node.wrong("x has " + std::to_string(count) + " rows, more than " + std::to_string(kMaxRows));
  return count;
}

}  // namespace g4::ort

// The same under two names: the one that ONNX Runtime calls, which every library of ops has, and one of this library alone.
extern "C" G4_ORT_EXPORT OrtStatus* g4ops_register(OrtSessionOptions* options, const OrtApiBase* base) {
  return g4::ort::register_ops(options, base, {"libg4ops", G4_ORT_API_VERSION, g4::ort::all_ops});
}

extern "C" G4_ORT_EXPORT OrtStatus* RegisterCustomOps(OrtSessionOptions* options, const OrtApiBase* base) {
  return g4ops_register(options, base);
}
