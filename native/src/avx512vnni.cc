// Kernels for AVX-512 VNNI: vpdpbusd multiplies 64 codes (unsigned) by 64 activations and adds them up by four.
#include "tile.h"
#include "tile_float.h"
#include "tile_quantize.h"
#include "vector_avx512.h"

namespace g4 {
namespace {

struct Avx512Vnni : VectorAvx512 {
  using VectorAvx512::multiply;
  static constexpr int slices = 1, vectors = 2;
  // 24 sums, or 12 sums and 12 totals, of 32 registers. In long blocks totals are read and written seldom: in memory.
  static constexpr int channel_rows = 12, block_rows = 6, long_block_rows = 12;
  static constexpr int float_rows = 8, float_vectors = 2;
  static constexpr ptrdiff_t ahead = 8192;  // bytes that are prefetched ahead, into the next panel too
  G4_INLINE int channel(int, int v) { return 16 * v; }
  template <int Bits>
  G4_INLINE constexpr int bias() { return 0; }

  // Codes of channels 16..31 are used where they stand in their byte, so their sums are 16 or 4 times too large.
  static constexpr int place(int bits) { return bits == 4 ? 4 : bits == 2 ? 2 : 0; }
  template <int Bits>
  G4_INLINE Int too_large(Int a, int v) { return v == 1 ? _mm512_slli_epi32(a, place(Bits)) : a; }
  template <int Bits>
  G4_INLINE Float scale_down(Float a, int v) {
    return v == 1 ? _mm512_mul_ps(a, _mm512_set1_ps(1.0f / (1 << place(Bits)))) : a;
  }

  G4_INLINE Int add(Int a, Int b) { return _mm512_add_epi32(a, b); }
  G4_INLINE Int multiply(Int a, Int b) { return _mm512_mullo_epi32(a, b); }
  G4_INLINE Int multiply_short(Int a, Int b) { return _mm512_madd_epi16(a, b); }  // the upper half of a is zero
  G4_INLINE Int negative(Int a) { return _mm512_sub_epi32(_mm512_setzero_si512(), a); }
  G4_INLINE Int negative_short(Int a) { return bit_and(negative(a), set(0xffff)); }  // what multiply_short takes
  G4_INLINE Int bit_and(Int a, Int b) { return _mm512_and_si512(a, b); }
  G4_INLINE Int shift_right(Int a, int n) { return _mm512_srl_epi32(a, _mm_cvtsi32_si128(n)); }
  G4_INLINE Int maximum(Int a, Int b) { return _mm512_max_epi32(a, b); }
  G4_INLINE int32_t reduce_maximum(Int a) { return _mm512_reduce_max_epi32(a); }
  G4_INLINE int32_t reduce_add(Int a) { return _mm512_reduce_add_epi32(a); }
  G4_INLINE Int load_bytes(const uint8_t* p) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  G4_INLINE Int load_ints(const void* p) { return _mm512_loadu_si512(p); }
  G4_INLINE void store_bytes(int8_t* p, Int a) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(a));
  }

  // Assembler keeps the sum in place; compilers copy it otherwise. The form that broadcasts from memory would repeat
  // the load for each product.
  G4_INLINE void dot(Int& sum, Int codes, Int q) { asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(codes), "v"(q)); }

  // Two quads of K: codes of channels 0..15 and of channels 16..31.
  template <int Bits>
  G4_INLINE void load_codes(const uint8_t* p, Int (&low)[2], Int (&high)[2]) {
    const Int mask = _mm512_set1_epi8(Bits == 4 ? 15 : 3);
    if constexpr (Bits == 2) {
      const Int first = load_ints(p), second = _mm512_srli_epi16(first, 4), mask_high = _mm512_set1_epi8(12);
      low[0] = bit_and(first, mask);
      high[0] = bit_and(first, mask_high);
      low[1] = bit_and(second, mask);
      high[1] = bit_and(second, mask_high);
    } else {
      G4_UNROLL
      for (int i = 0; i < 2; ++i) {
        const Int first = load_ints(p + i * 16 * Bits);
        low[i] = Bits == 4 ? bit_and(first, mask) : first;
        high[i] = Bits == 4 ? _mm512_andnot_si512(mask, first) : load_ints(p + i * 128 + 64);
      }
    }
  }

  template <int R, int Bits, Spread spread>
  G4_INLINE void segment(const uint8_t* codes, int, const int8_t* q, ptrdiff_t step, int quads, Int (&sum)[R][2]) {
    constexpr int sets = R <= 4 ? 2 : 1;  // few rows need more sums in flight
    constexpr bool prefetch = R <= (spread == kChannel ? 8 : 4);  // full tiles find codes in the L2 cache
    Int second[R][2];
    G4_UNROLL
    for (int r = 0; r < R; ++r) second[r][0] = second[r][1] = _mm512_setzero_si512();
    for (int quad = 0; quad < quads; quad += 2, codes += 32 * Bits) {
      if constexpr (prefetch)
        for (int line = 0; line < 32 * Bits; line += 64)
          _mm_prefetch(reinterpret_cast<const char*>(reinterpret_cast<uintptr_t>(codes) + ahead + line), _MM_HINT_T0);
      Int low[2], high[2];
      load_codes<Bits>(codes, low, high);
      G4_UNROLL
      for (int i = 0; i < 2; ++i, q += step)
        G4_UNROLL
        for (int r = 0; r < R; ++r) {
          int32_t four;
          __builtin_memcpy(&four, q + 4 * r, 4);
          const Int x = set(four);
          Int(&to)[2] = sets == 2 && i == 1 ? second[r] : sum[r];
          dot(to[0], low[i], x);
          dot(to[1], high[i], x);
        }
    }
    if constexpr (sets == 2)
      G4_UNROLL
      for (int r = 0; r < R; ++r)
        for (int v = 0; v < 2; ++v) sum[r][v] = add(sum[r][v], second[r][v]);
  }
};

}  // namespace

const Kernels kAvx512Vnni = G4_KERNELS(Avx512Vnni, "avx512vnni", &kFloatAvx512);

}  // namespace g4
