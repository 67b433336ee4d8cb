// Vectors of 4 numbers for arm64: see tile.h.
#pragma once
#include <arm_neon.h>

#include "tile.h"

namespace g4 {
namespace {

struct VectorNeon {
  using Int = int32x4_t;
  using Float = float32x4_t;
  static constexpr int lanes = 4, attention_tile = 16, attention_rows = 8;  // 16 sums, of 32 registers
  static constexpr int encoder_rows = 6, encoder_vectors = 4;                       // 24

  G4_INLINE Int set(int32_t a) { return vdupq_n_s32(a); }
  G4_INLINE Float set(float a) { return vdupq_n_f32(a); }
  G4_INLINE Float zero_float() { return vdupq_n_f32(0); }
  G4_INLINE Float load(const float* p) { return vld1q_f32(p); }
  G4_INLINE Float load_bfloat16(const uint16_t* p) { return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16)); }
  G4_INLINE Float load_int8(const int8_t* p) {
    int32_t four;
    __builtin_memcpy(&four, p, 4);
    const int8x8_t bytes = vreinterpret_s8_s32(vdup_n_s32(four));
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(bytes))));
  }
  G4_INLINE void store(float* p, Float a) { vst1q_f32(p, a); }
  G4_INLINE Float to_float(Int a) { return vcvtq_f32_s32(a); }
  G4_INLINE Int round(Float a) { return vcvtnq_s32_f32(a); }
  G4_INLINE Float add_float(Float a, Float b) { return vaddq_f32(a, b); }
  G4_INLINE Float subtract(Float a, Float b) { return vsubq_f32(a, b); }
  G4_INLINE Float multiply(Float a, Float b) { return vmulq_f32(a, b); }
  G4_INLINE Float divide(Float a, Float b) { return vdivq_f32(a, b); }
  G4_INLINE Float fma(Float a, Float b, Float c) { return vfmaq_f32(c, a, b); }
  G4_INLINE Float maximum_float(Float a, Float b) { return vmaxq_f32(a, b); }
  G4_INLINE Float minimum_float(Float a, Float b) { return vminq_f32(a, b); }
  G4_INLINE Float power_of_two(Int n) { return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(n, set(127)), 23)); }
  G4_INLINE Float zero_below(Float value, Float x, Float limit) {
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(value), vcltq_f32(x, limit)));
  }
  G4_INLINE float reduce_maximum_float(Float a) { return vmaxvq_f32(a); }
  G4_INLINE float reduce_add_float(Float a) { return vaddvq_f32(a); }
  G4_INLINE Float sums(const Float* a) { return vpaddq_f32(vpaddq_f32(a[0], a[1]), vpaddq_f32(a[2], a[3])); }
};

}  // namespace
}  // namespace g4
