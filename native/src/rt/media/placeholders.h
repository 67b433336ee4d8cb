// Placeholders of a prompt: written out as many tokens as encoders give, and found again among the ids.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "spec.h"

namespace g4::rt {

enum class Kind { kImage, kSound };

// An image or a sound of a prompt: the rows of features that its encoder makes.
struct Item {
  Kind kind;
  std::int64_t tokens;
};

// Source: transformers `processing_gemma4.py` and `ProcessorMixin.get_text_with_replacements`.
//
// `text` with each placeholder written out for its image or sound; those of a kind are in the order of `media`. Throws
// Failure when there are more placeholders of a kind than media, or fewer, and says which; G4RT_UNSUPPORTED for one of
// a video, which this runtime does not read.
std::string write_out(std::string_view text, const std::vector<Item>& media, const MediaSpec& spec);

// Throws Failure, G4RT_BAD_BUNDLE, when `ids` of a text that `write_out` made do not have each item of `media` as one
// run of its token: then the tokenizer is of another model.
void check_written_out(const std::int32_t* ids, std::size_t count, const std::vector<Item>& media,
                       const MediaSpec& spec);

// Where features stand among ids.
struct Places {
  std::vector<std::vector<std::int64_t>> items;  // of each item of the media: the place of each of its rows, ascending
  std::vector<std::int64_t> seen;                // those of images, ascending
};

// The places of the features of `media` among `ids`, from 0. Throws Failure when placeholders of a kind are more or
// fewer than the tokens of its media; G4RT_UNSUPPORTED for the placeholder of a video.
Places places_of(const std::int32_t* ids, std::size_t count, const std::vector<Item>& media, const MediaSpec& spec);

}  // namespace g4::rt
