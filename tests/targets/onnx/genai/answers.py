"""What our sessions say where onnxruntime-genai was asked."""

from __future__ import annotations

from typing import Any

import numpy as np

from g4compile.bundle.folder import Bundle
from g4compile.runtime.session import Session

# Of logits of about 10 in float32: prompts in other pieces sum in another order, and differ by up to 1.5e-5.
LIMIT = 1e-4


def random_ids(count: int, seed: int = 0) -> list[int]:
    """A prompt of ids without special ones."""
    return [2, *np.random.default_rng(seed).integers(110, 990, count - 1).tolist()]


def assert_answers(bundle: Bundle, prompts: list[Any], tokens: Any, logits: Any) -> None:
    """Hold ``tokens`` [T] and ``logits`` [T, V] of one sequence against a session of ``bundle``: ``prompts`` one after
    the other, each with an equal share of the tokens behind it. None of these ends the answer."""
    session, share = Session(bundle, threads=1), len(tokens) // len(prompts)
    assert not set(tokens[:-1].tolist()) & set(bundle.manifest.stop_token_ids)
    for number, prompt in enumerate(prompts):
        said = session.forward(prompt)
        for step in range(number * share, (number + 1) * share):
            assert np.abs(said - logits[step]).max() < LIMIT, step
            assert said.argmax() == tokens[step], step
            said = session.forward([int(tokens[step])])
