"""`verify`: a bundle against the HF module in float32, over prefill, decode, chunked prefill, and a prompt with each
modality. Two questions, two modules.

Is the compiler right? The module holds what the bundle's codes stand for, so that the comparison is of the computation
alone. What does quantisation cost? The module holds the checkpoint's original weights. One module is in memory at a
time.
"""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from g4compile.bundle.folder import Bundle
from g4compile.bundle.kv import BFLOAT16, FLOAT32, INT8
from g4compile.bundle.manifest import Manifest
from g4compile.compare.compiled_from import check_compiled_from
from g4compile.compare.dequantized import dequantized, holds_made_codes
from g4compile.compare.localize import LayerDifference, localize
from g4compile.compare.modalities import FeatureParity, broken_features, compare_features, media_prompts
from g4compile.compare.parity import Meter, Parity, limits_of, rounded_kv
from g4compile.compare.reference import Reference
from g4compile.compare.report import Report
from g4compile.errors import InputError
from g4compile.model.contents import PARTS
from g4compile.runtime.features import Encoders
from g4compile.runtime.prompt import Prompt
from g4compile.targets import target_named
from g4compile.targets.base import Answering
from g4compile.weights.checkpoint import Checkpoint
from g4compile.weights.identity import compare_codes
from g4compile.weights.stored import STORED

Ids = np.ndarray[Any, Any]
Progress = Callable[[str], None]
_FIRST_ORDINARY_ID = 238  # below are control tokens of the published vocabulary


@dataclass(frozen=True)
class _Trial:
    """Random ``ids`` [B, S], ``new_tokens`` steps after them, and the prompt again in pieces of ``chunk`` tokens;
    prompts with ``media`` by modality."""

    ids: Ids
    new_tokens: int
    chunk: int
    media: dict[str, Prompt]
    threads: int


def verify(  # noqa: PLR0913 - the public call
    bundle: Bundle | str | Path,
    checkpoint: str | Path,
    *,
    prompt_tokens: int | None = None,
    new_tokens: int = 16,
    batch: int = 1,
    seed: int = 0,
    threads: int = 0,
    layers: bool = False,
    progress: Progress = lambda text: None,
) -> Report:
    """Run both on the same random token ids and compare all logits.

    ``prompt_tokens``: default three windows, at most 512. ``layers``: also compare the output of every decoder
    layer at the last position. Holds one HF module in memory at a time. Raises the errors of loading either side.
    """
    opened = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
    source = Checkpoint.open(checkpoint)
    check_compiled_from(opened.manifest, source)
    trial = _trial(opened.manifest, prompt_tokens, new_tokens, batch, seed, threads)
    progress = _numbered(progress, _count(opened, layers))
    session, rounded = _conversations(opened, checkpoint, layers, threads, progress)
    judged = _judge(opened, checkpoint, session, rounded, trial, layers, progress)
    gc.collect()  # the judge is no longer referred to, and its parts refer to each other
    cost = _quantisation_cost(opened, checkpoint, session, trial, progress) if holds_made_codes(opened) else None
    limits = limits_of(opened.manifest, experts=source.facts.text.moe is not None)
    broken = tuple(f"{name}: {text}" for name, result in judged.parity.items() for text in result.broken(limits))
    broken += broken_features(judged.features, opened.manifest)
    codes = compare_codes(opened, checkpoint)
    if codes is not None and codes.different:
        broken = (*broken, f"weights: {codes}")
    return Report(
        judge=_judge_in_words(opened),
        parity=judged.parity,
        limits=limits,
        broken=broken,
        quantisation_cost=None if cost is None else cost.parity,
        layers=judged.layers,
        codes=str(codes or ""),
        kv_cost=judged.kv_cost,
        rounded=judged.rounded,
        features=judged.features,
        left_out=tuple(one for one in opened.manifest.modalities if one in PARTS and one not in judged.features),
        feature_cost=None if cost is None else cost.features,
    )


def _count(bundle: Bundle, layers: bool) -> int:
    """How many pieces of work `verify` reports: opening, loading and three scenarios, and what a bundle has beside
    them."""
    manifest = bundle.manifest
    extra = (layers, rounded_kv(manifest) != FLOAT32, manifest.engine is not None)
    modalities = len(media_prompts(manifest, 0))
    return 5 + sum(extra) + modalities + 2 * holds_made_codes(bundle)


def _numbered(progress: Progress, total: int) -> Progress:
    """``progress``, told which of ``total`` pieces of work begins."""
    numbers = itertools.count(1)
    return lambda text: progress(f"step {next(numbers)} of {total}: {text}")


def _trial(
    manifest: Manifest, prompt_tokens: int | None, new_tokens: int, batch: int, seed: int, threads: int
) -> _Trial:
    window = max((layer.window or 1 for layer in manifest.kv.layers), default=1)
    room = manifest.context - new_tokens
    if room < 1:
        raise InputError(
            f"{new_tokens} new tokens leave no room for a prompt in this bundle's context of {manifest.context}",
            fix=f"--new-tokens below {manifest.context}",
        )
    length = min(3 * window, 512, room) if prompt_tokens is None else prompt_tokens
    if not 1 <= length <= room:
        raise InputError(
            f"a prompt of {length} tokens and {new_tokens} new ones do not go into this bundle's context of "
            f"{manifest.context}",
            fix=f"--prompt-tokens between 1 and {room}",
        )
    random = np.random.default_rng(seed)
    ids = random.integers(
        min(_FIRST_ORDINARY_ID, manifest.vocab_size // 2), manifest.vocab_size, (batch, length), dtype=np.int64
    )
    chunk = max(1, min(window + 1, length // 2))
    return _Trial(ids, new_tokens, chunk, media_prompts(manifest, seed), threads)


def _conversations(
    bundle: Bundle, checkpoint: str | Path, layers: bool, threads: int, progress: Progress
) -> tuple[Answering, Answering | None]:
    """Who is compared; of engines also the same networks, every value rounded as they declare."""
    if layers and bundle.manifest.engine is not None:
        raise InputError("engines give no layer's output", fix="leave --localize away, or localise an onnx-cpu bundle")
    if layers and bundle.manifest.cuda is not None:
        raise InputError(
            "a graph for CUDA gives no layer's output", fix="leave --localize away, or localise an onnx-cpu bundle"
        )
    progress("open the bundle")
    found = target_named(bundle.manifest.target).candidates(bundle, checkpoint, threads)
    return found.session, found.rounded


@dataclass(frozen=True)
class _Judged:
    parity: dict[str, Parity]
    layers: tuple[LayerDifference, ...]
    kv_cost: Parity | None
    rounded: Parity | None
    features: dict[str, FeatureParity]


@dataclass(frozen=True)
class _Cost:
    parity: dict[str, Parity]
    features: dict[str, FeatureParity]


def _judge(
    bundle: Bundle,
    checkpoint: str | Path,
    session: Answering,
    rounded: Answering | None,
    trial: _Trial,
    layers: bool,
    progress: Progress,
) -> _Judged:
    """All that needs the HF module with the weights that the bundle's codes stand for."""
    progress("load the Hugging Face module in float32")
    reference, ids = Reference(checkpoint, dequantized(bundle), kv=rounded_kv(bundle.manifest)), trial.ids
    if reference.vocabulary != bundle.manifest.vocab_size:
        raise InputError(
            f"the bundle has a vocabulary of {bundle.manifest.vocab_size:,} tokens, and the checkpoint one of "
            f"{reference.vocabulary:,}",
            where=str(checkpoint),
            fix="give the checkpoint that the bundle was compiled from",
        )
    progress("prefill")
    expected = reference.forward(ids)
    parity = {"prefill": _compare(expected, session.forward(ids, all_positions=True))}
    progress("decode")
    parity["decode"] = _decode(reference, session, expected[:, -1:], trial.new_tokens)
    progress("chunked prefill")
    parity["chunked_prefill"] = _chunked(session, ids, expected, trial.chunk)
    features = {}
    for modality, prompt in trial.media.items():
        progress(f"a prompt with {modality}")
        rows = _rows(bundle, prompt, trial.threads)
        features[modality] = compare_features(reference.features(prompt), rows)
        session.reset()
        parity[modality] = _compare(reference.answer(prompt, rows), session.forward(prompt, all_positions=True))
    found: tuple[LayerDifference, ...] = ()
    if layers:
        progress("compare layer by layer")
        found = localize(bundle, reference, ids)
    kv_cost = bfloat16 = None
    if rounded_kv(bundle.manifest) != FLOAT32:
        progress("what the rounded KV cache costs")
        kv_cost = _compare(reference.unrounded(ids), expected)
    if rounded is not None:
        progress("prefill with everything rounded as declared")
        bfloat16 = _compare(expected, rounded.forward(ids, all_positions=True))
    return _Judged(parity, found, kv_cost, bfloat16, features)


def _rows(bundle: Bundle, prompt: Prompt, threads: int) -> Ids:
    """The bundle's features of the image, or the sound, of ``prompt``. The judge answers with them too: each difference
    is counted once, in the encoder or behind it."""
    made = Encoders(bundle, threads).features(np.asarray(prompt.input_ids)[None], prompt.media)
    assert made is not None
    return made.rows


def _quantisation_cost(
    bundle: Bundle, checkpoint: str | Path, session: Answering, trial: _Trial, progress: Progress
) -> _Cost:
    """The same prompt and as many steps against the module as the checkpoint has it, its KV cache in float32."""
    progress("load the Hugging Face module with the original weights")
    reference = Reference(checkpoint)
    progress("what quantisation costs")
    session.reset()
    expected = reference.forward(trial.ids)
    cost = {"prefill": _compare(expected, session.forward(trial.ids, all_positions=True))}
    cost["decode"] = _decode(reference, session, expected[:, -1:], trial.new_tokens)
    features = {
        name: compare_features(reference.features(prompt), _rows(bundle, prompt, trial.threads))
        for name, prompt in trial.media.items()
    }
    return _Cost(cost, features)


def _judge_in_words(bundle: Bundle) -> str:
    manifest = bundle.manifest
    held = "the checkpoint's weights"
    if manifest.weights == STORED:
        held = "the checkpoint's own codes, which the bundle holds too"
    elif holds_made_codes(bundle):
        held = "the dequantised weights: what the bundle's codes stand for, not the checkpoint's original weights"
    kept = {FLOAT32: "", BFLOAT16: "to bfloat16", INT8: "to 8 bits"}[rounded_kv(manifest)]
    rounded = f"; keys and values rounded {kept}, as the bundle's are" if kept else ""
    return f"Hugging Face eager float32 with {held}{rounded}"


def _compare(expected: Ids, ours: Ids) -> Parity:
    meter = Meter()
    meter.add(expected, ours)
    return meter.result()


def _decode(reference: Reference, session: Answering, last: Ids, count: int) -> Parity:
    """Both continue with the reference's choice, so that one flipped token is not counted again and again."""
    meter = Meter()
    for _ in range(count):
        token = last.argmax(-1).astype(np.int64)
        last = reference.forward(token)
        meter.add(last, session.forward(token, all_positions=True))
    return meter.result()


def _chunked(session: Answering, ids: Ids, expected: Ids, chunk: int) -> Parity:
    session.reset()
    meter = Meter()
    for start in range(0, ids.shape[1], chunk):
        piece = slice(start, start + chunk)
        meter.add(expected[:, piece], session.forward(ids[:, piece], all_positions=True))
    return meter.result()
