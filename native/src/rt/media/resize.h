// Pillow's bicubic resampling of RGB of 8 bits, to the bit: what the image processors of Gemma 4 resize with.
#pragma once
#include <cstdint>
#include <vector>

namespace g4::rt {

struct Size {  // in pixels
  std::int64_t width, height;
  bool operator==(const Size&) const = default;
};

// uint8 [to.height, to.width, 3] of `rgb` [from.height, from.width, 3]. Sizes are at least 1, and the caller bounds
// them: beside the result, from.height * to.width pixels stand in memory.
std::vector<std::uint8_t> resize(const std::uint8_t* rgb, Size from, Size to);

}  // namespace g4::rt
