// The ops of domain g4 for the other parts of a layer:
//
//   CacheWrite  (new float32 [B, K, S, D], positions int64 [B, S], cache [B, K, T, D], scales? float32 [B, K, T, 1])
//               -> cache, scales?; ring 0
//               Where ONNX Runtime has bound a cache and its output to the same memory, the rest is left as it is.
//   Attention   (query float32 [B, N, S, D], positions int64 [B, S], keys, values [B, K, T, D],
//                key_scales?, value_scales? float32 [B, K, T, 1], block_starts?, block_ends? int64 [B, S])
//               -> y float32 [B, S, N * D]
//               scale; window 0; ring 0
//   EncoderAttention (query float32 [B, N, S, D], keys, values float32 [B, K, T, D]) -> y float32 [B, S, N * D]
//               scale; every query sees every key
//   QMoEExperts (x float32 [.., H], index int64 [.., k], weight float32 [.., k], gate_up_codes, gate_up_scales,
//                down_codes, down_scales, gate_up_zero_points?, down_zero_points?) -> y float32 [.., H]
//               experts, H, I; gate_up_bits, gate_up_block 0, down_bits, down_block 0; activations "int8" or "float32"
//
// Caches are float32, bfloat16 (also as uint16), or int8 with scales.
#include <algorithm>
#include <cstring>

#include "../attention.h"
#include "../encoder_attention.h"
#include "../experts.h"
#include "definition.h"

namespace g4::ort {
namespace {

constexpr auto kIds = ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64;

CacheType cache_type(const Node& node, const char* operand, const Tensor& tensor) {
  switch (tensor.type) {
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT: return kFloat32;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16:
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16: return kBfloat16;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8: return kInt8;
    default: node.wrong(std::string(operand) + " is not float32, bfloat16, uint16 or int8");
  }
}

void check(const Node& node, const std::string& wrong) {
  if (!wrong.empty()) node.wrong(wrong);
}

CacheShape cache_shape(const Node& node, const char* operand, const Tensor& tensor, bool ring) {
  if (tensor.shape.size() != 4)
    node.wrong(std::string(operand) + " has shape " + text(tensor.shape) + ", not [B, K, T, D]");
  const Shape& s = tensor.shape;
  const CacheShape shape{s[0], s[1], s[2], s[3], cache_type(node, operand, tensor), ring};
  check(node, problem(shape));
  node.aligned(operand, tensor);
  return shape;
}

// The scales at input `index`, which go with int8 and with nothing else.
const float* scales(const Node& node, const Call& call, const char* operand, std::size_t index, const CacheShape& c) {
  if (c.type != kInt8) {
    if (call.has(index)) node.wrong(std::string(operand) + " is there, but the cache is not int8");
    return nullptr;
  }
  const Shape shape = {c.B, c.K, c.T, 1};
  return static_cast<const float*>(node.data(operand, call.tensor(index, operand), kFloat, shape));
}

bool flag(const Node& node, const OrtKernelInfo* info, const char* name) {
  const std::int64_t value = integer(node, info, name, 0);
  if (value != 0 && value != 1) node.wrong(std::string(name) + " is " + std::to_string(value) + ", not 0 or 1");
  return value == 1;
}

// The operand int64 [B, S] at input `index`.
const std::int64_t* places_of(const Node& node, const Call& call, const char* operand, std::size_t index,
                              std::int64_t B, std::int64_t S) {
  return static_cast<const std::int64_t*>(node.data(operand, call.tensor(index, operand), kIds, {B, S}));
}

// Copies what is not the same memory already.
void copy(const Parallel& parallel, const void* from, void* to, std::int64_t bytes) {
  constexpr std::int64_t part = 1 << 20;
  auto task = [&](std::size_t index) {
    const std::int64_t at = static_cast<std::int64_t>(index) * part;
    std::memcpy(static_cast<char*>(to) + at, static_cast<const char*>(from) + at,
                static_cast<std::size_t>(std::min(part, bytes - at)));
  };
  if (from != to && bytes) parallel.each(static_cast<std::size_t>((bytes + part - 1) / part), task);
}

struct CacheWrite {
  static constexpr const char* name = "CacheWrite";
  static constexpr ONNXTensorElementDataType inputs[] = {kFloat, kIds, kAny, kFloat}, outputs[] = {kAny, kFloat};
  static constexpr std::size_t required = 3;

  CacheWrite(const OrtApi* table, const OrtKernelInfo* info)
      : node(table, info, name), ring(flag(node, info, "ring")) {}

  void compute(Call& call) const {
    const Tensor fresh = call.tensor(0, "new"), cache = call.tensor(2, "cache");
    const CacheShape shape = cache_shape(node, "cache", cache, ring);
    if (fresh.shape.size() != 4 || fresh.shape[2] < 0)
      node.wrong("new has shape " + text(fresh.shape) + ", not [B, K, S, D]");
    const std::int64_t S = fresh.shape[2];
    const void* numbers = node.data("new", fresh, kFloat, {shape.B, shape.K, S, shape.D});
    const std::int64_t* positions = places_of(node, call, "positions", 1, shape.B, S);
    const float* old_scales = scales(node, call, "scales", 3, shape);
    check(node, problem(shape, S, positions));
    const bool scaled = shape.type == kInt8;
    if (scaled != (call.outputs() == 2)) node.wrong(scaled ? "int8 needs an output for scales" : "there are no scales");
    void* out = call.output(cache.shape);
    float* out_scales = scaled ? static_cast<float*>(call.output({shape.B, shape.K, shape.T, 1}, 1)) : nullptr;
    copy(call.parallel(), cache.data, out, shape.numbers() * cache_bytes(shape.type));
    if (scaled) copy(call.parallel(), old_scales, out_scales, shape.B * shape.K * shape.T * 4);
    write_cache(call.parallel(), shape, S, static_cast<const float*>(numbers), positions, out, out_scales);
  }

  Node node;
  bool ring;
};

struct AttentionOp {
  static constexpr const char* name = "Attention";
  static constexpr ONNXTensorElementDataType inputs[] = {kFloat, kIds, kAny, kAny, kFloat, kFloat, kIds, kIds};
  static constexpr ONNXTensorElementDataType outputs[] = {kFloat};
  static constexpr std::size_t required = 4;

  AttentionOp(const OrtApi* table, const OrtKernelInfo* info)
      : node(table, info, name), ring(flag(node, info, "ring")), scale(number(node, info, "scale")),
        window(integer(node, info, "window", 0)), kernels(*ort::kernels(node).floats) {
    if (window < 0) node.wrong("window is " + std::to_string(window) + ", below 0");
  }

  void compute(Call& call) const {
    const Tensor query = call.tensor(0, "query"), keys = call.tensor(2, "keys"), values = call.tensor(3, "values");
    const CacheShape cache = cache_shape(node, "keys", keys, ring);
    if (query.shape.size() != 4) node.wrong("query has shape " + text(query.shape) + ", not [B, N, S, D]");
    const AttentionShape shape{cache, query.shape[1], query.shape[2], window, scale};
    check(node, problem(shape));
    const void* rows = node.data("query", query, kFloat, {cache.B, shape.N, shape.S, cache.D});
    const CacheData of_keys{keys.data, scales(node, call, "key_scales", 4, cache)};
    const CacheData of_values{node.data("values", values, keys.type, keys.shape),
                              scales(node, call, "value_scales", 5, cache)};
    Places places{places_of(node, call, "positions", 1, cache.B, shape.S)};
    if (call.has(6)) places.block_starts = places_of(node, call, "block_starts", 6, cache.B, shape.S);
    if (call.has(7)) places.block_ends = places_of(node, call, "block_ends", 7, cache.B, shape.S);
    check(node, problem(shape, places));
    auto* out = static_cast<float*>(call.output({cache.B, shape.S, shape.N * cache.D}));
    attention(kernels, call.parallel(), shape, static_cast<const float*>(rows), places, of_keys, of_values, out);
  }

  Node node;
  bool ring;
  float scale;
  std::int64_t window;
  const FloatKernels& kernels;
};

struct EncoderAttentionOp {
  static constexpr const char* name = "EncoderAttention";
  static constexpr ONNXTensorElementDataType inputs[] = {kFloat, kFloat, kFloat}, outputs[] = {kFloat};
  static constexpr std::size_t required = 3;

  EncoderAttentionOp(const OrtApi* table, const OrtKernelInfo* info)
      : node(table, info, name), scale(number(node, info, "scale")), kernels(ort::kernels(node).floats->encoder) {}

  void compute(Call& call) const {
    const Tensor query = call.tensor(0, "query"), keys = call.tensor(1, "keys"), values = call.tensor(2, "values");
    const Shape &q = query.shape, &k = keys.shape;
    if (q.size() != 4) node.wrong("query has shape " + text(q) + ", not [B, N, S, D]");
    if (k.size() != 4) node.wrong("keys has shape " + text(k) + ", not [B, K, T, D]");
    const EncoderShape shape{q[0], q[1], k[1], q[2], k[2], q[3], scale};
    check(node, problem(shape));
    const auto of = [&](const char* operand, const Tensor& tensor) {
      return static_cast<const float*>(node.data(operand, tensor, kFloat, {shape.B, shape.K, shape.T, shape.D}));
    };
    const float *key_rows = of("keys", keys), *value_rows = of("values", values);
    const auto* rows = static_cast<const float*>(node.aligned("query", query));
    auto* out = static_cast<float*>(call.output({shape.B, shape.S, shape.N * shape.D}));
    encoder_attention(kernels, call.parallel(), shape, rows, key_rows, value_rows, out);
  }

  Node node;
  float scale;
  const EncoderKernels& kernels;
};

struct QMoEExperts {
  static constexpr const char* name = "QMoEExperts";
  static constexpr ONNXTensorElementDataType inputs[] = {kFloat, kIds, kFloat, kBytes, kAny,
                                                         kBytes, kAny, kBytes, kBytes};
  static constexpr ONNXTensorElementDataType outputs[] = {kFloat};
  static constexpr std::size_t required = 7;

  QMoEExperts(const OrtApi* table, const OrtKernelInfo* info)
      : node(table, info, name), count(integer(node, info, "experts")), H(integer(node, info, "H")),
        I(integer(node, info, "I")),
        gate_up(node, info, format(info, "gate_up", H, 2 * width()),
                {{{"gate_up_codes", 3}, {"gate_up_scales", 4}, {"gate_up_zero_points", 7}}}, experts()),
        down(node, info, format(info, "down", width(), H),
             {{{"down_codes", 5}, {"down_scales", 6}, {"down_zero_points", 8}}}, experts()),
        exact(exact_activations(node, info)) {
    check(node, problem(count, gate_up.format(), down.format()));
    kernels(node);
  }

  void compute(Call& call) const {
    const Tensor x = call.tensor(0, "x"), index = call.tensor(1, "index"), weight = call.tensor(2, "weight");
    if (x.shape.empty() || x.shape.back() != H)
      node.wrong("x has shape " + text(x.shape) + ", not [.., " + std::to_string(H) + "]");
    if (index.shape.size() != x.shape.size()) node.wrong("index has shape " + text(index.shape) + ", not [.., k]");
    Shape chosen = x.shape;
    chosen.back() = index.shape.back();
    Choices choices;
    choices.tokens = rows_of(x.shape);
    choices.each = chosen.back();
    choices.index = static_cast<const std::int64_t*>(node.data("index", index, kIds, chosen));
    choices.weight = static_cast<const float*>(node.data("weight", weight, kFloat, chosen));
    check(node, problem(count, choices));
    const Experts all{count, gate_up.read(node, call), down.read(node, call), exact};
    const auto* rows = static_cast<const float*>(node.aligned("x", x));
    auto* y = static_cast<float*>(call.output(x.shape));
    if (choices.tokens) run_experts(kernels(node), call.parallel(), all, rows, choices, y);
  }

 private:
  // 0 would be a matrix without an axis of experts.
  std::int64_t experts() const {
    if (count < 1) node.wrong("experts is " + std::to_string(count) + ", below 1");
    return count;
  }
  std::int64_t width() const {
    if (I < 1 || I > kMaxK) node.wrong("I is " + std::to_string(I) + ", not in 1.." + std::to_string(kMaxK));
    return I;
  }
  Format format(const OrtKernelInfo* info, const std::string& matrix, std::int64_t K, std::int64_t N) const {
    return {integer(node, info, (matrix + "_bits").c_str()), integer(node, info, (matrix + "_block").c_str(), 0), K, N};
  }

 public:
  Node node;

 private:
  std::int64_t count, H, I;
  WeightOperands gate_up, down;
  bool exact;
};

}  // namespace

std::vector<const OrtCustomOp*> layer_ops() {
  return {Definition<CacheWrite>::get(), Definition<AttentionOp>::get(), Definition<EncoderAttentionOp>::get(),
          Definition<QMoEExperts>::get()};
}

}  // namespace g4::ort
