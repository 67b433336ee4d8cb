// Rows of activations as int8, packed once for all products that read them. LAYOUT.md is the text of this.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels.h"
#include "parallel.h"
#include "weights.h"

namespace g4 {

// Where the arrays of packed activations [M, K] stand in their buffer. Rows lie in tiles of at most kTile; in each
// array a tile's part is [index of K][rows of the tile].
struct Activations {
  std::int64_t M = 0, K = 0, block = 0;  // block: 0 (a scale a row) or 128

  std::int64_t depth() const { return padded(K); }
  std::int64_t blocks(std::int64_t length) const { return length ? (depth() + length - 1) / length : 1; }
  // Bytes a row: q, sums over 32, 64, 128 and all of K, scales.
  std::int64_t row_bytes() const {
    return depth() + 4 * (blocks(32) + blocks(64) + blocks(128) + 1 + blocks(block));
  }
  std::size_t bytes() const { return static_cast<std::size_t>(M * row_bytes()); }

  // Offsets in bytes.
  std::int64_t sums_at(std::int64_t length) const {
    const std::int64_t before = length == 32    ? 0
                                : length == 64  ? blocks(32)
                                : length == 128 ? blocks(32) + blocks(64)
                                                : blocks(32) + blocks(64) + blocks(128);
    return M * (depth() + 4 * before);
  }
  std::int64_t scales_at() const { return sums_at(0) + M * 4; }

  std::int64_t tiles() const { return (M + kTile - 1) / kTile; }
  std::int64_t first_row(std::int64_t tile) const { return M * tile / tiles(); }
};

constexpr std::int64_t kMaxRows = 1 << 24;

// One row x [K] into its place in its tile: row `row` of the tile, which has `rows` and starts at row `first`.
void quantize_row(const Kernels& kernels, const Activations& shape, const float* x, std::uint8_t* packed,
                  std::int64_t first, std::int64_t rows, std::int64_t row);

// packed: bytes() bytes, aligned to 4. `row_of(i)` gives row i, float32 [K], on the thread that packs it.
template <class Row>
void quantize_rows(const Kernels& kernels, const Parallel& parallel, const Activations& shape, void* packed,
                   const Row& row_of) {
  auto tile = [&](std::size_t index) {
    const auto t = static_cast<std::int64_t>(index);
    const std::int64_t first = shape.first_row(t), rows = shape.first_row(t + 1) - first;
    for (std::int64_t row = 0; row < rows; ++row)
      quantize_row(kernels, shape, row_of(first + row), static_cast<std::uint8_t*>(packed), first, rows, row);
  };
  parallel.each(static_cast<std::size_t>(shape.tiles()), tile);
}

// x: float32 [M, K].
void quantize(const Kernels& kernels, const Parallel& parallel, const Activations& shape, const float* x, void* packed);

}  // namespace g4
