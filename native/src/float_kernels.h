// What an instruction set brings for attention, gated activations and norms: one table of functions each, beside that of
// the products (kernels.h, whose rule on what may be included holds here too).
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace g4 {

enum CacheType { kFloat32, kBfloat16, kInt8, kCacheTypes };  // of keys and values
constexpr int64_t cache_bytes(CacheType type) { return type == kFloat32 ? 4 : type == kBfloat16 ? 2 : 1; }

constexpr int kBlockKeys = 32;  // keys of a block, at most
constexpr int kBlockRows = 32;  // rows of queries that share keys, at most

// One step of the soft-max that is taken as keys come: `count` keys in consecutive slots, for some rows of queries.
struct AttentionBlock {
  const float* query;        // [rows][depth]
  int rows, depth;           // depth: a multiple of `lanes`
  const void* keys;          // [count][depth]
  const void* values;        // the same
  const float* key_scales;   // [count]; null unless int8
  const float* value_scales;
  int count;                 // 1..kBlockKeys
  const int* begin;          // [rows]: a row sees the keys from begin on
  const int* end;            // [rows]: and before end
  float scale;               // of scores
  const void* next_keys;     // what to fetch early
  float* scores;             // [rows][kBlockKeys], for this step alone
  float* largest;            // [rows]: the largest score so far; kNoScore before the first step
  float* total;              // [rows]: the sum of exp(score - largest)
  float* const* out;         // [rows]: to [depth] sums of exp(score - largest) * value
};
constexpr float kNoScore = -1e30f;  // finite, so that a row that sees no key yet gives no NaN

constexpr int kEncoderKeys = 256;  // keys of a block where every query sees every key
constexpr int kEncoderRows = 48;   // rows of queries that go through the keys together, at most

// A head of keys and values [count][depth].
struct EncoderKeys {
  const float *keys, *values;
  int64_t count, depth;
};

// Some rows of queries, each of which sees all keys of a head.
struct EncoderBlock {
  const float* query;   // [rows][depth]
  int rows, depth;
  const float* packed;  // keys and values, as `pack` leaves them
  int64_t count;        // keys
  float scale;          // of scores
  float* scratch;       // `scratch` numbers, for this call alone
  float* y;             // [rows][depth]
  int64_t y_step;       // numbers from a row to the next
};

struct EncoderKernels {
  int64_t (*packed)(int64_t count, int64_t depth);  // numbers of a head, packed
  int64_t (*scratch)(int64_t depth);
  void (*pack)(const EncoderKeys& from, int64_t first, float* packed);  // kEncoderKeys of them, from `first` on
  void (*attend)(const EncoderBlock& block);
};

// One row of an RMS norm: y = x / sqrt(mean of squares + epsilon) * weight; with a residual (residual + that) * scale.
// y may be x or residual.
struct NormRow {
  const float* x;
  const float* weight;
  const float* residual;  // or null
  float scale, epsilon;
  int64_t count;
  float* y;
};

struct FloatKernels {
  int lanes;
  const FloatKernels* narrower;  // for a depth that is no multiple of `lanes`; null in the narrowest
  void (*attend[kCacheTypes])(const AttentionBlock& block);
  EncoderKernels encoder;  // of any depth
  void (*geglu)(const float* gate, const float* up, int64_t count, float* to);  // gelu_tanh(gate) * up
  void (*weigh)(float weight, const float* from, int64_t count, float* to);     // to += weight * from
  void (*norm)(const NormRow& row);
  // Pairs (i, half + i) of x by the angles whose cos and sin [half] are given.
  void (*rotate)(float* x, const float* cos, const float* sin, int64_t half);
};

extern const FloatKernels kFloatScalar;
#if defined(__x86_64__)
extern const FloatKernels kFloatAvx2, kFloatAvx512;
#elif defined(__aarch64__)
extern const FloatKernels kFloatNeon;
#endif

}  // namespace g4
