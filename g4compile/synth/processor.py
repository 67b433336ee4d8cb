"""`processor_config.json` as published checkpoints have it: how images, audio and videos become inputs of the model.

Fields and values are what transformers' processors write of themselves; sizes of patches and frames are those of the
config. A model without an audio part has the extractor too: transformers' processor class asks for one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_AUDIO_TOKENS, _MS_PER_TOKEN = 750, 40


def write_processor(folder: Path, config: Mapping[str, Any]) -> bool:
    """Write the file for the model of ``config``. False when the model takes text alone."""
    vision, audio = config.get("vision_config"), config.get("audio_config")
    if vision is None and audio is None:
        return False
    unified = config["model_type"] == "gemma4_unified"
    family, budget = "Gemma4Unified" if unified else "Gemma4", config.get("vision_soft_tokens_per_image", 280)
    pictures = {
        "do_convert_rgb": True,
        "do_normalize": False,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.0, 0.0, 0.0],
        "image_std": [1.0, 1.0, 1.0],
        "max_soft_tokens": budget,
        "patch_size": (vision or {}).get("patch_size", 16),
        "pooling_kernel_size": (vision or {}).get("pooling_kernel_size", 3),
        "resample": 3,
        "rescale_factor": 1 / 255,
    }
    image = {**pictures, "image_processor_type": f"{family}ImageProcessor", "image_seq_length": budget}
    video = {
        **pictures,
        "do_normalize": True,
        "do_sample_frames": True,
        "max_soft_tokens": 70,
        "num_frames": 32,
        "return_metadata": False,
        "video_processor_type": f"{family}VideoProcessor",
    }
    made = {
        "audio_ms_per_token": _MS_PER_TOKEN,
        "audio_seq_length": _AUDIO_TOKENS,
        "feature_extractor": _frames(audio or {}) if unified else _MEL,
        "image_processor": image,
        "image_seq_length": budget,
        "processor_class": f"{family}Processor",
        "video_processor": video,
    }
    (folder / "processor_config.json").write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
    return True


_MEL = {
    "dither": 0.0,
    "feature_extractor_type": "Gemma4AudioFeatureExtractor",
    "feature_size": 128,
    "fft_length": 512,
    "fft_overdrive": False,
    "frame_length": 320,
    "hop_length": 160,
    "input_scale_factor": 1.0,
    "max_frequency": 8000.0,
    "mel_floor": 0.001,
    "min_frequency": 0.0,
    "padding_side": "right",
    "padding_value": 0.0,
    "per_bin_mean": None,
    "per_bin_stddev": None,
    "preemphasis": 0.0,
    "preemphasis_htk_flavor": True,
    "return_attention_mask": True,
    "sampling_rate": 16_000,
}


def _frames(audio: Mapping[str, Any]) -> dict[str, Any]:
    samples = audio.get("audio_embed_dim", 640)
    return {
        "audio_samples_per_token": samples,
        "feature_extractor_type": "Gemma4UnifiedAudioFeatureExtractor",
        "feature_size": samples,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": True,
        "sampling_rate": 16_000,
    }
