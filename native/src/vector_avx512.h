// Vectors of 16 numbers for AVX-512: see tile.h.
#pragma once
#include <immintrin.h>

#include "tile.h"

namespace g4 {
namespace {

struct VectorAvx512 {
  using Int = __m512i;
  using Float = __m512;
  static constexpr int lanes = 16, attention_tile = 16, attention_rows = 8;  // 16 sums, of 32 registers
  static constexpr int encoder_rows = 6, encoder_vectors = 4;                        // 24

  G4_INLINE Int set(int32_t a) { return _mm512_set1_epi32(a); }
  G4_INLINE Float set(float a) { return _mm512_set1_ps(a); }
  G4_INLINE Float zero_float() { return _mm512_setzero_ps(); }
  G4_INLINE Float load(const float* p) { return _mm512_loadu_ps(p); }
  G4_INLINE Float load_bfloat16(const uint16_t* p) {
    const __m256i words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(words), 16));
  }
  G4_INLINE Float load_int8(const int8_t* p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  }
  G4_INLINE void store(float* p, Float a) { _mm512_storeu_ps(p, a); }
  G4_INLINE Float to_float(Int a) { return _mm512_cvtepi32_ps(a); }
  G4_INLINE Int round(Float a) { return _mm512_cvtps_epi32(a); }
  G4_INLINE Float add_float(Float a, Float b) { return _mm512_add_ps(a, b); }
  G4_INLINE Float subtract(Float a, Float b) { return _mm512_sub_ps(a, b); }
  G4_INLINE Float multiply(Float a, Float b) { return _mm512_mul_ps(a, b); }
  G4_INLINE Float divide(Float a, Float b) { return _mm512_div_ps(a, b); }
  G4_INLINE Float fma(Float a, Float b, Float c) { return _mm512_fmadd_ps(a, b, c); }
  G4_INLINE Float maximum_float(Float a, Float b) { return _mm512_max_ps(a, b); }
  G4_INLINE Float minimum_float(Float a, Float b) { return _mm512_min_ps(a, b); }
  G4_INLINE Float power_of_two(Int n) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(n, set(127)), 23));
  }
  G4_INLINE Float zero_below(Float value, Float x, Float limit) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, limit, _CMP_NLT_UQ), value);
  }
  G4_INLINE float reduce_maximum_float(Float a) { return _mm512_reduce_max_ps(a); }
  G4_INLINE float reduce_add_float(Float a) { return _mm512_reduce_add_ps(a); }

  // The sums of pairs of quarters (or of halves of quarters) of a, then those of b.
  G4_INLINE Float fold_quarters(Float a, Float b) {
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
  }
  G4_INLINE Float fold_in_quarters(Float a, Float b) {
    return _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xdd));
  }
  G4_INLINE Float sums(const Float* a) {  // of 16 vectors
    Float four[4];  // in quarter q: of vectors 4 * i + q, by lane in their quarters
    G4_UNROLL
    for (int i = 0; i < 4; ++i)
      four[i] = fold_quarters(fold_quarters(a[4 * i], a[4 * i + 1]), fold_quarters(a[4 * i + 2], a[4 * i + 3]));
    const Float mixed = fold_in_quarters(fold_in_quarters(four[0], four[1]), fold_in_quarters(four[2], four[3]));
    const Int order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return _mm512_permutexvar_ps(order, mixed);
  }
};

}  // namespace
}  // namespace g4
