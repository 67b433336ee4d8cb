// The dot product extension of arm64, for tile.h: sdot multiplies 16 signed bytes by 16 and adds them up by four. Its
// form with a lane takes the four numbers of one row out of a vector that holds those of four rows.
#pragma once
#include "tile.h"
#include "tile_float.h"
#include "tile_quantize.h"
#include "vector_neon.h"

namespace g4 {
namespace {

struct NeonDotprod : VectorNeon {
  using VectorNeon::multiply;
  static constexpr int slices = 2, vectors = 4;
  static constexpr int channel_rows = 4, block_rows = 4, long_block_rows = 4;  // 16 sums of 32 registers
  static constexpr int float_rows = 4, float_vectors = 4;
  G4_INLINE int channel(int slice, int v) { return 8 * slice + 4 * (v % 2) + 16 * (v / 2); }
  template <int Bits>
  G4_INLINE constexpr int bias() { return Bits == 8 ? 128 : 0; }  // sdot takes signed codes
  template <int Bits>
  G4_INLINE Int too_large(Int a, int) { return a; }
  template <int Bits>
  G4_INLINE Float scale_down(Float a, int) { return a; }

  G4_INLINE Int add(Int a, Int b) { return vaddq_s32(a, b); }
  G4_INLINE Int multiply(Int a, Int b) { return vmulq_s32(a, b); }
  G4_INLINE Int multiply_short(Int a, Int b) { return vmulq_s32(a, b); }
  G4_INLINE Int negative(Int a) { return vnegq_s32(a); }
  G4_INLINE Int negative_short(Int a) { return negative(a); }  // what multiply_short takes
  G4_INLINE Int bit_and(Int a, Int b) { return vandq_s32(a, b); }
  G4_INLINE Int shift_right(Int a, int n) {
    return vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(a), vdupq_n_s32(-n)));
  }
  G4_INLINE Int maximum(Int a, Int b) { return vmaxq_s32(a, b); }
  G4_INLINE int32_t reduce_maximum(Int a) { return vmaxvq_s32(a); }
  G4_INLINE int32_t reduce_add(Int a) { return vaddvq_s32(a); }
  G4_INLINE Int load_bytes(const uint8_t* p) {
    uint32_t four;
    __builtin_memcpy(&four, p, 4);
    const uint8x8_t bytes = vreinterpret_u8_u32(vdup_n_u32(four));
    return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(vmovl_u8(bytes))));
  }
  G4_INLINE Int load_ints(const void* p) { return vreinterpretq_s32_u8(vld1q_u8(static_cast<const uint8_t*>(p))); }
  G4_INLINE void store_bytes(int8_t* p, Int a) {
    const int16x4_t words = vmovn_s32(a);
    const int8x8_t bytes = vmovn_s16(vcombine_s16(words, words));
    const int32_t four = vget_lane_s32(vreinterpret_s32_s8(bytes), 0);
    __builtin_memcpy(p, &four, 4);
  }

  // A quad of K in a slice: `loads` vectors of bytes. A byte of 8 bits is a code; one of fewer bits holds a code of a
  // channel, and above it one of the channel that is 16 further on.
  template <int Bits>
  static constexpr int loads = Bits == 8 ? 4 : 2;
  template <int Bits>
  G4_INLINE uint8x16_t load_quad(const uint8_t* codes, int slice, int quad, int i) {
    const uint8_t* p = codes + 32 * slice + (Bits == 2 ? quad / 2 * 64 : quad * 16 * Bits);
    const uint8x16_t bytes = vld1q_u8(p + 16 * (i % 2) + 64 * (i / 2));
    return Bits == 2 && quad % 2 ? vshrq_n_u8(bytes, 4) : bytes;
  }
  template <int Bits>
  G4_INLINE uint8x16_t low_codes(uint8x16_t bytes) {
    return Bits == 8 ? bytes : vandq_u8(bytes, vdupq_n_u8(Bits == 4 ? 15 : 3));
  }
  template <int Bits>
  G4_INLINE uint8x16_t high_codes(uint8x16_t bytes) {
    return Bits == 4 ? vshrq_n_u8(bytes, 4) : low_codes<Bits>(vshrq_n_u8(bytes, 2));
  }

  // The codes of a quad less their bias, for the four vectors of a slice.
  template <int Bits>
  G4_INLINE void load_codes(const uint8_t* codes, int slice, int quad, int8x16_t (&w)[4]) {
    G4_UNROLL
    for (int i = 0; i < loads<Bits>; ++i) {
      const uint8x16_t bytes = load_quad<Bits>(codes, slice, quad, i);
      if constexpr (Bits == 8) {
        w[i] = vreinterpretq_s8_u8(veorq_u8(bytes, vdupq_n_u8(128)));
      } else {
        w[i] = vreinterpretq_s8_u8(low_codes<Bits>(bytes));
        w[2 + i] = vreinterpretq_s8_u8(high_codes<Bits>(bytes));
      }
    }
  }

  template <int R, int row>
  G4_INLINE void add_row(const int8x16_t (&w)[4], int8x16_t x, Int (&sum)[R][4]) {
    if constexpr (row < R) {
      G4_UNROLL
      for (int v = 0; v < 4; ++v) sum[row][v] = vdotq_laneq_s32(sum[row][v], w[v], x, row);
    }
  }

  template <int R, int Bits, Spread>
  G4_INLINE void segment(const uint8_t* codes, int slice, const int8_t* q, ptrdiff_t step, int quads,
                         Int (&sum)[R][4]) {
    for (int quad = 0; quad < quads; quad += 2)
      G4_UNROLL
      for (int i = 0; i < 2; ++i, q += step) {
        int8x16_t w[4];
        load_codes<Bits>(codes, slice, quad + i, w);
        const int8x16_t x = vld1q_s8(q);  // of four rows, whether there are so many or not
        add_row<R, 0>(w, x, sum);
        add_row<R, 1>(w, x, sum);
        add_row<R, 2>(w, x, sum);
        add_row<R, 3>(w, x, sum);
      }
  }
};

}  // namespace
}  // namespace g4
