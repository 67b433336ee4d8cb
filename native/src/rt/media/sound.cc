#include "sound.h"

#include <cmath>
#include <string>

#include "../failure.h"
#include "mel.h"
#include "wave.h"
#include "words.h"

namespace g4::rt {
namespace {

constexpr float kLoudest = 1'000'000;  // some programs write integers as floats; of what is larger, sums overflow

std::string written(float sample) {
  if (std::isnan(sample)) return "NaN";
  if (std::isinf(sample)) return sample < 0 ? "-infinity" : "infinity";
  constexpr std::int64_t kMost = 1'000'000'000'000;
  const bool told = std::fabs(sample) < static_cast<float>(kMost);
  return told ? grouped(std::llround(sample)) : "beyond " + grouped(kMost);
}

void check_samples(const float* samples, std::size_t count) {
  if (!count) fail(G4RT_BAD_ARGUMENT, "the sound is empty: it has no samples");
  std::size_t first = count, wrong = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (std::fabs(samples[i]) <= kLoudest) continue;  // false for NaN
    if (!wrong++) first = i;
  }
  if (wrong)
    fail(G4RT_BAD_ARGUMENT, "the sound has samples that are no numbers of a wave: sample " +
                                grouped(static_cast<std::int64_t>(first)) + " is " + written(samples[first]) +
                                ", the first of " + grouped(static_cast<std::int64_t>(wrong)) +
                                ". Samples are from -1 to 1, and never beyond 1,000,000: mend what wrote them");
}

void check_length(std::size_t count, const AudioSpec& spec) {
  const double rate = static_cast<double>(spec.sampling_rate);
  if (count > static_cast<std::size_t>(spec.max_samples))
    fail(G4RT_BAD_ARGUMENT, "the sound is longer than the " + tenths(static_cast<double>(spec.max_samples) / rate) +
                                " seconds that the model takes: it has " + tenths(static_cast<double>(count) / rate) +
                                " seconds, " + grouped(static_cast<std::int64_t>(count)) +
                                " samples. Cut it, or give it in parts");
}

}  // namespace

Frames sound_frames(const float* samples, std::size_t count, const AudioSpec& spec) {
  check_samples(samples, count);
  check_length(count, spec);
  return spec.mel ? mel_frames(samples, count, spec) : wave_frames(samples, count, spec);
}

}  // namespace g4::rt
