// The writing of caches, and the checks of their sizes. The roundings are those of LAYERS.md.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "attention.h"

namespace g4 {
namespace {

// To the nearest whole number, halves to even, for |x| below 2^22: what is behind the point falls off the sum.
float whole(float x) { return (x + 0x1.8p23f) - 0x1.8p23f; }

std::uint16_t to_bfloat16(float x) {
  std::uint32_t word;
  std::memcpy(&word, &x, sizeof word);
  if ((word & 0x7fffffff) > 0x7f800000) return static_cast<std::uint16_t>(word >> 16 | 0x40);  // not a number
  return static_cast<std::uint16_t>((word + 0x7fff + (word >> 16 & 1)) >> 16);
}

void write_int8(const float* x, std::int64_t D, std::int8_t* codes, float* scale) {
  std::uint32_t most = 0;  // as integers, sizes are ordered like the numbers, and what is not a number is the largest
  for (std::int64_t d = 0; d < D; ++d) {
    std::uint32_t word;
    std::memcpy(&word, x + d, sizeof word);
    most = std::max(most, word & 0x7fffffff);
  }
  float size;
  std::memcpy(&size, &most, sizeof size);
  *scale = size / 127.0f;
  if (*scale == 0 || !std::isfinite(*scale)) return static_cast<void>(std::fill_n(codes, D, std::int8_t{0}));
  for (std::int64_t d = 0; d < D; ++d)  // beyond 127 only where the scale is below the normal numbers
    codes[d] = static_cast<std::int8_t>(std::clamp(whole(x[d] / *scale), -127.0f, 127.0f));
}

}  // namespace

// The limits keep the number of bytes below 2^63.
std::string problem(const CacheShape& c) {
  const auto between = [](const char* name, std::int64_t value, std::int64_t least, std::int64_t most) {
    return value >= least && value <= most ? std::string()
                                           : std::string(name) + " is " + std::to_string(value) + ", not in " +
                                                 std::to_string(least) + ".." + std::to_string(most);
  };
  std::string wrong = between("the batch", c.B, 0, 4096);
  if (wrong.empty()) wrong = between("the number of heads of keys", c.K, 1, 4096);
  if (wrong.empty()) wrong = between("the number of slots", c.T, 0, 1 << 24);
  if (wrong.empty()) wrong = between("the size of a head", c.D, 8, 1024);
  if (wrong.empty() && c.D % 8) return "the size of a head is " + std::to_string(c.D) + ", no multiple of 8";
  return wrong;
}

std::string problem(const CacheShape& c, std::int64_t S, const std::int64_t* positions) {
  for (std::int64_t i = 0; i < c.B * S; ++i) {
    const std::int64_t p = positions[i];
    if (p < 0 || p >= std::int64_t{1} << 40 || (c.ring ? c.T == 0 : p >= c.T))
      return "position " + std::to_string(p) + " has no slot in a cache of " + std::to_string(c.T);
  }
  return "";
}

void write_cache(const Parallel& parallel, const CacheShape& c, std::int64_t S, const float* fresh,
                 const std::int64_t* positions, void* numbers, float* scales) {
  auto task = [&](std::size_t index) {
    const auto head = static_cast<std::int64_t>(index);
    for (std::int64_t s = 0; s < S; ++s) {
      const std::int64_t position = positions[head / c.K * S + s];
      const std::int64_t token = head * c.T + (c.ring ? position % c.T : position);
      const float* from = fresh + (head * S + s) * c.D;
      if (c.type == kFloat32)
        std::copy_n(from, c.D, static_cast<float*>(numbers) + token * c.D);
      else if (c.type == kBfloat16)
        std::transform(from, from + c.D, static_cast<std::uint16_t*>(numbers) + token * c.D, to_bfloat16);
      else
        write_int8(from, c.D, static_cast<std::int8_t*>(numbers) + token * c.D, scales + token);
    }
  };
  if (c.B && S) parallel.each(static_cast<std::size_t>(c.B * c.K), task);
}

}  // namespace g4
