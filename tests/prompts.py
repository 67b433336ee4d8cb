"""Prompts with media, and what Hugging Face makes of them: the judge of whole bundles."""

from __future__ import annotations

import numpy as np
import torch

from g4compile.compare.reference import Reference
from g4compile.runtime.prompt import Prompt
from tests.audio import padded


def mixed(bundle, *items, seed=5):
    """A prompt of ``items``: a number of random words, an image, a video (all its frames behind each other, two words
    between), or a sound."""
    random, tokens, ids = np.random.default_rng(seed), bundle.manifest.media.tokens, []
    media = {"images": [], "videos": [], "audios": []}
    for item in items:
        if isinstance(item, int):
            ids += random.integers(3, 200, item).tolist()
        elif hasattr(item, "seconds"):
            media["videos"].append(item)
            for _ in item.seconds:
                ids += [*random.integers(3, 200, 2).tolist(), *[tokens.video.id] * item.tokens]
        elif hasattr(item, "input_features"):
            media["audios"].append(item)
            ids += [tokens.audio.id] * item.tokens
        else:
            media["images"].append(item)
            ids += [tokens.image.id] * item.tokens
    return Prompt(np.array(ids), **{name: tuple(found) for name, found in media.items()})


def hf_inputs(config, prompt):
    """Arguments of transformers' model. The kinds of tokens are those of its processor: 0 text, 1 image, 2 video, 3
    audio."""
    ids = torch.from_numpy(np.asarray(prompt.input_ids)[None])
    found = {"input_ids": ids, "mm_token_type_ids": torch.zeros_like(ids)}
    for kind, token in enumerate((config.image_token_id, config.video_token_id, config.audio_token_id), 1):
        found["mm_token_type_ids"][ids == token] = kind
    if prompt.images:
        found["pixel_values"], found["image_position_ids"] = _stacked(prompt.images)
    if prompt.videos:
        frames = [frame for video in prompt.videos for frame in video.frames]
        found["pixel_values_videos"], found["video_position_ids"] = _stacked(frames)
        found["num_frames_per_video"] = torch.tensor([len(video.seconds) for video in prompt.videos])
    if prompt.audios:
        found["input_features"], found["input_features_mask"] = padded(prompt.audios)
    return found


def _stacked(images):
    names = "pixel_values", "pixel_position_ids"
    return [torch.from_numpy(np.stack([getattr(image, name) for image in images])) for name in names]


def expected(checkpoint, prompt, steps):
    """Logits of the prompt [1, S, V], greedy tokens [steps], and logits after each."""
    return answered(Reference(checkpoint.folder), prompt, steps)


def answered(reference, prompt, steps):
    """The same, of a ``reference`` that has its own weights and cache."""
    model = reference.model
    with torch.no_grad():
        out = model(**hf_inputs(model.config, prompt), past_key_values=reference._cache, use_cache=True)
        prefill, tokens, decode = out.logits.numpy(), [], []
        for _ in range(steps):
            tokens.append(out.logits[:, -1:].argmax(-1))
            out = model(input_ids=tokens[-1], past_key_values=out.past_key_values, use_cache=True)
            decode.append(out.logits.numpy())
    return prefill, [token.numpy() for token in tokens], decode
