// Kernels for AVX2: vpmaddubsw multiplies 32 codes (unsigned) by 32 activations and adds them up in pairs of 16 bits.
// Codes of 4 bits fill 16 bits after 8 quads of K (8 * 2 * 15 * 128 = 30,720), codes of 2 bits after 32 (24,576):
// until then sums stay at 16 bits. Codes of 8 bits are two planes of 4 bits.
#include "tile.h"
#include "tile_float.h"
#include "tile_quantize.h"
#include "vector_avx2.h"

namespace g4 {
namespace {

struct Avx2 : VectorAvx2 {
  using VectorAvx2::multiply;
  static constexpr int slices = 2, vectors = 2;
  static constexpr int channel_rows = 6, block_rows = 6, long_block_rows = 6;
  static constexpr int float_rows = 3, float_vectors = 4;
  static constexpr ptrdiff_t ahead = 1024;
  G4_INLINE int channel(int slice, int v) { return 8 * slice + 16 * v; }
  template <int Bits>
  G4_INLINE constexpr int bias() { return 0; }
  template <int Bits>
  G4_INLINE Int too_large(Int a, int) { return a; }
  template <int Bits>
  G4_INLINE Float scale_down(Float a, int) { return a; }

  G4_INLINE Int add(Int a, Int b) { return _mm256_add_epi32(a, b); }
  G4_INLINE Int multiply(Int a, Int b) { return _mm256_mullo_epi32(a, b); }
  G4_INLINE Int multiply_short(Int a, Int b) { return _mm256_madd_epi16(a, b); }  // the upper half of a is zero
  G4_INLINE Int negative(Int a) { return _mm256_sub_epi32(_mm256_setzero_si256(), a); }
  G4_INLINE Int negative_short(Int a) { return bit_and(negative(a), set(0xffff)); }  // what multiply_short takes
  G4_INLINE Int bit_and(Int a, Int b) { return _mm256_and_si256(a, b); }
  G4_INLINE Int shift_right(Int a, int n) { return _mm256_srl_epi32(a, _mm_cvtsi32_si128(n)); }
  G4_INLINE Int maximum(Int a, Int b) { return _mm256_max_epi32(a, b); }
  G4_INLINE int32_t reduce_maximum(Int a) {
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    return _mm_cvtsi128_si32(_mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1)));
  }
  G4_INLINE int32_t reduce_add(Int a) {
    __m128i m = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    m = _mm_add_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(m, _mm_shuffle_epi32(m, 0xb1)));
  }
  G4_INLINE Int load_bytes(const uint8_t* p) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  }
  G4_INLINE Int load_ints(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
  G4_INLINE void store_bytes(int8_t* p, Int a) {
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(words, words));
  }

  // One row, two vectors of codes. Assembler keeps the sums in place; compilers copy and spill them otherwise.
  G4_INLINE void dot(Int& low_sum, Int& high_sum, Int low, Int high, const int8_t* q) {
    Int pairs, x;
    asm("vpbroadcastd %6, %3\n\t"
        "vpmaddubsw %3, %4, %2\n\t"
        "vpaddw %2, %0, %0\n\t"
        "vpmaddubsw %3, %5, %3\n\t"
        "vpaddw %3, %1, %1"
        : "+x"(low_sum), "+x"(high_sum), "=&x"(pairs), "=&x"(x)
        : "x"(low), "x"(high), "m"(*reinterpret_cast<const int8_t(*)[4]>(q)));
  }

  // The same, with sums that begin here: two instructions fewer, and none to zero them.
  G4_INLINE void first_dot(Int& low_sum, Int& high_sum, Int low, Int high, const int8_t* q) {
    asm("vpbroadcastd %4, %1\n\t"
        "vpmaddubsw %1, %2, %0\n\t"
        "vpmaddubsw %1, %3, %1"
        : "=&x"(low_sum), "=&x"(high_sum)
        : "x"(low), "x"(high), "m"(*reinterpret_cast<const int8_t(*)[4]>(q)));
  }

  // The products of 8 quads with the codes of a plane (of 8 bits: 0 the low halves, 1 the high ones): sums that `begin`
  // here, or are added to.
  template <int R, int Bits, int plane, bool prefetch, bool begin>
  G4_INLINE void eight(const uint8_t* codes, const int8_t* q, ptrdiff_t step, Int (&low_sum)[R], Int (&high_sum)[R]) {
    const Int mask = _mm256_set1_epi8(Bits == 2 ? 3 : 15);
    G4_UNROLL
    for (int quad = 0; quad < 8; ++quad, q += step) {
      const uint8_t* p = codes + (Bits == 2 ? quad / 2 * 64 : quad * 16 * Bits);
      if (prefetch && (Bits != 2 || quad % 2 == 0))
        for (int line = 0; line < (Bits == 8 ? 128 : 64); line += 64)
          _mm_prefetch(reinterpret_cast<const char*>(reinterpret_cast<uintptr_t>(p) + ahead + line), _MM_HINT_T0);
      Int low = load_ints(p), high = Bits == 8 ? load_ints(p + 64) : _mm256_srli_epi16(low, Bits);
      if (Bits == 2 && quad % 2) low = _mm256_srli_epi16(low, 4), high = _mm256_srli_epi16(high, 4);
      if (plane == 1) low = _mm256_srli_epi16(low, 4), high = _mm256_srli_epi16(high, 4);
      low = bit_and(low, mask), high = bit_and(high, mask);
      G4_UNROLL
      for (int r = 0; r < R; ++r)
        if (begin && quad == 0)
          first_dot(low_sum[r], high_sum[r], low, high, q + 4 * r);
        else
          dot(low_sum[r], high_sum[r], low, high, q + 4 * r);
    }
  }

  template <int R, int Bits, int plane, bool prefetch>
  G4_INLINE void add_plane(const uint8_t* codes, const int8_t* q, ptrdiff_t step, int quads, Int (&sum)[R][2]) {
    const Int ones = _mm256_set1_epi16(1);
    for (int quad = 0; quad < quads;) {
      Int low[R], high[R];
      eight<R, Bits, plane, prefetch, true>(codes, q, step, low, high);
      const int end = Bits == 2 ? (quads - quad < 32 ? quads : quad + 32) : quad + 8;
      for (quad += 8, codes += 128 * Bits, q += 8 * step; quad < end; quad += 8, codes += 128 * Bits, q += 8 * step)
        eight<R, Bits, plane, prefetch, false>(codes, q, step, low, high);
      G4_UNROLL
      for (int r = 0; r < R; ++r) {
        const Int a = _mm256_madd_epi16(low[r], ones), b = _mm256_madd_epi16(high[r], ones);
        sum[r][0] = add(sum[r][0], plane ? _mm256_slli_epi32(a, 4) : a);
        sum[r][1] = add(sum[r][1], plane ? _mm256_slli_epi32(b, 4) : b);
      }
    }
  }

  template <int R, int Bits, Spread>
  G4_INLINE void segment(const uint8_t* codes, int slice, const int8_t* q, ptrdiff_t step, int quads,
                         Int (&sum)[R][2]) {
    codes += 32 * slice;
    add_plane<R, Bits, 0, (R <= 4)>(codes, q, step, quads, sum);
    if constexpr (Bits == 8) add_plane<R, Bits, 1, false>(codes, q, step, quads, sum);
  }
};

// Both slices of a panel, and both planes of 8 bits, in one pass: where rows are few the memory sets the pace, so each
// line is read once, in the order they lie.
struct Avx2AtOnce : Avx2 {
  static constexpr int slices = 1, vectors = 4;
  G4_INLINE int channel(int, int v) { return 8 * (v / 2) + 16 * (v % 2); }

  // The codes of a quad in half a line: of channels 0..15 and of 16..31. Of 8 bits: plane 0 the low halves of codes.
  template <int Bits>
  G4_INLINE void load_codes(const uint8_t* p, int quad, int plane, Int& low, Int& high) {
    const Int mask = _mm256_set1_epi8(Bits == 2 ? 3 : 15);
    low = load_ints(p), high = Bits == 8 ? load_ints(p + 64) : low;
    if (quad || plane) low = _mm256_srli_epi16(low, 4), high = _mm256_srli_epi16(high, 4);
    if (Bits != 8) high = _mm256_srli_epi16(high, Bits);
    low = bit_and(low, mask), high = bit_and(high, mask);
  }

  template <int R, int Bits, Spread>
  G4_INLINE void segment(const uint8_t* codes, int, const int8_t* q, ptrdiff_t step, int quads, Int (&sum)[R][4]) {
    constexpr int planes = Bits == 8 ? 2 : 1, together = Bits == 2 ? 2 : 1, most = Bits == 2 ? 32 : 8;
    const Int ones = _mm256_set1_epi16(1);
    for (int quad = 0; quad < quads;) {
      Int pairs[planes][R][4];
      G4_UNROLL
      for (int plane = 0; plane < planes; ++plane)
        G4_UNROLL
        for (int r = 0; r < R; ++r)
          G4_UNROLL
          for (int v = 0; v < 4; ++v) pairs[plane][r][v] = _mm256_setzero_si256();
      for (const int end = quads - quad < most ? quads : quad + most; quad < end; quad += together) {
        G4_UNROLL
        for (int line = 0; line < (Bits == 8 ? 128 : 64); line += 64)
          _mm_prefetch(reinterpret_cast<const char*>(reinterpret_cast<uintptr_t>(codes) + ahead + line), _MM_HINT_T0);
        G4_UNROLL
        for (int one = 0; one < together; ++one, q += step)
          G4_UNROLL
          for (int plane = 0; plane < planes; ++plane)
            G4_UNROLL
            for (int half = 0; half < 2; ++half) {
              Int low, high;
              load_codes<Bits>(codes + 32 * half, one, plane, low, high);
              G4_UNROLL
              for (int r = 0; r < R; ++r)
                dot(pairs[plane][r][2 * half], pairs[plane][r][2 * half + 1], low, high, q + 4 * r);
            }
        codes += Bits == 8 ? 128 : 64;
      }
      G4_UNROLL
      for (int plane = 0; plane < planes; ++plane)
        G4_UNROLL
        for (int r = 0; r < R; ++r)
          G4_UNROLL
          for (int v = 0; v < 4; ++v) {
            const Int a = _mm256_madd_epi16(pairs[plane][r][v], ones);
            sum[r][v] = add(sum[r][v], plane ? _mm256_slli_epi32(a, 4) : a);
          }
    }
  }
};

// What 16 registers hold: 4 sums a row, or 8.
template <int R, int Bits>
  requires(R == 1 || (R == 2 && Bits != 8))
struct FormOf<Avx2, R, Bits> {
  using type = Avx2AtOnce;
};

}  // namespace

const Kernels kAvx2 = G4_KERNELS(Avx2, "avx2", &kFloatAvx2);

}  // namespace g4
