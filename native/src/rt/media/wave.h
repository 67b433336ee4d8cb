// A sound as frames of raw samples, for 12B, which has no audio tower: each frame is a token.
#pragma once
#include "sound.h"

namespace g4::rt {

// Source: transformers `feature_extraction_gemma4_unified.py` (Gemma4UnifiedAudioFeatureExtractor).
//
// Of samples that `sound_frames` has checked: float32 [frames, audio_samples_per_token], zeros behind the last sample.
Frames wave_frames(const float* samples, std::size_t count, const AudioSpec& spec);

}  // namespace g4::rt
