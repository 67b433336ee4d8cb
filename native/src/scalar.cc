// Kernels in plain C++, for machines without any of the other instruction sets.
#include "tile.h"
#include "tile_float.h"
#include "tile_quantize.h"
#include "vector_scalar.h"

namespace g4 {
namespace {

// Sums wrap like those of vectors, so they are unsigned where they could leave the range.
struct Scalar : VectorScalar {
  using VectorScalar::multiply;
  static constexpr int slices = 32, vectors = 1, channel_rows = 4, block_rows = 4, long_block_rows = 4;
  static constexpr int float_rows = 4, float_vectors = 1;
  static int channel(int slice, int) { return slice; }
  template <int Bits>
  static constexpr int bias() { return 0; }
  template <int Bits>
  static Int too_large(Int a, int) { return a; }
  template <int Bits>
  static Float scale_down(Float a, int) { return a; }

  static Int add(Int a, Int b) { return static_cast<Int>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b)); }
  static Int multiply(Int a, Int b) { return static_cast<Int>(static_cast<uint32_t>(a) * static_cast<uint32_t>(b)); }
  static Int multiply_short(Int a, Int b) { return static_cast<int16_t>(a) * static_cast<int16_t>(b); }
  static Int negative(Int a) { return -a; }
  static Int negative_short(Int a) { return -a; }  // what multiply_short takes
  static Int bit_and(Int a, Int b) { return a & b; }
  static Int shift_right(Int a, int n) { return static_cast<Int>(static_cast<uint32_t>(a) >> n); }
  static Int maximum(Int a, Int b) { return a > b ? a : b; }
  static int32_t reduce_maximum(Int a) { return a; }
  static int32_t reduce_add(Int a) { return a; }
  static Int load_bytes(const uint8_t* p) { return *p; }
  static Int load_ints(const void* p) {
    Int a;
    __builtin_memcpy(&a, p, 4);
    return a;
  }
  static void store_bytes(int8_t* p, Int a) { *p = static_cast<int8_t>(a); }

  template <int R, int Bits, Spread>
  static void segment(const uint8_t* codes, int slice, const int8_t* q, ptrdiff_t step, int quads, Int (&sum)[R][1]) {
    constexpr int mask = (1 << Bits) - 1;
    const int half = slice / 16, at = Bits == 8 ? slice * 4 : slice % 16 * 4;
    for (int quad = 0; quad < quads; ++quad, q += step) {
      const uint8_t* four = codes + at + (Bits == 8 ? quad * 128 : Bits == 4 ? quad * 64 : quad / 2 * 64);
      const int shift = Bits == 8 ? 0 : Bits == 4 ? 4 * half : 4 * (quad % 2) + 2 * half;
      for (int r = 0; r < R; ++r)
        for (int k = 0; k < 4; ++k) sum[r][0] = add(sum[r][0], (four[k] >> shift & mask) * q[4 * r + k]);
    }
  }
};

}  // namespace

const Kernels kScalar = G4_KERNELS(Scalar, "scalar", &kFloatScalar);

}  // namespace g4
