// LAYOUT.md once more, in the plainest loops, to compare the kernels with; and random numbers that are the same
// everywhere.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace g4::test {

struct Random {
  std::uint64_t state;
  std::uint32_t next() {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return static_cast<std::uint32_t>(state >> 32);
  }
  int below(int n) { return static_cast<int>(next() % static_cast<std::uint32_t>(n)); }
  float number() { return static_cast<float>(static_cast<int>(next() >> 8) - (1 << 23)) / (1 << 21); }  // -4..4
};

struct Case {
  int bits, block, activation_block, rows, K, N;
  bool zero_points, extreme;
};

struct Matrix {
  std::vector<std::uint8_t> codes;                  // [N][K]
  std::vector<std::uint8_t> zeros;                  // [panels][blocks][32]; empty: the middle
  std::vector<float> scales;                        // the same, where block is 0
  std::vector<std::uint16_t> block_scales;          // the same, bfloat16
  int bits, block, blocks, K, N;

  Matrix(const Case& c, Random& random) : bits(c.bits), block(c.block), K(c.K), N(c.N) {
    const int depth = (K + 31) / 32 * 32, panels = (N + 31) / 32, largest = (1 << bits) - 1;
    blocks = block ? (depth + block - 1) / block : 1;
    codes.resize(static_cast<std::size_t>(N) * static_cast<std::size_t>(K));
    for (int n = 0; n < N; ++n)
      for (int k = 0; k < K; ++k)
        codes[static_cast<std::size_t>(n) * static_cast<std::size_t>(K) + static_cast<std::size_t>(k)] =
            static_cast<std::uint8_t>(c.extreme ? (n % 2 ? largest : 0) : random.below(largest + 1));
    const auto count = static_cast<std::size_t>(panels * blocks * 32);
    for (std::size_t i = 0; i < count; ++i) {
      float scale = random.number() / 64 + (random.below(2) ? 0.125f : -0.125f);
      std::uint32_t word;
      std::memcpy(&word, &scale, 4);
      if (block) block_scales.push_back(static_cast<std::uint16_t>(word >> 16));
      else scales.push_back(scale);
      if (c.zero_points) zeros.push_back(static_cast<std::uint8_t>(random.below(largest + 1)));
    }
  }

  std::size_t at(int n, int b) const { return static_cast<std::size_t>((n / 32 * blocks + b) * 32 + n % 32); }
  float scale(int n, int b) const {
    if (!block) return scales[at(n, b)];
    const std::uint32_t word = static_cast<std::uint32_t>(block_scales[at(n, b)]) << 16;
    float value;
    std::memcpy(&value, &word, 4);
    return value;
  }
  int level(int n, int k) const {
    const int b = block ? k / block : 0;
    return codes[static_cast<std::size_t>(n) * static_cast<std::size_t>(K) + static_cast<std::size_t>(k)] -
           (zeros.empty() ? 1 << (bits - 1) : zeros[at(n, b)]);
  }
};

// A row of activations as int8: q and a scale for each block (0: one).
inline void quantize(const float* x, int K, int block, std::vector<int>& q, std::vector<float>& scales) {
  q.assign(static_cast<std::size_t>(K), 0);
  scales.clear();
  const int length = block ? block : K;
  for (int start = 0; start < K; start += length) {
    const int end = start + length < K ? start + length : K;
    float most = 0;
    for (int k = start; k < end; ++k) most = std::fmax(most, std::fabs(x[k]));
    const bool none = most < 0x1p-100f;
    scales.push_back(none ? 0 : most / 127.0f);
    for (int k = start; k < end && !none; ++k)
      q[static_cast<std::size_t>(k)] = static_cast<int>(std::nearbyintf(x[k] * (127.0f / most)));
  }
}

inline float product(const Matrix& w, int n, const std::vector<int>& q, const std::vector<float>& scales,
                     int activation_block) {
  const int block = w.block ? w.block : activation_block ? activation_block : w.K;
  float total = 0;
  for (int start = 0, b = 0; start < w.K; start += block, ++b) {
    std::int64_t sum = 0;
    for (int k = start; k < w.K && k < start + block; ++k) sum += w.level(n, k) * q[static_cast<std::size_t>(k)];
    float u = static_cast<float>(sum);
    if (!w.block && !activation_block) return u * w.scale(n, 0) * scales[0];
    if (activation_block) u *= scales[static_cast<std::size_t>(start / 128)];
    total = std::fmaf(u, w.block ? w.scale(n, b) : 1.0f, total);
  }
  if (!activation_block) return total * scales[0];
  return w.block ? total : total * w.scale(n, 0);
}

// The exact path: what has the same k modulo 4 in a segment is summed apart.
inline float product_float(const Matrix& w, int n, const float* x) {
  const int block = w.block ? w.block : 128;
  float total = 0;
  for (int start = 0, b = 0; start < w.K; start += block, ++b) {
    float parts[4] = {};
    for (int k = start; k < w.K && k < start + block; ++k)
      parts[k % 4] = std::fmaf(x[k], static_cast<float>(w.level(n, k)), parts[k % 4]);
    const float sum = (parts[0] + parts[1]) + (parts[2] + parts[3]);
    total = w.block ? std::fmaf(sum, w.scale(n, b), total) : total + sum;
  }
  return w.block ? total : total * w.scale(n, 0);
}

}  // namespace g4::test
