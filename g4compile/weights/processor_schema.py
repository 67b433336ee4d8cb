"""The fields of processor files, one table a kind: type, range, and the default of transformers' classes.

What the files may say and `runtime/media` does not compute has one value that is taken. Sources: transformers
`feature_extraction_gemma4.py`, `image_processing_gemma4.py`, `video_processing_gemma4.py`, and those of
`gemma4_unified`.
"""

from __future__ import annotations

from g4compile.bundle.media import BUDGETS
from g4compile.model.fields import Field, Table, array, exactly, flag, integer, number

_BUDGET = Field(f"one of {', '.join(map(str, BUDGETS))}", lambda value: type(value) is int and value in BUDGETS)
_COLOURS = array(number(-1e3, 1e3), 3, 3)
PATCHES: Table = {
    "do_convert_rgb": exactly(True),
    "do_normalize": flag().otherwise(False),
    "do_rescale": exactly(True),
    "do_resize": exactly(True),
    "image_mean": _COLOURS.or_null((0.0, 0.0, 0.0)),
    "image_std": _COLOURS.or_null((1.0, 1.0, 1.0)),
    "max_soft_tokens": _BUDGET.otherwise(280),
    "patch_size": integer(1, 1024).otherwise(16),
    "pooling_kernel_size": integer(1, 64).otherwise(3),
    "resample": exactly(3),  # Pillow's BICUBIC
    "rescale_factor": exactly(1 / 255),
}
VIDEO: Table = {
    **PATCHES,
    "do_sample_frames": exactly(True),
    "fps": exactly(None),
    "max_soft_tokens": _BUDGET.otherwise(70),
    "num_frames": integer(1, 256).otherwise(32),
}
_AUDIO: Table = {
    "padding_side": exactly("right"),
    "padding_value": number(0, 0).otherwise(0.0),
    "sampling_rate": integer(1000, 384_000).otherwise(16_000),
}
_LENGTH = integer(1, 1 << 24).otherwise(None)  # transformers computes it from milliseconds, whatever stands here
MEL: Table = {
    **_AUDIO,
    "dither": number(0, 0).otherwise(0.0),
    "feature_size": integer(4, 4096).otherwise(128),
    "fft_length": _LENGTH,
    "fft_overdrive": exactly(False),
    "frame_length": _LENGTH,
    "frame_length_ms": number(0.1, 1000).otherwise(20.0),
    "hop_length": _LENGTH,
    "hop_length_ms": number(0.1, 1000).otherwise(10.0),
    "input_scale_factor": number(1, 1).otherwise(1.0),
    "max_frequency": number(0, 192_000).otherwise(8000.0),
    "mel_floor": number(1e-12, 1).otherwise(1e-3),
    "min_frequency": number(0, 192_000).otherwise(0.0),
    "per_bin_mean": exactly(None),
    "per_bin_stddev": exactly(None),
    "preemphasis": number(0, 0).otherwise(0.0),
}
_COUNT = integer(1, 1 << 12).otherwise(640)
WAVE: Table = {**_AUDIO, "audio_samples_per_token": _COUNT, "feature_size": _COUNT}
WHOLE: Table = {"audio_seq_length": integer(1, 1 << 12).otherwise(750)}  # of processor_config.json itself
