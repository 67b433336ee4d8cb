// One step of attention over vectors V (see tile.h): scores of a block of keys, their soft-max, and the sums of values.
// Numbers of 16 and 8 bits become float32 in registers. A tile is some rows of queries against some keys (or against
// some vectors of values), so that what was loaded is used several times.
#pragma once
#include "tile_encoder.h"
#include "tile_exp.h"
#include "tile_norm.h"

namespace g4 {
namespace {

struct StoredFloat32 {
  using Number = float;
  template <class V>
  G4_INLINE typename V::Float load(const float* p) { return V::load(p); }
};

struct StoredBfloat16 {
  using Number = uint16_t;
  template <class V>
  G4_INLINE typename V::Float load(const uint16_t* p) { return V::load_bfloat16(p); }
};

struct StoredInt8 {
  using Number = int8_t;
  template <class V>
  G4_INLINE typename V::Float load(const int8_t* p) { return V::load_int8(p); }
};

constexpr int kLine = 64;  // bytes of a line of the cache

// Fetches the lines that start in `bytes` bytes from p + at on; bytes of vectors that are smaller than a line add up.
G4_INLINE void fetch(const void* p, ptrdiff_t at, int bytes) {
  for (ptrdiff_t line = (at + kLine - 1) / kLine * kLine; line < at + bytes; line += kLine)
    __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<uintptr_t>(p) + static_cast<uintptr_t>(line)));
}

// Keys a tile: as many as there are sums for, and no more than 8.
constexpr int tile_keys(int sums, int rows) {
  int keys = 8;
  while (keys > 1 && keys * rows > sums) keys /= 2;
  return keys;
}

template <class V, class Stored, int R, int C, bool early>
G4_INLINE void score_tile(const AttentionBlock& b, int first, int key) {
  using Number = typename Stored::Number;
  constexpr int sums = (R * C + V::lanes - 1) / V::lanes * V::lanes;
  const Number* keys = static_cast<const Number*>(b.keys) + static_cast<ptrdiff_t>(key) * b.depth;
  const Number* values = static_cast<const Number*>(b.values) + static_cast<ptrdiff_t>(key) * b.depth;
  const float* query = b.query + static_cast<ptrdiff_t>(first) * b.depth;
  typename V::Float sum[sums];
  G4_UNROLL
  for (int i = 0; i < sums; ++i) sum[i] = V::zero_float();
  for (int d = 0; d < b.depth; d += V::lanes) {
    typename V::Float k[C];
    G4_UNROLL
    for (int c = 0; c < C; ++c) {
      k[c] = Stored::template load<V>(keys + static_cast<ptrdiff_t>(c) * b.depth + d);
      if constexpr (early)
        fetch(values + static_cast<ptrdiff_t>(c) * b.depth, d * static_cast<int>(sizeof(Number)),
              V::lanes * static_cast<int>(sizeof(Number)));
    }
    G4_UNROLL
    for (int r = 0; r < R; ++r) {
      const typename V::Float q = V::load(query + static_cast<ptrdiff_t>(r) * b.depth + d);
      G4_UNROLL
      for (int c = 0; c < C; ++c) sum[r * C + c] = V::fma(q, k[c], sum[r * C + c]);
    }
  }
  float found[sums];
  G4_UNROLL
  for (int i = 0; i < sums; i += V::lanes) V::store(found + i, V::sums(sum + i));
  for (int r = 0; r < R; ++r)
    __builtin_memcpy(b.scores + (first + r) * kBlockKeys + key, found + r * C, C * sizeof(float));
}

template <class V, class Stored, int R, bool early>
void score_rows(const AttentionBlock& b, int first) {
  constexpr int C = tile_keys(V::attention_tile, R);
  int key = 0;
  for (; key + C <= b.count; key += C) score_tile<V, Stored, R, C, early>(b, first, key);
  for (; key < b.count; ++key) score_tile<V, Stored, R, 1, early>(b, first, key);
}

// Scores become exp(score - largest), times the scale of the value. `shrink` gets what the sums so far are multiplied
// with, because the largest score changed.
template <class V>
G4_INLINE void soft_max(const AttentionBlock& b, int row, const float* key_scales, const float* value_scales,
                        float* shrink) {
  using Float = typename V::Float;
  float* s = b.scores + row * kBlockKeys;
  const int padded = (b.count + V::lanes - 1) / V::lanes * V::lanes;
  Float most = V::set(b.largest[row]);
  for (int i = 0; i < padded; i += V::lanes)
    V::store(s + i, V::multiply(V::load(s + i), V::load(key_scales + i)));
  for (int i = 0; i < b.begin[row]; ++i) s[i] = -__builtin_inff();
  for (int i = b.end[row]; i < padded; ++i) s[i] = -__builtin_inff();
  for (int i = 0; i < padded; i += V::lanes) most = V::maximum_float(most, V::load(s + i));
  const float largest = V::reduce_maximum_float(most);
  Float sum = V::zero_float();
  for (int i = 0; i < padded; i += V::lanes) {
    const Float p = exponential<V>(V::subtract(V::load(s + i), V::set(largest)));
    sum = V::add_float(sum, p);
    // What falls below the normal numbers counts nothing, and some machines compute with it at a hundredth of the speed.
    const Float share = V::multiply(p, V::load(value_scales + i));
    V::store(s + i, V::zero_below(share, share, V::set(0x1p-126f)));
  }
  float change[V::lanes];
  V::store(change, exponential<V>(V::set(b.largest[row] - largest)));
  *shrink = change[0];
  b.total[row] = b.total[row] * *shrink + V::reduce_add_float(sum);
  b.largest[row] = largest;
}

template <class V, class Stored, int R, int W, bool early>
G4_INLINE void value_tile(const AttentionBlock& b, const float* shrink, int first, int d) {
  using Number = typename Stored::Number;
  const Number* values = static_cast<const Number*>(b.values) + d;
  const float* p = b.scores + first * kBlockKeys;
  typename V::Float sum[R][W];
  G4_UNROLL
  for (int r = 0; r < R; ++r)
    G4_UNROLL
    for (int w = 0; w < W; ++w)
      sum[r][w] = V::multiply(V::load(b.out[first + r] + d + w * V::lanes), V::set(shrink[first + r]));
  for (int key = 0; key < b.count; ++key, values += b.depth) {
    typename V::Float v[W];
    G4_UNROLL
    for (int w = 0; w < W; ++w) v[w] = Stored::template load<V>(values + w * V::lanes);
    if constexpr (early)
      fetch(static_cast<const Number*>(b.next_keys) + static_cast<ptrdiff_t>(key) * b.depth,
            d * static_cast<int>(sizeof(Number)), W * V::lanes * static_cast<int>(sizeof(Number)));
    G4_UNROLL
    for (int r = 0; r < R; ++r) {
      const typename V::Float share = V::set(p[r * kBlockKeys + key]);
      G4_UNROLL
      for (int w = 0; w < W; ++w) sum[r][w] = V::fma(share, v[w], sum[r][w]);
    }
  }
  G4_UNROLL
  for (int r = 0; r < R; ++r)
    G4_UNROLL
    for (int w = 0; w < W; ++w) V::store(b.out[first + r] + d + w * V::lanes, sum[r][w]);
}

template <class V, class Stored, int R, bool early>
void value_rows(const AttentionBlock& b, const float* shrink, int first) {
  int d = 0;
  for (; d + 2 * V::lanes <= b.depth; d += 2 * V::lanes) value_tile<V, Stored, R, 2, early>(b, shrink, first, d);
  if (d < b.depth) value_tile<V, Stored, R, 1, early>(b, shrink, first, d);
}

// Calls body<R>(row) for all rows, R at a time, and halves of R for those that are left.
template <int R, class Body>
G4_INLINE void each_rows(int row, int rows, const Body& body) {
  for (; row + R <= rows; row += R) body.template operator()<R>(row);
  if constexpr (R > 1) each_rows<R / 2>(row, rows, body);
}

template <class V, class Stored>
void attend(const AttentionBlock& b) {
  alignas(64) float key_scales[kBlockKeys], value_scales[kBlockKeys];
  for (int i = 0; i < kBlockKeys; ++i) {
    key_scales[i] = i < b.count && b.key_scales ? b.key_scales[i] * b.scale : b.scale;
    value_scales[i] = i < b.count && b.value_scales ? b.value_scales[i] : 1;
  }
  float shrink[kBlockRows];
  each_rows<V::attention_rows>(0, b.rows, [&]<int R>(int row) {
    row ? score_rows<V, Stored, R, false>(b, row) : score_rows<V, Stored, R, true>(b, row);
  });
  for (int row = 0; row < b.rows; ++row) soft_max<V>(b, row, key_scales, value_scales, shrink + row);
  each_rows<V::attention_rows>(0, b.rows, [&]<int R>(int row) {
    row ? value_rows<V, Stored, R, false>(b, shrink, row) : value_rows<V, Stored, R, true>(b, shrink, row);
  });
}

// The table of an instruction set.
#define G4_FLOAT_KERNELS(V, narrower)                                                                               \
  {                                                                                                                 \
    V::lanes, narrower, {attend<V, StoredFloat32>, attend<V, StoredBfloat16>, attend<V, StoredInt8>},               \
        {encoder_packed<V>, encoder_scratch<V>, encoder_pack<V>, encoder_attend<V>}, geglu<V>, weigh<V>, norm<V>,    \
        rotate<V>                                                                                                   \
  }

}  // namespace
}  // namespace g4
