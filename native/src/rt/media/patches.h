// An image as a vision encoder is given it: resized to a budget of tokens, cut, and the patches of a token together.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "resize.h"
#include "spec.h"

namespace g4::rt {

// Whole tokens row by row, and no padding. `values` float32 [rows, columns] in 0..1: a row is a patch, in which the
// order is row, column, colour. `positions` int64 [rows, 2]: column and row of each patch in the image.
struct Patches {
  std::vector<float> values;
  std::size_t rows, columns;
  std::vector<std::int64_t> positions;
  std::int64_t tokens;
};

// Source: transformers `image_processing_pil_gemma4.py`, and `image_processing_gemma4_unified.py` of 12B.
//
// `rgb`: uint8 [height, width, 3]. `budget`: most tokens, 70, 140, 280, 560 or 1120; 0: that of `spec`. Throws Failure
// for other budgets, an empty image, one that is too large, and one that the model has too few positions for.
Patches image_patches(const std::uint8_t* rgb, std::int64_t width, std::int64_t height, const PatchSpec& spec,
                      std::int64_t budget);

// What an image is resized to: its shape is kept as far as whole tokens allow, with at most `max_soft_tokens` of them.
Size target_size(Size from, const PatchSpec& spec);

}  // namespace g4::rt
