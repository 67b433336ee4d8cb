// RMS norms and rotations of one row, over vectors V (see tile.h). Every rounding is that of LAYERS.md, so all
// instruction sets give the same bits.
#pragma once
#include "float_kernels.h"
#include "tile.h"

namespace g4 {
namespace {

constexpr int kSums = 16;  // squares are added up apart by their index modulo this

// 1 / sqrt(mean of squares + epsilon)
template <class V>
G4_INLINE float inverse_root(const float* x, int64_t count, float epsilon) {
  constexpr int vectors = kSums / V::lanes;
  typename V::Float sum[vectors];
  G4_UNROLL
  for (int v = 0; v < vectors; ++v) sum[v] = V::zero_float();
  int64_t i = 0;
  for (; i + kSums <= count; i += kSums)
    G4_UNROLL
    for (int v = 0; v < vectors; ++v) {
      const typename V::Float part = V::load(x + i + v * V::lanes);
      sum[v] = V::fma(part, part, sum[v]);
    }
  float sums[kSums];
  G4_UNROLL
  for (int v = 0; v < vectors; ++v) V::store(sums + v * V::lanes, sum[v]);
  for (int64_t rest = i; rest < count; ++rest) sums[rest - i] = __builtin_fmaf(x[rest], x[rest], sums[rest - i]);
  for (int half = kSums / 2; half; half /= 2)
    for (int j = 0; j < half; ++j) sums[j] += sums[j + half];
  return 1.0f / __builtin_sqrtf(sums[0] / static_cast<float>(count) + epsilon);
}

template <class V>
void norm(const NormRow& row) {
  const float root = inverse_root<V>(row.x, row.count, row.epsilon);
  int64_t i = 0;
  for (; i + V::lanes <= row.count; i += V::lanes) {
    typename V::Float y = V::multiply(V::multiply(V::load(row.x + i), V::set(root)), V::load(row.weight + i));
    if (row.residual) y = V::multiply(V::add_float(V::load(row.residual + i), y), V::set(row.scale));
    V::store(row.y + i, y);
  }
  for (; i < row.count; ++i) {
    const float y = row.x[i] * root * row.weight[i];
    row.y[i] = row.residual ? (row.residual[i] + y) * row.scale : y;
  }
}

template <class V>
void rotate(float* x, const float* cos, const float* sin, int64_t half) {
  int64_t i = 0;
  for (; i + V::lanes <= half; i += V::lanes) {
    const typename V::Float low = V::load(x + i), high = V::load(x + half + i);
    const typename V::Float c = V::load(cos + i), s = V::load(sin + i);
    V::store(x + i, V::subtract(V::multiply(low, c), V::multiply(high, s)));
    V::store(x + half + i, V::add_float(V::multiply(high, c), V::multiply(low, s)));
  }
  for (; i < half; ++i) {
    const float low = x[i], high = x[half + i];
    x[i] = low * cos[i] - high * sin[i];
    x[half + i] = high * cos[i] + low * sin[i];
  }
}

}  // namespace
}  // namespace g4
