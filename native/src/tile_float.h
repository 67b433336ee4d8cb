// The exact path: a panel times rows of float32, over an instruction set I (see tile.h). Codes become floats in the L1
// cache, a segment of at most 128 of K at a time. Each output sums apart what has the same K modulo 4 in a segment, so
// that one row has enough additions in flight, and so that rounding errors do not grow with K.
#pragma once
#include "tile.h"

namespace g4 {
namespace {

constexpr int kSegment = 128;

// [n] of K and 32 channels: w[k][c] = code - zero.
template <class I, int Bits>
G4_INLINE void unpack(const uint8_t* codes, const uint8_t* zeros, int n, float* w) {
  constexpr int groups = 32 / I::lanes;  // vectors of a panel
  for (int group = 0; group < groups; ++group) {
    const int c = group * I::lanes, half = c / 16;
    const typename I::Float zero = I::to_float(I::load_bytes(zeros + c));
    const typename I::Int mask = I::set((1 << Bits) - 1);
    for (int quad = 0; quad < n / 4; ++quad) {
      const uint8_t* at = Bits == 8   ? codes + quad * 128 + c * 4
                          : Bits == 4 ? codes + quad * 64 + c % 16 * 4
                                      : codes + quad / 2 * 64 + c % 16 * 4;
      const int shift = Bits == 8 ? 0 : Bits == 4 ? 4 * half : 4 * (quad % 2) + 2 * half;
      const typename I::Int four = I::load_ints(at);
      for (int k = 0; k < 4; ++k) {
        const typename I::Int code = I::bit_and(I::shift_right(four, 8 * k + shift), mask);
        I::store(w + (quad * 4 + k) * 32 + c, I::subtract(I::to_float(code), zero));
      }
    }
  }
}

// s[r][c] of one segment, S vectors from channel c on.
template <class I, int R, int S>
G4_INLINE void dot(const float* w, const float* x, ptrdiff_t x_step, int n, typename I::Float (&s)[R][S]) {
  constexpr int together = R == 1 ? 4 : 1;  // residues of K that are summed at the same time
  typename I::Float parts[4][R][S];
  for (int residue = 0; residue < 4; residue += together) {
    typename I::Float sum[together][R][S];
    G4_UNROLL
    for (int p = 0; p < together; ++p)
      G4_UNROLL
      for (int r = 0; r < R; ++r)
        G4_UNROLL
        for (int v = 0; v < S; ++v) sum[p][r][v] = I::zero_float();
    for (int k = residue; k < n; k += 4)
      G4_UNROLL
      for (int p = 0; p < together; ++p)
        G4_UNROLL
        for (int r = 0; r < R; ++r)
          G4_UNROLL
          for (int v = 0; v < S; ++v)
            sum[p][r][v] = I::fma(I::set(x[r * x_step + k + p]), I::load(w + (k + p) * 32 + v * I::lanes), sum[p][r][v]);
    G4_UNROLL
    for (int p = 0; p < together; ++p)
      G4_UNROLL
      for (int r = 0; r < R; ++r)
        G4_UNROLL
        for (int v = 0; v < S; ++v) parts[residue + p][r][v] = sum[p][r][v];
  }
  G4_UNROLL
  for (int r = 0; r < R; ++r)
    G4_UNROLL
    for (int v = 0; v < S; ++v)
      s[r][v] = I::add_float(I::add_float(parts[0][r][v], parts[1][r][v]), I::add_float(parts[2][r][v], parts[3][r][v]));
}

template <class I, int R>
G4_INLINE void add_segment(const FloatJob& job, const float* w, const uint16_t* scales, int k, int n, int first,
                           float* total) {
  constexpr int S = I::float_vectors;
  for (int c = 0; c < 32; c += S * I::lanes) {
    typename I::Float s[R][S];
    dot<I, R, S>(w + c, job.x + first * job.x_step + k, job.x_step, n, s);
    for (int r = 0; r < R; ++r)
      for (int v = 0; v < S; ++v) {
        float* to = total + (first + r) * 32 + c + v * I::lanes;
        I::store(to, scales ? I::fma(s[r][v], I::load_bfloat16(scales + c + v * I::lanes), I::load(to))
                            : I::add_float(I::load(to), s[r][v]));
      }
  }
}

template <class I, int Bits>
void product_float(const FloatJob& job) {
  alignas(64) float w[kSegment * 32], total[kFloatRows * 32];
  for (int i = 0; i < job.rows * 32; ++i) total[i] = 0;
  const uint8_t *codes = job.codes, *zeros = job.zeros;
  const uint16_t* scales = job.block_scales;
  for (int k = 0; k < job.depth; k += job.block) {
    const int n = job.depth - k < job.block ? job.depth - k : job.block;
    unpack<I, Bits>(codes, zeros, n, w);
    int r = 0;
    for (; r + I::float_rows <= job.rows; r += I::float_rows)
      add_segment<I, I::float_rows>(job, w, scales, k, n, r, total);
    for (; r < job.rows; ++r) add_segment<I, 1>(job, w, scales, k, n, r, total);
    codes += n * 4 * Bits;
    zeros += job.zeros_step;
    if (scales) scales += 32;
  }
  for (int r = 0; r < job.rows; ++r)
    for (int c = 0; c < 32; c += I::lanes) {
      const typename I::Float value = I::load(total + r * 32 + c);
      I::store(job.y + r * job.y_step + c, job.channel_scales ? I::multiply(value, I::load(job.channel_scales + c)) : value);
    }
}

}  // namespace
}  // namespace g4
