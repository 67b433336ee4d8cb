// A sound as an audio encoder is given it, of either kind; and the samples that are refused.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "spec.h"

namespace g4::rt {

// Frames that are wholly of the sound: `values` float32 [rows, columns]. `tokens`: features that are made of it.
struct Frames {
  std::vector<float> values;
  std::size_t rows, columns;
  std::int64_t tokens;
};

// `samples`: float32 [count] at `spec.sampling_rate`, one channel. Throws Failure for a sound that is empty, too long,
// too short for one token, or has samples that are no numbers of a wave (NaN, infinity, beyond 1,000,000).
Frames sound_frames(const float* samples, std::size_t count, const AudioSpec& spec);

}  // namespace g4::rt
