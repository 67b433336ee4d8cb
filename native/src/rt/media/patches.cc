#include "patches.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "../failure.h"
#include "words.h"

namespace g4::rt {
namespace {

constexpr std::int64_t kBudgets[] = {70, 140, 280, 560, 1120};
constexpr std::int64_t kLargestSide = 32'768, kMostPixels = 80'000'000;
// While an image is resized. Tokens of 48 x 48 pixels, as the published models have, need 15 million at most.
constexpr std::int64_t kMostResized = 1 << 25;
constexpr std::int64_t kColours = 3;

std::string pixels(Size size) { return grouped(size.width) + " x " + grouped(size.height) + " pixels"; }

PatchSpec with_budget(PatchSpec spec, std::int64_t budget) {
  if (!budget) return spec;
  if (std::find(std::begin(kBudgets), std::end(kBudgets), budget) == std::end(kBudgets))
    fail(G4RT_BAD_ARGUMENT, "budget is " + std::to_string(budget) + ": give one of 70, 140, 280, 560, 1120, or 0");
  spec.max_soft_tokens = budget;
  return spec;
}

void check_size(Size size) {
  if (size.width <= 0 || size.height <= 0) fail(G4RT_BAD_ARGUMENT, "the image is empty: it has " + pixels(size));
  if (std::max(size.width, size.height) > kLargestSide || size.width * size.height > kMostPixels)
    fail(G4RT_BAD_ARGUMENT, "the image is too large: it has " + pixels(size) + ". Make it smaller: a side of at most " +
                                grouped(kLargestSide) + " pixels, and at most " + grouped(kMostPixels) + " in all");
}

void check_target(Size from, Size to, const PatchSpec& spec) {
  const std::int64_t longest = std::max(to.width, to.height) / spec.patch_size;
  if (longest > spec.positions)
    fail(G4RT_BAD_ARGUMENT, "the image is too long and narrow: it would be " + grouped(longest) +
                                " patches long. It has " + pixels(from) + ", and the model has " +
                                grouped(spec.positions) +
                                " positions along a side: cut the image into shorter ones, or take a smaller budget");
  const std::int64_t most = std::max(to.width * to.height, pixels_between(from, to));
  if (most > kMostResized)
    fail(G4RT_BAD_BUNDLE, "media.image of g4.json asks for more pixels than are computed: " + grouped(most) +
                              " while an image of " + pixels(from) + " is resized, of at most " +
                              grouped(kMostResized) + ". Compile the bundle again");
}

std::array<float, 256> scaled() {
  std::array<float, 256> values;
  for (int i = 0; i < 256; ++i) values[static_cast<std::size_t>(i)] = static_cast<float>(i * (1 / 255.0));
  return values;
}

// Appends the patch at `column`, `row` (in patches) of an image that is `width` pixels wide.
void cut(const std::uint8_t* rgb, std::int64_t width, std::int64_t side, std::int64_t column, std::int64_t row,
         float*& to) {
  static const std::array<float, 256> kScaled = scaled();
  const std::int64_t bytes = side * kColours;
  for (std::int64_t y = 0; y < side; ++y) {
    const std::uint8_t* from = rgb + ((row * side + y) * width + column * side) * kColours;
    for (std::int64_t i = 0; i < bytes; ++i) *to++ = kScaled[from[i]];
  }
}

Patches cut_all(const std::uint8_t* rgb, Size size, const PatchSpec& spec) {
  const std::int64_t side = spec.patch_size, pool = spec.pooling_kernel_size;
  const std::int64_t columns = size.width / side, rows = size.height / side;
  Patches found;
  found.rows = static_cast<std::size_t>(columns * rows);
  found.columns = static_cast<std::size_t>(side * side * kColours);
  found.tokens = columns * rows / (pool * pool);
  found.values.resize(found.rows * found.columns);
  found.positions.reserve(found.rows * 2);
  float* to = found.values.data();
  for (std::int64_t top = 0; top < rows; top += pool)
    for (std::int64_t left = 0; left < columns; left += pool)
      for (std::int64_t row = top; row < top + pool; ++row)
        for (std::int64_t column = left; column < left + pool; ++column) {
          cut(rgb, size.width, side, column, row, to);
          found.positions.insert(found.positions.end(), {column, row});
        }
  return found;
}

}  // namespace

Size target_size(Size from, const PatchSpec& spec) {
  const std::int64_t unit = spec.patch_size * spec.pooling_kernel_size;
  // Doubles and their order are Python's: a size next to a whole number of tokens must fall on the same side.
  const double side = static_cast<double>(unit), width = static_cast<double>(from.width),
               height = static_cast<double>(from.height);
  const double factor = std::sqrt(static_cast<double>(spec.max_soft_tokens * unit * unit) / (height * width));
  auto rows = static_cast<std::int64_t>(std::floor(factor * height / side));
  auto columns = static_cast<std::int64_t>(std::floor(factor * width / side));
  if (!rows) {
    rows = 1;
    columns = std::min(from.width / from.height, spec.max_soft_tokens);
  } else if (!columns) {
    columns = 1;
    rows = std::min(from.height / from.width, spec.max_soft_tokens);
  }
  return {columns * unit, rows * unit};
}

Patches image_patches(const std::uint8_t* rgb, std::int64_t width, std::int64_t height, const PatchSpec& given,
                      std::int64_t budget) {
  const PatchSpec spec = with_budget(given, budget);
  const Size from{width, height};
  check_size(from);
  const Size to = target_size(from, spec);
  check_target(from, to, spec);
  if (from == to) return cut_all(rgb, to, spec);
  return cut_all(resize(rgb, from, to).data(), to, spec);
}

}  // namespace g4::rt
