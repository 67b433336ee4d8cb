"""The standard scenario of numeric tests: a prompt of three windows, then 120 greedy steps past them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from g4compile.compare.parity import LIMITS, Meter
from g4compile.compare.reference import Reference
from g4compile.runtime.session import Session
from g4compile.weights.checkpoint import Checkpoint

STEPS = 120
Array = np.ndarray[Any, Any]
Forward = Callable[[Array], Array]


@dataclass(frozen=True)
class Expected:
    """``prompt`` [B, 3W]; ``prefill`` its logits; ``tokens`` [B, steps] greedy; ``decode`` the logits after each."""

    prompt: Array
    prefill: Array
    tokens: Array
    decode: Array

    @property
    def window(self) -> int:
        return self.prompt.shape[1] // 3


def window_of(checkpoint: Checkpoint) -> int:
    return next((layer.window for layer in checkpoint.facts.text.layers if layer.window), 8)


def reference_logits(checkpoint: Checkpoint, batch: int, steps: int = STEPS) -> dict[str, Array]:
    """Run HF eager float32 over the scenario."""
    reference = Reference(checkpoint.folder)
    prompt = np.random.default_rng(batch).integers(
        0, checkpoint.facts.text.vocab_size, (batch, 3 * window_of(checkpoint))
    )
    prefill = reference.forward(prompt)
    last, tokens, decode = prefill[:, -1:], [], []
    for _ in range(steps):
        tokens.append(last.argmax(-1))
        last = reference.forward(tokens[-1])
        decode.append(last)
    return {
        "prompt": prompt,
        "prefill": prefill,
        "tokens": np.concatenate(tokens, 1),
        "decode": np.concatenate(decode, 1),
    }


def reference_scatter(checkpoint: Checkpoint, expected: Expected) -> float:
    """How far HF is from itself when it runs the prompt and all tokens at once, not step by step."""
    whole = Reference(checkpoint.folder).forward(np.concatenate([expected.prompt, expected.tokens], 1))
    return float(np.abs(whole[:, expected.prompt.shape[1] :] - expected.decode).max())


def compare_session(reference: Reference, session: Session, prompt: Array, steps: int, chunks: Iterable[int]) -> Meter:
    """Prefill, greedy decode by the reference's choice, and the prefill again in chunks of each size."""
    meter = Meter()
    want = reference.forward(prompt)
    meter.add(want, session.forward(prompt, all_positions=True))
    last = want[:, -1:]
    for _ in range(steps):
        token = last.argmax(-1)
        last = reference.forward(token)
        meter.add(last, session.forward(token, all_positions=True))
    for chunk in chunks:
        session.reset()
        for start in range(0, prompt.shape[1], chunk):
            piece = slice(start, start + chunk)
            meter.add(want[:, piece], session.forward(prompt[:, piece], all_positions=True))
    return meter


def chunk_sizes(window: int) -> list[int]:
    return sorted({1, 7, window - 1, window, window + 1} - {0})


def assert_equal(reference: Array, ours: Array, what: str) -> None:
    """Within the float32 limits: differences, KL, and every top-1 token."""
    meter = Meter()
    meter.add(reference, ours)
    parity = meter.result()
    assert not parity.broken(LIMITS["float32"]), f"{what}: {parity}"


def run_scenario(expected: Expected, forward: Forward, reset: Callable[[], None]) -> None:
    """Whole prefill and decode, then every chunk size, each from an empty state and followed by a few steps."""
    reset()
    assert_equal(expected.prefill, forward(expected.prompt), "prefill")
    for step in range(expected.tokens.shape[1]):
        assert_equal(
            expected.decode[:, step : step + 1], forward(expected.tokens[:, step : step + 1]), f"decode step {step}"
        )
    for chunk in chunk_sizes(expected.window):
        reset()
        pieces = [
            forward(expected.prompt[:, start : start + chunk]) for start in range(0, expected.prompt.shape[1], chunk)
        ]
        assert_equal(expected.prefill, np.concatenate(pieces, 1), f"chunks of {chunk}")
        for step in range(3):
            assert_equal(
                expected.decode[:, step : step + 1],
                forward(expected.tokens[:, step : step + 1]),
                f"decode step {step} after chunks of {chunk}",
            )
