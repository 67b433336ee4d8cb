"""What transformers' model makes of a prompt with media: features of its encoders, and logits.

Source: `Gemma4ForConditionalGeneration.forward`, `get_image_features`, `get_audio_features`, and the processors, which
stack images and pad sounds to one length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from g4compile.runtime.media.records import Array, AudioInputs, ImageInputs
from g4compile.runtime.prompt import Prompt


def hf_inputs(config: Any, prompt: Prompt) -> dict[str, Any]:
    """Arguments of transformers' model of ``config``. The kinds of tokens are those of its processor: 0 text, 1 image,
    2 video, 3 audio."""
    ids = torch.from_numpy(np.asarray(prompt.input_ids)[None])
    found: dict[str, Any] = {"input_ids": ids, "mm_token_type_ids": torch.zeros_like(ids)}
    for kind, token in enumerate((config.image_token_id, config.video_token_id, config.audio_token_id), 1):
        found["mm_token_type_ids"][ids == token] = kind
    if prompt.images:
        found["pixel_values"], found["image_position_ids"] = stacked(prompt.images)
    if prompt.videos:
        frames = [frame for video in prompt.videos for frame in video.frames]
        found["pixel_values_videos"], found["video_position_ids"] = stacked(frames)
        found["num_frames_per_video"] = torch.tensor([len(video.seconds) for video in prompt.videos])
    if prompt.audios:
        found["input_features"], found["input_features_mask"] = padded(prompt.audios)
    return found


@contextmanager
def with_features(model: Any, features: Array) -> Iterator[None]:
    """While it lasts, the encoders of transformers' ``model`` give ``features`` [tokens, H] of any image, or sound."""
    rows = torch.from_numpy(features)
    image = SimpleNamespace(pooler_output=[rows])
    audio = SimpleNamespace(pooler_output=rows[None], attention_mask=torch.ones(1, len(rows), dtype=torch.bool))
    inner = model.model
    inner.get_image_features = lambda *_, **__: image
    inner.get_audio_features = lambda *_, **__: audio
    try:
        yield
    finally:
        del inner.get_image_features, inner.get_audio_features  # the class has its own


def image_features(model: Any, images: Sequence[ImageInputs]) -> list[Array]:
    """Features float32 [tokens, H] of each of ``images``, by transformers' ``model``."""
    values, places = stacked(images)
    with torch.no_grad():
        found = model.model.get_image_features(values.to(model.dtype), places, return_dict=True).pooler_output
    return [one.float().numpy() for one in found]


def audio_features(model: Any, sounds: Sequence[AudioInputs]) -> list[Array]:
    """Features float32 [tokens, H] of each of ``sounds``, by transformers' ``model``."""
    frames, mask = padded(sounds)
    with torch.no_grad():
        found = model.model.get_audio_features(frames.to(model.dtype), mask, return_dict=True)
    return [row[keep].float().numpy() for row, keep in zip(found.pooler_output, found.attention_mask, strict=True)]


def stacked(images: Sequence[ImageInputs]) -> list[torch.Tensor]:
    """Patches and their positions, a row for each of ``images``."""
    names = "pixel_values", "pixel_position_ids"
    return [torch.from_numpy(np.stack([getattr(image, name) for image in images])) for name in names]


def padded(sounds: Sequence[AudioInputs]) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames and their mask, all ``sounds`` as long as the longest."""
    most = max(len(sound.input_features) for sound in sounds)
    features = np.zeros((len(sounds), most, sounds[0].input_features.shape[1]), np.float32)
    mask = np.zeros((len(sounds), most), bool)
    for row, sound in enumerate(sounds):
        count = len(sound.input_features)
        features[row, :count], mask[row, :count] = sound.input_features, sound.input_features_mask
    return torch.from_numpy(features), torch.from_numpy(mask)
