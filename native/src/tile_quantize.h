// A row of float32 to int8 with a scale a row or a block, over an instruction set I (see tile.h).
#pragma once
#include "tile.h"

namespace g4 {
namespace {

// Rows and blocks that are this small are zero: their reciprocal would overflow.
constexpr float kSmallest = 0x1p-100f;

// Bits of the largest |x|. As integers they are ordered like the numbers, with infinity and NaN above all.
template <class I>
G4_INLINE int32_t largest(const float* x, int n) {
  typename I::Int most = I::set(0);
  int k = 0;
  for (; k + I::lanes <= n; k += I::lanes) most = I::maximum(most, I::bit_and(I::load_ints(x + k), I::set(0x7fffffff)));
  int32_t found = I::reduce_maximum(most);
  for (; k < n; ++k) {
    int32_t word;
    __builtin_memcpy(&word, x + k, 4);
    word &= 0x7fffffff;
    if (word > found) found = word;
  }
  return found;
}

// 32 numbers -> 32 bytes; returns their sum.
template <class I>
G4_INLINE int32_t round32(const float* x, float inverse, int8_t* q) {
  typename I::Int sum = I::set(0);
  for (int k = 0; k < 32; k += I::lanes) {
    const typename I::Int rounded = I::round(I::multiply(I::load(x + k), I::set(inverse)));
    sum = I::add(sum, rounded);
    I::store_bytes(q + k, rounded);
  }
  return I::reduce_add(sum);
}

template <class I>
void quantize(const float* x, int K, int block, int8_t* q, float* scales, int32_t* sums) {
  const int length = block ? block : K;
  for (int start = 0; start < K; start += length) {
    const int end = K - start < length ? K : start + length;
    const int32_t word = largest<I>(x + start, end - start);
    float most;
    __builtin_memcpy(&most, &word, 4);
    float inverse = 127.0f / most, scale = most / 127.0f;
    if (word >= 0x7f800000) {  // infinite, or not a number: so is the product
      const uint32_t nan = 0x7fc00000;
      inverse = 0;
      __builtin_memcpy(&scale, &nan, 4);
    } else if (most < kSmallest) {
      inverse = scale = 0;
    }
    *scales++ = scale;
    for (int k = start; k < end; k += 32) {
      if (inverse == 0) {
        for (int i = 0; i < 32; ++i) q[k + i] = 0;
        *sums++ = 0;
      } else if (end - k >= 32) {
        *sums++ = round32<I>(x + k, inverse, q + k);
      } else {
        float rest[32] = {};
        for (int i = 0; i < end - k; ++i) rest[i] = x[k + i];
        *sums++ = round32<I>(rest, inverse, q + k);
      }
    }
  }
}

// The table of an instruction set.
#define G4_PRODUCTS(I, Bits) \
  { product<I, Bits, kChannel>, product<I, Bits, kBlocks>, product<I, Bits, kBoth> }
#define G4_KERNELS(I, name, floats)                                                \
  {                                                                                \
    name, quantize<I>, {G4_PRODUCTS(I, 2), G4_PRODUCTS(I, 4), G4_PRODUCTS(I, 8)},  \
        {product_float<I, 2>, product_float<I, 4>, product_float<I, 8>}, floats    \
  }

}  // namespace
}  // namespace g4
