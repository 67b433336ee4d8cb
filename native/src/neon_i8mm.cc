// Kernels for arm64 with the matrix multiplication extension of 8-bit integers: usmmla multiplies 8 codes (unsigned) of
// each of two channels by 8 activations of each of two rows. Two quads of K make the 8: zip joins them.
#include "tile_neon.h"

namespace g4 {
namespace {

struct NeonI8mm : NeonDotprod {
  static constexpr int channel_rows = 6, block_rows = 4, long_block_rows = 4;  // 24 sums, or 16 and as many totals, of 32 registers
  template <int Bits>
  G4_INLINE constexpr int bias() { return 0; }

  // Two quads as 8 of K: of the first two channels or rows, and of the last two.
  G4_INLINE uint8x16_t zip_low(uint8x16_t a, uint8x16_t b) {
    return vreinterpretq_u8_u32(vzip1q_u32(vreinterpretq_u32_u8(a), vreinterpretq_u32_u8(b)));
  }
  G4_INLINE uint8x16_t zip_high(uint8x16_t a, uint8x16_t b) {
    return vreinterpretq_u8_u32(vzip2q_u32(vreinterpretq_u32_u8(a), vreinterpretq_u32_u8(b)));
  }
  G4_INLINE uint8x16_t load_rows(const int8_t* q) { return vreinterpretq_u8_s8(vld1q_s8(q)); }

  // Two channels times all rows, two at a time.
  template <int P>
  G4_INLINE void add_channels(uint8x16_t w, const int8x16_t (&x)[P], Int (&sum)[P][8], int channels) {
    G4_UNROLL
    for (int p = 0; p < P; ++p) sum[p][channels] = vusmmlaq_s32(sum[p][channels], w, x[p]);
  }

  template <int R, int Bits, Spread>
  G4_INLINE void segment(const uint8_t* codes, int slice, const int8_t* q, ptrdiff_t step, int quads,
                         Int (&sum)[R][4]) {
    constexpr int P = (R + 1) / 2;  // pairs of rows; the second row of the last pair may be one that nobody reads
    Int pairs[P][8];                // of rows and of channels: channel 0 with both rows, then channel 1
    G4_UNROLL
    for (int p = 0; p < P; ++p)
      G4_UNROLL
      for (int v = 0; v < 4; ++v) {
        const Int first = sum[2 * p][v], second = sum[2 * p + 1 < R ? 2 * p + 1 : 2 * p][v];
        pairs[p][2 * v] = vzip1q_s32(first, second);
        pairs[p][2 * v + 1] = vzip2q_s32(first, second);
      }
    for (int quad = 0; quad < quads; quad += 2, q += 2 * step) {
      int8x16_t x[P];
      G4_UNROLL
      for (int p = 0; p < P; p += 2) {  // of four rows, whether there are so many or not
        const uint8x16_t first = load_rows(q + 8 * p), second = load_rows(q + 8 * p + step);
        x[p] = vreinterpretq_s8_u8(zip_low(first, second));
        if (p + 1 < P) x[p + 1] = vreinterpretq_s8_u8(zip_high(first, second));
      }
      G4_UNROLL
      for (int i = 0; i < loads<Bits>; ++i) {
        if constexpr (R > 4) asm volatile("" ::: "memory");  // loads that GCC moves up would push sums out of registers
        const uint8x16_t first = load_quad<Bits>(codes, slice, quad, i);
        const uint8x16_t second = load_quad<Bits>(codes, slice, quad + 1, i);
        const uint8x16_t low = zip_low(first, second), high = zip_high(first, second);
        add_channels<P>(low_codes<Bits>(low), x, pairs, 2 * i);
        add_channels<P>(low_codes<Bits>(high), x, pairs, 2 * i + 1);
        if constexpr (Bits != 8) {
          add_channels<P>(high_codes<Bits>(low), x, pairs, 2 * i + 4);
          add_channels<P>(high_codes<Bits>(high), x, pairs, 2 * i + 5);
        }
      }
    }
    G4_UNROLL
    for (int r = 0; r < R; ++r)
      G4_UNROLL
      for (int v = 0; v < 4; ++v) {
        const Int first = pairs[r / 2][2 * v], second = pairs[r / 2][2 * v + 1];
        sum[r][v] = r % 2 ? vuzp2q_s32(first, second) : vuzp1q_s32(first, second);
      }
  }
};

// One row would use half of each product.
template <int Bits>
struct FormOf<NeonI8mm, 1, Bits> {
  using type = NeonDotprod;
};

}  // namespace

const Kernels kNeonI8mm = G4_KERNELS(NeonI8mm, "neon_i8mm", &kFloatNeon);

}  // namespace g4
