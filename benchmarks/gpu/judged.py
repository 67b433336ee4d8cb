"""Engines of a checkpoint beside Hugging Face: what `rungs.py` compares."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

FULL, RTX = "tensorrt", "tensorrt-rtx"
CONTEXT, CHUNK, STEPS = 256, 32, 80  # of tiny models, whose windows and rings are shorter than their steps
Figures = dict[str, Any]
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Site:
    """Where and for what the ladder is climbed: see `first_run.py`. ``context`` and ``chunk`` of the last rung."""

    work: Path
    target: str
    largest: str
    stand_in: str | None
    context: int = 8192
    chunk: int = 1024

    def arguments(self) -> list[str]:
        """Of the command that climbs one rung here."""
        given = {"target": self.target, "largest": self.largest, "context": self.context, "chunk": self.chunk}
        words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
        return words + (["--stand-in", self.stand_in] if self.stand_in else [])

    def prepare(self) -> None:
        """Put what stands in for TensorRT in its place, if anything does."""
        if self.stand_in:
            import_module(self.stand_in).install()

    def checkpoint(self, preset: str) -> Path:
        """The folder of a checkpoint of random bfloat16 weights, made once."""
        from g4compile.synth.checkpoint import synthesize

        folder = self.work / "checkpoints" / preset
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            synthesize(preset, folder, dtype="bfloat16")
        return folder


@dataclass(frozen=True)
class Scenario:
    """``batch`` sequences of ``count`` given tokens, one by one, behind a ``prompt`` of so many; ``all_positions`` of
    each piece have logits. A mean over few positions says as much of luck as of rounding, and with experts a rounding
    decides which of two nearly equal ones is taken, and so all that follows: hence many short ``conversations``."""

    batch: int = 1
    prompt: int = 8
    count: int = 0
    conversations: int = 1
    all_positions: bool = False

    def talks(self, vocabulary: int) -> list[list[Array]]:
        """The pieces of each conversation, int64 [batch, tokens]."""
        shape = (self.conversations, self.batch, self.prompt + self.count)
        found = []
        for ids in np.random.default_rng(self.batch).integers(10, vocabulary, shape):
            found.append([ids[:, : self.prompt], *(ids[:, at : at + 1] for at in range(self.prompt, shape[-1]))])
        return found


def capabilities(site: Site) -> tuple[int, ...]:
    """What TensorRT-RTX is told to build for; full TensorRT builds for the GPU at hand."""
    from g4compile.targets.tensorrt.gpu import gpu_capability

    return (gpu_capability() or 89,) if site.target == RTX else ()


@contextmanager
def only(steps: tuple[str, ...]) -> Iterator[None]:
    """Bundles of some ``steps`` alone, which compile does not make otherwise: what is built first should be little."""
    from g4compile.targets.tensorrt.target import EngineTarget

    whole = EngineTarget.steps
    with mock.patch.object(
        EngineTarget, "steps", lambda self, options: tuple(one for one in whole(self, options) if one.name in steps)
    ):
        yield


def opened(site: Site, preset: str, name: str, steps: tuple[str, ...], **options: Any) -> tuple[Any, Any, Figures]:
    """A session over engines of ``preset``, its bundle, and what building took."""
    import g4compile

    checkpoint, folder = site.checkpoint(preset), site.work / "bundles" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    with only(steps):
        given = {"context": CONTEXT, "chunk": CHUNK, "compute_capabilities": capabilities(site) or None, **options}
        bundle = g4compile.compile(checkpoint, site.target, folder, force=True, **given)
    built, start = time.perf_counter() - start, time.perf_counter()
    session = g4compile.load(bundle.folder, checkpoint=checkpoint)
    taken = "/".join(dict.fromkeys(step.attention for step in bundle.manifest.engine.steps))
    return session, bundle, {"build_s": built, "load_s": time.perf_counter() - start, "attention": taken}


def compared(site: Site, preset: str, name: str, steps: tuple[str, ...], scenario: Scenario, **options: Any) -> Figures:
    """Errors of engines over ``scenario``: their mean beside that of Hugging Face in bfloat16, as its share."""
    session, bundle, figures = opened(site, preset, name, steps, batch=scenario.batch, **options)
    talks = scenario.talks(min(bundle.manifest.vocab_size, 900))
    ours = []
    try:
        for pieces in talks:
            session.reset()
            ours += [_rows(session.forward(piece, all_positions=scenario.all_positions)) for piece in pieces]
    finally:
        session.close()
    exact, narrow = judges(site.checkpoint(preset), bundle, talks, scenario.all_positions)
    error, theirs = (np.mean([np.abs(a - b).mean() for a, b in zip(one, exact, strict=True)]) for one in (ours, narrow))
    top = np.mean([(a.argmax(-1) == b.argmax(-1)).mean() for a, b in zip(ours, exact, strict=True)])
    return {**figures, "share": float(error / theirs), "mean_error": float(error), "top1": float(top)}


def _rows(logits: Array) -> Array:
    """float32 [rows, V]."""
    return np.asarray(logits, np.float32).reshape(-1, logits.shape[-1])


def judges(
    checkpoint: Path, bundle: Any, talks: list[list[Array]], all_positions: bool
) -> tuple[list[Array], list[Array]]:
    """Logits [rows, V] behind each piece of ``talks``, or of all its positions: of Hugging Face in float32, and in
    bfloat16. Where the bundle has codes, with what they stand for."""
    import torch

    from g4compile.compare.dequantized import dequantized
    from g4compile.compare.reference import Reference

    found = []
    for dtype in (torch.float32, torch.bfloat16):
        model, logits = Reference(checkpoint, dequantized(bundle)).model.to(dtype), []
        with torch.no_grad():
            for pieces in talks:
                cache = None
                for piece in pieces:
                    out = model(input_ids=torch.from_numpy(piece), past_key_values=cache, use_cache=True)
                    cache, whole = out.past_key_values, out.logits.float().numpy()
                    logits.append(_rows(whole if all_positions else whole[:, -1]))
        found.append(logits)
    return found[0], found[1]
