// Attention in which every query sees every key, over vectors V (see tile.h): two products of matrices, with a soft-max
// between them that is taken as keys come. LAYERS.md says in which order sums are taken.
//
// Keys are packed transposed, so that scores are sums of outer products: a tile is R rows of queries against W vectors of
// keys, and then R rows of shares against W vectors of values. No sum goes across a vector but those of the soft-max.
#pragma once
#include "tile_exp.h"

namespace g4 {
namespace {

constexpr float kLeastShare = -44.0f;  // exp of less counts nothing beside 1, and leads to numbers below the normal ones

// How a head of keys and values lies in memory: panels of keys [panel][depth][P], then values in some slices of their
// depth, each [keys padded][vectors of the slice], as equal as they can be.
template <class V>
struct EncoderLayout {
  static constexpr int W = V::encoder_vectors, P = W * V::lanes;
  int64_t count, depth;

  int64_t padded() const { return (count + P - 1) / P * P; }
  int64_t vectors() const { return (depth + V::lanes - 1) / V::lanes; }
  int64_t slices() const { return (vectors() + W - 1) / W; }
  int64_t first(int64_t slice) const { return vectors() * slice / slices(); }  // vector of a slice
  int64_t keys_size() const { return padded() * depth; }
  int64_t size() const { return keys_size() + padded() * vectors() * V::lanes; }
  int64_t values_at(int64_t slice) const { return keys_size() + padded() * first(slice) * V::lanes; }
};

template <class V>
int64_t encoder_packed(int64_t count, int64_t depth) {
  return EncoderLayout<V>{count, depth}.size();
}

// Packs the keys and values from `first` on, kEncoderKeys of them or what is left.
template <class V>
void encoder_pack(const EncoderKeys& from, int64_t first, float* packed) {
  const EncoderLayout<V> layout{from.count, from.depth};
  constexpr int P = EncoderLayout<V>::P;
  const int64_t depth = from.depth, stop = first + kEncoderKeys < layout.padded() ? first + kEncoderKeys : layout.padded();
  for (int64_t key = first; key < stop; ++key) {
    float* const to = packed + key / P * P * depth + key % P;
    const float* const row = from.keys + key * depth;
    for (int64_t d = 0; d < depth; ++d) to[d * P] = key < from.count ? row[d] : 0;
  }
  for (int64_t slice = 0; slice < layout.slices(); ++slice) {
    const int64_t begin = layout.first(slice) * V::lanes, width = layout.first(slice + 1) * V::lanes - begin;
    for (int64_t key = first; key < stop; ++key) {
      float* const to = packed + layout.values_at(slice) + key * width;
      const float* const row = from.values + key * depth + begin;
      for (int64_t d = 0; d < width; ++d) to[d] = key < from.count && begin + d < depth ? row[d] : 0;
    }
  }
}

// Numbers of the memory that `encoder_attend` works in: queries, scores, and sums of values.
template <class V>
int64_t encoder_scratch(int64_t depth) {
  return kEncoderRows * (depth + kEncoderKeys + EncoderLayout<V>{0, depth}.vectors() * V::lanes);
}

// scores[r][P] of R queries [depth][R] and a panel of keys [depth][P].
template <class V, int R>
G4_INLINE void encoder_scores(const float* query, const float* keys, int depth, float* scores) {
  constexpr int W = V::encoder_vectors, P = W * V::lanes;
  typename V::Float sum[R][W];
  G4_UNROLL
  for (int r = 0; r < R; ++r)
    G4_UNROLL
    for (int w = 0; w < W; ++w) sum[r][w] = V::zero_float();
  for (int d = 0; d < depth; ++d, query += R, keys += P) {
    typename V::Float k[W];
    G4_UNROLL
    for (int w = 0; w < W; ++w) k[w] = V::load(keys + w * V::lanes);
    G4_UNROLL
    for (int r = 0; r < R; ++r) {
      const typename V::Float q = V::set(query[r]);
      G4_UNROLL
      for (int w = 0; w < W; ++w) sum[r][w] = V::fma(q, k[w], sum[r][w]);
    }
  }
  G4_UNROLL
  for (int r = 0; r < R; ++r)
    G4_UNROLL
    for (int w = 0; w < W; ++w) V::store(scores + r * kEncoderKeys + w * V::lanes, sum[r][w]);
}

// sums[r][W vectors] = sums * shrink + shares [R][count] * values [count][W vectors].
template <class V, int R, int W>
G4_INLINE void encoder_values(const float* shares, const float* values, int count, const float* shrink, float* sums,
                              int64_t step) {
  typename V::Float sum[R][W];
  G4_UNROLL
  for (int r = 0; r < R; ++r)
    G4_UNROLL
    for (int w = 0; w < W; ++w) sum[r][w] = V::zero_float();
  for (int key = 0; key < count; ++key, values += W * V::lanes) {
    typename V::Float v[W];
    G4_UNROLL
    for (int w = 0; w < W; ++w) v[w] = V::load(values + w * V::lanes);
    G4_UNROLL
    for (int r = 0; r < R; ++r) {
      const typename V::Float share = V::set(shares[r * kEncoderKeys + key]);
      G4_UNROLL
      for (int w = 0; w < W; ++w) sum[r][w] = V::fma(share, v[w], sum[r][w]);
    }
  }
  G4_UNROLL
  for (int r = 0; r < R; ++r)
    G4_UNROLL
    for (int w = 0; w < W; ++w) {
      float* const to = sums + r * step + w * V::lanes;
      V::store(to, V::fma(V::load(to), V::set(shrink[r]), sum[r][w]));
    }
}

// Calls body<W>() for the W that is `vectors`.
template <int W, class Body>
G4_INLINE void with_vectors(int64_t vectors, const Body& body) {
  if (vectors == W) return body.template operator()<W>();
  if constexpr (W > 1) with_vectors<W - 1>(vectors, body);
}

// Scores of a row become exp(score - largest); what the sums so far are multiplied with, because the largest score
// changed.
template <class V>
G4_INLINE float encoder_shares(float* s, int count, float* largest, float* total) {
  using Float = typename V::Float;
  const int padded = (count + V::lanes - 1) / V::lanes * V::lanes;
  for (int i = count; i < padded; ++i) s[i] = -__builtin_inff();
  Float most = V::set(*largest);
  for (int i = 0; i < padded; i += V::lanes) most = V::maximum_float(most, V::load(s + i));
  const float now = V::reduce_maximum_float(most);
  const Float least = V::set(kLeastShare);
  Float sum = V::zero_float();
  for (int i = 0; i < padded; i += V::lanes) {
    const Float share = exponential_above<V>(V::subtract(V::load(s + i), V::set(now)), least);
    sum = V::add_float(sum, share);
    V::store(s + i, share);
  }
  float change[V::lanes];
  V::store(change, exponential_above<V>(V::set(*largest - now), least));
  *total = *total * change[0] + V::reduce_add_float(sum);
  *largest = now;
  return change[0];
}

template <class V>
void encoder_attend(const EncoderBlock& b) {
  constexpr int R = V::encoder_rows, P = EncoderLayout<V>::P;
  constexpr int near = 128;  // keys whose values stay in the first cache
  static_assert(kEncoderRows % R == 0 && kEncoderKeys % P == 0 && kEncoderKeys % near == 0);
  const EncoderLayout<V> layout{b.count, b.depth};
  const int64_t width = layout.vectors() * V::lanes;
  const int tiles = (b.rows + R - 1) / R;
  float* const query = b.scratch;
  float* const scores = query + kEncoderRows * b.depth;
  float* const sums = scores + kEncoderRows * kEncoderKeys;
  float largest[kEncoderRows], total[kEncoderRows], shrink[kEncoderRows], ones[R];
  for (float& one : ones) one = 1;
  for (int row = 0; row < tiles * R; ++row) {
    float* const to = query + row / R * R * b.depth + row % R;
    for (int d = 0; d < b.depth; ++d) to[d * R] = row < b.rows ? b.query[static_cast<int64_t>(row) * b.depth + d] * b.scale : 0;
    for (int64_t d = 0; d < width; ++d) sums[row * width + d] = 0;
    largest[row] = kNoScore;
    total[row] = shrink[row] = 0;
  }
  for (int64_t at = 0; at < b.count; at += kEncoderKeys) {
    const int count = static_cast<int>(b.count - at < kEncoderKeys ? b.count - at : kEncoderKeys);
    for (int key = 0; key < count; key += P)
      for (int tile = 0; tile < tiles; ++tile)
        encoder_scores<V, R>(query + tile * R * b.depth, b.packed + (at + key) * b.depth, b.depth,
                             scores + tile * R * kEncoderKeys + key);
    for (int row = 0; row < b.rows; ++row)
      shrink[row] = encoder_shares<V>(scores + row * kEncoderKeys, count, largest + row, total + row);
    for (int key = 0; key < count; key += near)
      for (int64_t slice = 0; slice < layout.slices(); ++slice) {
        const int64_t first = layout.first(slice), vectors = layout.first(slice + 1) - first;
        const float* const values = b.packed + layout.values_at(slice) + (at + key) * vectors * V::lanes;
        with_vectors<V::encoder_vectors>(vectors, [&]<int W>() {
          for (int tile = 0; tile < tiles; ++tile)
            encoder_values<V, R, W>(scores + tile * R * kEncoderKeys + key, values, count - key < near ? count - key : near,
                                    key ? ones : shrink + tile * R, sums + tile * R * width + first * V::lanes, width);
        });
      }
  }
  for (int row = 0; row < b.rows; ++row) {
    const float inverse = 1 / total[row];
    for (int d = 0; d < b.depth; ++d) b.y[row * b.y_step + d] = sums[row * width + d] * inverse;
  }
}

}  // namespace
}  // namespace g4
