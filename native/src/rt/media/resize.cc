#include "resize.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace g4::rt {
namespace {

constexpr int kBits = 32 - 8 - 2;  // of a weight behind the binary point: sums need two bits more than a pixel
constexpr std::int32_t kHalf = 1 << (kBits - 1);
constexpr std::int64_t kColours = 3;

// Keys' cubic with a = -0.5. The order of the operations is Pillow's: weights are rounded, and must not differ.
double cubic(double x) {
  constexpr double a = -0.5;
  x = std::fabs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

// What makes the pixels along one side: pixel p of the result is of `counts[p]` pixels from `first[p]`, with the
// weights at p * stride.
struct Weights {
  std::vector<std::int64_t> first, counts;
  std::vector<std::int32_t> weights;
  std::int64_t stride;
};

// Source: Pillow, `precompute_coeffs` and `normalize_coeffs_8bpc` of src/libImaging/Resample.c.
Weights weights_of(std::int64_t from, std::int64_t to) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double widened = std::max(scale, 1.0), support = 2.0 * widened, narrowed = 1.0 / widened;
  Weights found;
  found.stride = static_cast<std::int64_t>(std::ceil(support)) * 2 + 1;
  found.first.resize(static_cast<std::size_t>(to));
  found.counts.resize(static_cast<std::size_t>(to));
  found.weights.resize(static_cast<std::size_t>(to * found.stride));
  std::vector<double> exact(static_cast<std::size_t>(found.stride));
  for (std::int64_t pixel = 0; pixel < to; ++pixel) {
    const double centre = (static_cast<double>(pixel) + 0.5) * scale;
    const std::int64_t first = std::max<std::int64_t>(static_cast<std::int64_t>(centre - support + 0.5), 0);
    const std::int64_t count = std::min(static_cast<std::int64_t>(centre + support + 0.5), from) - first;
    double sum = 0.0;
    for (std::int64_t i = 0; i < count; ++i) {
      const double weight = cubic((static_cast<double>(i + first) - centre + 0.5) * narrowed);
      exact[static_cast<std::size_t>(i)] = weight;
      sum += weight;
    }
    std::int32_t* to_weights = found.weights.data() + pixel * found.stride;
    for (std::int64_t i = 0; i < count; ++i) {
      double weight = exact[static_cast<std::size_t>(i)];
      if (sum != 0.0) weight /= sum;
      to_weights[i] = static_cast<std::int32_t>((weight < 0 ? -0.5 : 0.5) + weight * (1 << kBits));
    }
    found.first[static_cast<std::size_t>(pixel)] = first;
    found.counts[static_cast<std::size_t>(pixel)] = count;
  }
  return found;
}

std::uint8_t rounded(std::int32_t sum) { return static_cast<std::uint8_t>(std::clamp(sum >> kBits, 0, 255)); }

std::vector<std::uint8_t> unset(std::int64_t width, std::int64_t height) {
  return std::vector<std::uint8_t>(static_cast<std::size_t>(width * height * kColours));
}

// Whether the height is changed before the width, `ImagingResampleInner`: each pass rounds, so the order counts.
bool height_first(Size from, Size to) {
  const std::int64_t lower = from.height - to.height, narrower = from.width - to.width;
  return lower > 0 && lower > narrower * 2;
}

Size between(Size from, Size to) {
  return height_first(from, to) ? Size{from.width, to.height} : Size{to.width, from.height};
}

std::vector<std::uint8_t> along_rows(const std::uint8_t* rgb, Size from, std::int64_t width) {
  const Weights made = weights_of(from.width, width);
  std::vector<std::uint8_t> found = unset(width, from.height);
  for (std::int64_t y = 0; y < from.height; ++y) {
    const std::uint8_t* row = rgb + y * from.width * kColours;
    std::uint8_t* to = found.data() + y * width * kColours;
    for (std::int64_t x = 0; x < width; ++x) {
      const std::uint8_t* pixel = row + made.first[static_cast<std::size_t>(x)] * kColours;
      const std::int32_t* weight = made.weights.data() + x * made.stride;
      std::int32_t red = kHalf, green = kHalf, blue = kHalf;
      for (std::int64_t left = made.counts[static_cast<std::size_t>(x)]; left; --left, ++weight, pixel += kColours) {
        red += pixel[0] * *weight;
        green += pixel[1] * *weight;
        blue += pixel[2] * *weight;
      }
      *to++ = rounded(red);
      *to++ = rounded(green);
      *to++ = rounded(blue);
    }
  }
  return found;
}

std::vector<std::uint8_t> along_columns(const std::uint8_t* rgb, Size from, std::int64_t height) {
  const Weights made = weights_of(from.height, height);
  const std::int64_t bytes = from.width * kColours;
  std::vector<std::uint8_t> found = unset(from.width, height);
  std::vector<std::int32_t> sums(static_cast<std::size_t>(bytes));
  for (std::int64_t y = 0; y < height; ++y) {
    std::fill(sums.begin(), sums.end(), kHalf);
    for (std::int64_t i = 0; i < made.counts[static_cast<std::size_t>(y)]; ++i) {
      const std::uint8_t* row = rgb + (made.first[static_cast<std::size_t>(y)] + i) * bytes;
      const std::int32_t weight = made.weights[static_cast<std::size_t>(y * made.stride + i)];
      for (std::size_t at = 0; at < sums.size(); ++at) sums[at] += row[at] * weight;
    }
    std::transform(sums.begin(), sums.end(), found.begin() + y * bytes, rounded);
  }
  return found;
}

}  // namespace

std::int64_t pixels_between(Size from, Size to) {
  const Size size = between(from, to);
  return size.width * size.height;
}

std::vector<std::uint8_t> resize(const std::uint8_t* rgb, Size from, Size to) {
  std::vector<std::uint8_t> held;
  const auto step = [&](Size next) {  // of which one side differs from `from`, or none
    const std::uint8_t* given = held.empty() ? rgb : held.data();
    if (next.width != from.width) held = along_rows(given, from, next.width);
    if (next.height != from.height) held = along_columns(given, from, next.height);
    from = next;
  };
  step(between(from, to));
  step(to);
  return held.empty() ? std::vector<std::uint8_t>(rgb, rgb + to.width * to.height * kColours) : held;
}

}  // namespace g4::rt
