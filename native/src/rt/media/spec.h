// What a manifest says of media: docs/manifest.md, `media`. Ranges are checked where it is read.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

namespace g4::rt {

struct PatchSpec {
  std::int64_t patch_size;           // pixels of a side
  std::int64_t pooling_kernel_size;  // patches of a side of a token
  std::int64_t max_soft_tokens;      // the default budget
  std::int64_t positions;            // patches along a side that the model has positions for
};

// `mel`: log-mel frames; else (12B) frames of the wave, `audio_samples_per_token` each. Sizes count samples.
struct AudioSpec {
  bool mel;
  std::int64_t sampling_rate, max_samples;
  std::int64_t frame_length, hop_length, fft_length, feature_size;  // of mel
  double min_frequency, max_frequency, mel_floor;                   // of mel; hertz
  std::int64_t audio_samples_per_token;                             // of a wave
};

struct TokenSpec {
  std::string text;
  std::int32_t id;
};

struct MediaSpec {
  TokenSpec image, video, audio;
  std::string boi, eoi, boa, eoa;  // texts around an image, and around a sound
  std::optional<PatchSpec> image_patches;
  std::optional<AudioSpec> sound;
};

}  // namespace g4::rt
