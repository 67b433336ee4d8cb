#include "wave.h"

namespace g4::rt {

Frames wave_frames(const float* samples, std::size_t count, const AudioSpec& spec) {
  const auto size = static_cast<std::size_t>(spec.audio_samples_per_token);
  Frames found;
  found.rows = (count + size - 1) / size;
  found.columns = size;
  found.tokens = static_cast<std::int64_t>(found.rows);
  found.values.reserve(found.rows * size);
  found.values.assign(samples, samples + count);
  found.values.resize(found.rows * size);
  return found;
}

}  // namespace g4::rt
