// Pillow's bicubic resampling of RGB of 8 bits, to the bit: what the image processors of Gemma 4 resize with.
#pragma once
#include <cstdint>
#include <vector>

namespace g4::rt {

struct Size {  // in pixels
  std::int64_t width, height;
  bool operator==(const Size&) const = default;
};

// uint8 [to.height, to.width, 3] of `rgb` [from.height, from.width, 3]: what Pillow 13 makes. Older versions change the
// width first where the height loses more than twice as many pixels, and so have other values there.
//
// Sizes are at least 1, and the caller bounds them.
std::vector<std::uint8_t> resize(const std::uint8_t* rgb, Size from, Size to);

// Pixels that stand in memory beside the two images while `resize` runs.
std::int64_t pixels_between(Size from, Size to);

}  // namespace g4::rt
