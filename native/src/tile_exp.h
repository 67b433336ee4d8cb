// exp and the gated activation, over vectors V (see tile.h). Every rounding is that of LAYERS.md, so all instruction
// sets give the same bits.
#pragma once
#include "float_kernels.h"
#include "tile.h"

namespace g4 {
namespace {

// exp(x), to about 1e-7; 0 below `lowest`, which is -87 or more, and no more than exp(88). What is not a number stays so:
// of two operands, `maximum_float` and `minimum_float` give the second one then.
template <class V>
G4_INLINE typename V::Float exponential_above(typename V::Float x, typename V::Float lowest) {
  using Float = typename V::Float;
  const Float near = V::minimum_float(V::set(88.0f), V::maximum_float(lowest, x));
  const typename V::Int n = V::round(V::multiply(near, V::set(1.44269504f)));
  Float f = V::fma(V::to_float(n), V::set(-0.693145751953125f), near);  // less n * ln(2), in two steps
  f = V::fma(V::to_float(n), V::set(-1.42860677e-6f), f);
  Float p = V::set(1.9875691500e-4f);
  p = V::fma(p, f, V::set(1.3981999507e-3f));
  p = V::fma(p, f, V::set(8.3334519073e-3f));
  p = V::fma(p, f, V::set(4.1665795894e-2f));
  p = V::fma(p, f, V::set(1.6666665459e-1f));
  p = V::fma(p, f, V::set(5.0000001201e-1f));
  p = V::fma(V::multiply(p, f), f, f);
  return V::zero_below(V::multiply(V::add_float(p, V::set(1.0f)), V::power_of_two(n)), x, lowest);
}

template <class V>
G4_INLINE typename V::Float exponential(typename V::Float x) {
  return exponential_above<V>(x, V::set(-87.0f));
}

// gelu in its tanh form, as x / (1 + exp(-2 sqrt(2 / pi) (x + 0.044715 x^3))), times up.
template <class V>
G4_INLINE typename V::Float gated(typename V::Float gate, typename V::Float up) {
  using Float = typename V::Float;
  const Float cube = V::multiply(V::multiply(gate, gate), gate);
  const Float inner = V::fma(cube, V::set(0.044715f), gate);
  const Float divisor = V::add_float(V::set(1.0f), exponential<V>(V::multiply(inner, V::set(-1.5957691216f))));
  return V::multiply(V::divide(gate, divisor), up);
}

template <class V>
void geglu(const float* gate, const float* up, int64_t count, float* to) {
  int64_t i = 0;
  for (; i + V::lanes <= count; i += V::lanes) V::store(to + i, gated<V>(V::load(gate + i), V::load(up + i)));
  if (i == count) return;
  float rest[3][V::lanes] = {};
  const size_t bytes = static_cast<size_t>(count - i) * sizeof(float);
  __builtin_memcpy(rest[0], gate + i, bytes);
  __builtin_memcpy(rest[1], up + i, bytes);
  V::store(rest[2], gated<V>(V::load(rest[0]), V::load(rest[1])));
  __builtin_memcpy(to + i, rest[2], bytes);
}

template <class V>
void weigh(float weight, const float* from, int64_t count, float* to) {
  int64_t i = 0;
  for (; i + V::lanes <= count; i += V::lanes)
    V::store(to + i, V::add_float(V::load(to + i), V::multiply(V::set(weight), V::load(from + i))));
  for (; i < count; ++i) to[i] += weight * from[i];
}

}  // namespace
}  // namespace g4
