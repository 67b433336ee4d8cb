#include "encoder_attention.h"

#include <algorithm>
#include <memory>
#include <vector>

namespace g4 {
namespace {

constexpr std::int64_t kPackedNumbers = 1 << 20;  // of the heads that are packed at once, where a head has less
constexpr std::uintptr_t kLine = 64;

float* aligned(float* p) {
  return reinterpret_cast<float*>((reinterpret_cast<std::uintptr_t>(p) + kLine - 1) / kLine * kLine);
}

std::size_t with_line(std::int64_t count) { return static_cast<std::size_t>(count) + kLine / sizeof(float); }

}  // namespace

std::string problem(const EncoderShape& s) {
  const auto outside = [](std::int64_t value, std::int64_t least, std::int64_t most) {
    return value < least || value > most;
  };
  if (outside(s.B, 0, 4096)) return "the batch is " + std::to_string(s.B) + ", not in 0..4096";
  if (outside(s.K, 1, 4096)) return "the number of heads of keys is " + std::to_string(s.K) + ", not in 1..4096";
  if (outside(s.N, 1, 4096) || s.N % s.K)
    return "the queries have " + std::to_string(s.N) + " heads, which the " + std::to_string(s.K) +
           " heads of keys do not divide";
  if (outside(s.D, 1, 1024)) return "the size of a head is " + std::to_string(s.D) + ", not in 1..1024";
  if (outside(s.S, 0, 1 << 24)) return "there are " + std::to_string(s.S) + " queries, not 0.." + std::to_string(1 << 24);
  if (outside(s.T, 1, 1 << 24)) return "there are " + std::to_string(s.T) + " keys, not 1.." + std::to_string(1 << 24);
  return "";
}

void encoder_attention(const EncoderKernels& kernels, const Parallel& parallel, const EncoderShape& shape,
                       const float* query, const float* keys, const float* values, float* out) {
  const auto [B, N, K, S, T, D, scale] = shape;
  if (B == 0 || S == 0) return;
  const std::int64_t size = kernels.packed(T, D), heads = B * K;
  const std::int64_t together = std::clamp<std::int64_t>(kPackedNumbers / size, 1, heads);
  const std::unique_ptr<float[]> memory(new float[with_line(size * together)]);
  float* const packed = aligned(memory.get());
  const std::int64_t key_blocks = (T + kEncoderKeys - 1) / kEncoderKeys, row_blocks = (S + kEncoderRows - 1) / kEncoderRows;

  for (std::int64_t first = 0; first < heads; first += together) {
    const std::int64_t count = std::min(together, heads - first);
    auto pack = [&](std::size_t index) {
      const std::int64_t at = static_cast<std::int64_t>(index), head = at / key_blocks;
      const std::int64_t from = (first + head) * T * D;
      kernels.pack({keys + from, values + from, T, D}, at % key_blocks * kEncoderKeys, packed + head * size);
    };
    parallel.each(static_cast<std::size_t>(count * key_blocks), pack);

    auto attend = [&](std::size_t index) {
      thread_local std::vector<float> scratch;  // it lives as long as the thread, and is as large as its largest block
      const std::size_t needed = with_line(kernels.scratch(D));
      if (scratch.size() < needed) scratch.resize(needed);
      const std::int64_t at = static_cast<std::int64_t>(index), row = at % row_blocks * kEncoderRows;
      const std::int64_t head = first * (N / K) + at / row_blocks;  // of queries, of all sequences
      EncoderBlock block{};
      block.query = query + (head * S + row) * D;
      block.rows = static_cast<int>(std::min<std::int64_t>(kEncoderRows, S - row));
      block.depth = static_cast<int>(D);
      block.packed = packed + (head / (N / K) - first) * size;
      block.count = T;
      block.scale = scale;
      block.scratch = aligned(scratch.data());
      block.y = out + ((head / N * S + row) * N + head % N) * D;
      block.y_step = N * D;
      kernels.attend(block);
    };
    parallel.each(static_cast<std::size_t>(count * (N / K) * row_blocks), attend);
  }
}

}  // namespace g4
