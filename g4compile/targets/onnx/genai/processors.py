"""The files by which onnxruntime-genai makes inputs of encoders from images and sounds.

Source: onnxruntime-extensions, `shared/api/gemma4_image_processor.hpp` and `gemma4_audio.hpp`: each operation refuses
attributes that it does not know, and numbers of another type.
"""

from __future__ import annotations

import json
from typing import Any

from g4compile.bundle.media import MediaSpec, MelSpec, PatchSpec, WaveSpec
from g4compile.errors import InputError

IMAGES, SOUNDS = "image_processor.json", "audio_processor.json"
# Of an image and of a sound: before, each row of features, behind. Source: `ProcessGemma4Prompt` of onnxruntime-genai.
_WORDS = ("<|image>", "<|image|>", "<image|>", "<|audio>", "<|audio|>", "<audio|>")


def processor_files(media: MediaSpec) -> dict[str, bytes]:
    """Name -> content, for what ``media`` takes. Raises InputError for log-mel frames that are not made there, and for
    tokens that it does not write into prompts."""
    tokens = media.tokens
    words = (tokens.boi, tokens.image.text, tokens.eoi, tokens.boa, tokens.audio.text, tokens.eoa)
    if words != _WORDS:
        raise InputError(
            f"the checkpoint writes media into prompts as {' '.join(words)}",
            why=f"onnxruntime-genai has {' '.join(_WORDS)} in its code",
            fix="--modalities text",
        )
    files = {}
    if media.image is not None:
        files[IMAGES] = _file({"processor": {"name": "gemma4_image", "transforms": _image_steps(media.image)}})
    if media.audio is not None:
        files[SOUNDS] = _file({"feature_extraction": {"sequence": _sound_steps(media.audio)}})
    return files


def _file(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()


def _step(kind: str, **attributes: Any) -> dict[str, Any]:
    return {"operation": {"name": kind.lower(), "type": kind, "attrs": attributes}}


def _image_steps(spec: PatchSpec) -> list[dict[str, Any]]:
    sizes = {
        "patch_size": spec.patch_size,
        "max_soft_tokens": spec.max_soft_tokens,
        "pooling_kernel_size": spec.pooling_kernel_size,
    }
    return [_step("DecodeImage", color_space="RGB"), _step("Gemma4ImageTransform", **sizes)]


def _sound_steps(spec: MelSpec | WaveSpec) -> list[dict[str, Any]]:
    decoder = _step("AudioDecoder", target_sample_rate=spec.sampling_rate)
    if isinstance(spec, WaveSpec):
        frames = {"audio_samples_per_token": spec.audio_samples_per_token, "sampling_rate": spec.sampling_rate}
        return [decoder, _step("Gemma4Audio", type="raw_frames", **frames, padding_value=0.0)]
    return [decoder, _step("Gemma4LogMel", **_mel(spec))]


def _mel(spec: MelSpec) -> dict[str, Any]:
    least = 1 << (spec.frame_length - 1).bit_length()  # that operation knows powers of two alone
    if spec.fft_length not in (least, 2 * least):
        raise InputError(
            f"the checkpoint's frames of {spec.frame_length} samples have transforms of {spec.fft_length}",
            why=f"onnxruntime-genai makes them of {least} or {2 * least}",
            fix="leave sounds out: --modalities text,image",
        )
    return {
        "feature_size": spec.feature_size,
        "sampling_rate": spec.sampling_rate,
        "frame_length_ms": 1000 * spec.frame_length / spec.sampling_rate,
        "hop_length_ms": 1000 * spec.hop_length / spec.sampling_rate,
        "min_frequency": float(spec.min_frequency),
        "max_frequency": float(spec.max_frequency),
        "preemphasis": 0.0,
        "fft_overdrive": int(spec.fft_length == 2 * least),
        "mel_floor": spec.mel_floor,
    }
