// Vectors of 8 numbers for AVX2: see tile.h.
#pragma once
#include <immintrin.h>

#include "tile.h"

namespace g4 {
namespace {

struct VectorAvx2 {
  using Int = __m256i;
  using Float = __m256;
  static constexpr int lanes = 8, attention_tile = 8, attention_rows = 4;  // 8 sums, of 16 registers
  static constexpr int encoder_rows = 6, encoder_vectors = 2;                       // 12

  G4_INLINE Int set(int32_t a) { return _mm256_set1_epi32(a); }
  G4_INLINE Float set(float a) { return _mm256_set1_ps(a); }
  G4_INLINE Float zero_float() { return _mm256_setzero_ps(); }
  G4_INLINE Float load(const float* p) { return _mm256_loadu_ps(p); }
  G4_INLINE Float load_bfloat16(const uint16_t* p) {
    const __m128i words = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(words), 16));
  }
  G4_INLINE Float load_int8(const int8_t* p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
  }
  G4_INLINE void store(float* p, Float a) { _mm256_storeu_ps(p, a); }
  G4_INLINE Float to_float(Int a) { return _mm256_cvtepi32_ps(a); }
  G4_INLINE Int round(Float a) { return _mm256_cvtps_epi32(a); }
  G4_INLINE Float add_float(Float a, Float b) { return _mm256_add_ps(a, b); }
  G4_INLINE Float subtract(Float a, Float b) { return _mm256_sub_ps(a, b); }
  G4_INLINE Float multiply(Float a, Float b) { return _mm256_mul_ps(a, b); }
  G4_INLINE Float divide(Float a, Float b) { return _mm256_div_ps(a, b); }
  G4_INLINE Float fma(Float a, Float b, Float c) { return _mm256_fmadd_ps(a, b, c); }
  G4_INLINE Float maximum_float(Float a, Float b) { return _mm256_max_ps(a, b); }
  G4_INLINE Float minimum_float(Float a, Float b) { return _mm256_min_ps(a, b); }
  G4_INLINE Float power_of_two(Int n) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, set(127)), 23));
  }
  G4_INLINE Float zero_below(Float value, Float x, Float limit) {
    return _mm256_andnot_ps(_mm256_cmp_ps(x, limit, _CMP_LT_OQ), value);
  }
  G4_INLINE float reduce_maximum_float(Float a) {
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
  }
  G4_INLINE float reduce_add_float(Float a) {
    __m128 m = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    m = _mm_add_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_add_ss(m, _mm_movehdup_ps(m)));
  }
  G4_INLINE Float sums(const Float* a) {  // of 8 vectors
    const Float low = _mm256_hadd_ps(_mm256_hadd_ps(a[0], a[1]), _mm256_hadd_ps(a[2], a[3]));
    const Float high = _mm256_hadd_ps(_mm256_hadd_ps(a[4], a[5]), _mm256_hadd_ps(a[6], a[7]));
    return _mm256_add_ps(_mm256_permute2f128_ps(low, high, 0x20), _mm256_permute2f128_ps(low, high, 0x31));
  }
};

}  // namespace
}  // namespace g4
