// A sound as log-mel frames, for the audio tower of E2B and E4B.
#pragma once
#include "sound.h"

namespace g4::rt {

// Source: transformers `feature_extraction_gemma4.py` (Gemma4AudioFeatureExtractor) and `mel_filter_bank` of its
// `audio_utils.py`.
//
// Of samples that `sound_frames` has checked: float32 [frames, feature_size], ln(mel + mel_floor) of magnitudes, of the
// frames whose last sample is of the sound. Magnitudes are of doubles; NumPy has float32 there. Throws Failure for a
// sound that is too short for one frame, and for settings of the bundle that nothing can be computed from.
Frames mel_frames(const float* samples, std::size_t count, const AudioSpec& spec);

}  // namespace g4::rt
