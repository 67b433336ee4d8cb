// Products of one panel with the rows of one tile, over an instruction set I. LAYOUT.md defines every rounding, so all
// instruction sets give the same bits.
//
// I has: how many rows share a panel at once, `channel_rows`, `block_rows` and, from blocks of 128 on,
// `long_block_rows`. Int and Float, vectors of `lanes` int32 and float32. A panel is read in `slices`, each of which fills
// `vectors` of sums, for the channels from channel(slice, vector) on. `segment` adds the integer products of some K to
// sums; it may use codes less a `bias`, and the sums of a vector may come out too large by a power of two: `too_large`
// makes a zero point fit them, `scale_down` a scale.
// What is in here is compiled once per instruction set and has internal linkage (see kernels.h). Every loop over
// accumulators needs its unroll pragma: without it GCC 12 keeps them in memory, at a third of the speed.
#pragma once
#include "kernels.h"

#define G4_INLINE [[gnu::always_inline]] static inline
#define G4_UNROLL _Pragma("GCC unroll 16")

namespace g4 {
namespace {

template <class I, int R, int Bits, Spread spread>
G4_INLINE void slice_rows(const PanelJob& job, int first, int slice) {
  using Int = typename I::Int;
  using Float = typename I::Float;
  constexpr int V = I::vectors;
  constexpr bool channel = spread == kChannel;
  const uint8_t* codes = job.codes;
  const uint8_t* zeros = job.zeros;
  const uint16_t* scales = job.block_scales;
  const int8_t* q = job.q + 4 * first;
  const int32_t* sums = job.sums + first;
  const ptrdiff_t step = 4 * job.rows;  // bytes of q in a quad of K
  Float total[R][V];
  G4_UNROLL
  for (int r = 0; r < R; ++r)
    G4_UNROLL
    for (int v = 0; v < V; ++v) total[r][v] = I::zero_float();

  for (int k = 0; k < job.depth; k += job.block) {
    const int quads = (job.depth - k < job.block ? job.depth - k : job.block) / 4;
    Int sum[R][V];
    G4_UNROLL
    for (int v = 0; v < V; ++v) {  // - zero * sum of q, times what the sums of this vector are too large
      const Int zero = I::template too_large<Bits>(
          I::add(I::load_bytes(zeros + I::channel(slice, v)), I::set(-I::template bias<Bits>())), v);
      const Int negative = channel ? I::negative(zero) : I::negative_short(zero);
      G4_UNROLL
      for (int r = 0; r < R; ++r)
        sum[r][v] = channel ? I::multiply(negative, I::set(sums[r])) : I::multiply_short(negative, I::set(sums[r]));
    }
    I::template segment<R, Bits, spread>(codes, slice, q, step, quads, sum);
    G4_UNROLL
    for (int v = 0; v < V; ++v) {
      const int c = I::channel(slice, v);
      const Float exact = channel ? I::load(job.channel_scales + c) : I::load_bfloat16(scales + c);
      const Float scale = I::template scale_down<Bits>(exact, v);
      G4_UNROLL
      for (int r = 0; r < R; ++r) {
        Float u = I::to_float(sum[r][v]);
        if constexpr (spread == kBoth) u = I::multiply(u, I::set(job.row_scales[k / 128 * job.rows + first + r]));
        total[r][v] = channel ? I::multiply(u, scale) : I::fma(u, scale, total[r][v]);
      }
    }
    codes += static_cast<ptrdiff_t>(quads) * 16 * Bits;
    q += step * quads;
    sums += job.rows;
    zeros += job.zeros_step;
    scales += channel ? 0 : job.block_scales_step;
  }

  float* y = job.y + first * job.y_step;
  G4_UNROLL
  for (int r = 0; r < R; ++r)
    G4_UNROLL
    for (int v = 0; v < V; ++v) {
      const int c = I::channel(slice, v);
      Float value = total[r][v];
      if constexpr (spread != kBoth)
        value = I::multiply(value, I::set(job.row_scales[first + r]));
      else if (job.channel_scales)
        value = I::multiply(value, I::load(job.channel_scales + c));
      I::store(y + r * job.y_step + c, value);
    }
}

// The form of an instruction set that is best for R rows: itself, where it has no other.
template <class I, int R, int Bits>
struct FormOf {
  using type = I;
};

template <class I, int R, int Bits, Spread spread>
void some_rows(const PanelJob& job, int first) {
  using Form = typename FormOf<I, R, Bits>::type;
  for (int slice = 0; slice < Form::slices; ++slice) slice_rows<Form, R, Bits, spread>(job, first, slice);
}

// The rows of a tile in equal shares, none larger than `limit`.
template <class I, int Bits, Spread spread, int limit, int R = limit>
G4_INLINE void share(const PanelJob& job, int first, int rows) {
  if constexpr (R > 0) {
    if (rows == R)
      some_rows<I, R, Bits, spread>(job, first);
    else
      share<I, Bits, spread, limit, R - 1>(job, first, rows);
  }
}

template <class I, int Bits, Spread spread>
void product(const PanelJob& job) {
  constexpr int most = spread == kChannel ? I::channel_rows : I::long_block_rows;
  const int limit = spread != kChannel && job.block < 128 ? I::block_rows : most;
  const int parts = (job.rows + limit - 1) / limit;
  for (int part = 0; part < parts; ++part) {
    const int first = job.rows * part / parts;
    share<I, Bits, spread, most>(job, first, job.rows * (part + 1) / parts - first);
  }
}

}  // namespace
}  // namespace g4
