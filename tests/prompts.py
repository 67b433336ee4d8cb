"""Prompts with media, and what Hugging Face makes of them: the judge of whole bundles."""

from __future__ import annotations

import numpy as np
import torch

from g4compile.compare.media_reference import hf_inputs
from g4compile.compare.reference import Reference
from g4compile.runtime.prompt import Prompt
from g4compile.runtime.session import Session
from tests.scenario import assert_equal


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


def expected(checkpoint, prompt, steps):
    """Logits of the prompt [1, S, V], greedy tokens [steps], and logits after each."""
    return answered(Reference(checkpoint.folder), prompt, steps)


def assert_bundle_equals_hf(bundle, checkpoint, prompt, steps):
    """The prompt in chunks of 256, 7 and 1, each with ``steps`` after it, and the same tokens when generated. Without
    its media it is another prompt."""
    prefill, tokens, decode = expected(checkpoint, prompt, steps)
    for chunk in (256, 7, 1):
        session = Session(bundle, threads=1, chunk=chunk)
        assert_equal(prefill, session.forward(prompt, all_positions=True), f"prefill in chunks of {chunk}")
        for step, (token, want) in enumerate(zip(tokens, decode, strict=True)):
            assert_equal(want, session.forward(token, all_positions=True), f"step {step}")
    session.reset()
    assert list(session.generate(prompt, max_new_tokens=steps, stop_token_ids=[])) == [int(one[0, 0]) for one in tokens]
    session.reset()
    assert np.abs(session.forward(prompt.input_ids, all_positions=True) - prefill).max() > 0.01


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
