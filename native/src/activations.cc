#include "activations.h"

#include <cstring>

namespace g4 {

void quantize_row(const Kernels& kernels, const Activations& a, const float* x, std::uint8_t* packed,
                  std::int64_t first, std::int64_t rows, std::int64_t row) {
  std::int8_t bytes[kMaxK];
  std::int32_t sums[kMaxK / 32];
  float scales[kMaxK / 128];
  std::int8_t* const q = reinterpret_cast<std::int8_t*>(packed) + first * a.depth();
  std::int8_t* const whole = rows == 1 ? q : bytes;
  kernels.quantize(x, static_cast<int>(a.K), static_cast<int>(a.block), whole, scales, sums);
  if (rows > 1)
    for (std::int64_t quad = 0; quad < a.depth() / 4; ++quad)
      std::memcpy(q + (quad * rows + row) * 4, bytes + quad * 4, 4);
  for (const std::int64_t length : {32, 64, 128, 0}) {
    const std::int64_t blocks = a.blocks(length), parts = a.blocks(32), in_block = length ? length / 32 : parts;
    auto* to = reinterpret_cast<std::int32_t*>(packed + a.sums_at(length)) + first * blocks + row;
    for (std::int64_t b = 0; b < blocks; ++b) {
      std::int32_t sum = 0;
      for (std::int64_t i = b * in_block; i < parts && i < (b + 1) * in_block; ++i) sum += sums[i];
      to[b * rows] = sum;
    }
  }
  const std::int64_t blocks = a.blocks(a.block);
  float* to = reinterpret_cast<float*>(packed + a.scales_at()) + first * blocks + row;
  for (std::int64_t b = 0; b < blocks; ++b) to[b * rows] = scales[b];
}

void quantize(const Kernels& kernels, const Parallel& parallel, const Activations& a, const float* x, void* packed) {
  quantize_rows(kernels, parallel, a, packed, [&](std::int64_t row) { return x + row * a.K; });
}

}  // namespace g4
