// How a call of a decoder goes around images: the bounds of their blocks, and runs that end inside none.
#pragma once
#include <cstdint>
#include <vector>

namespace g4::rt {

// int64 [count] each: of `count` tokens behind `length`, the first and the last position of the image that each is of;
// its own position for a token of none.
struct Blocks {
  std::vector<std::int64_t> starts, ends;
};

// `places`, ascending, count from `length`: tokens of images, of which neighbours belong together (transformers
// `get_block_sequence_ids_for_mask`).
Blocks blocks(const std::vector<std::int64_t>& places, std::int64_t length, std::int64_t count);

struct Piece {
  std::int64_t start, stop;  // exclusive
};

// A call of ends.size() tokens in runs of `chunk` (at least 1) at most, of which none ends inside a block. `ends`: the
// last place, from 0, of the block of each token. A larger block is a run of its own.
std::vector<Piece> pieces(const std::vector<std::int64_t>& ends, std::int64_t chunk);

}  // namespace g4::rt
