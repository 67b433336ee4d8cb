"""`verify`: a bundle against the HF module in float32, over prefill, chunked prefill and decode.

The module of a quantised bundle holds what the codes stand for, so that the comparison is of the computation alone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from g4compile.bundle.folder import Bundle
from g4compile.compare.codes import compare_codes
from g4compile.compare.dequantized import dequantized
from g4compile.compare.localize import LayerDifference, localize
from g4compile.compare.parity import Limits, Meter, Parity, limits_of
from g4compile.compare.reference import Reference
from g4compile.errors import InputError
from g4compile.runtime.session import Session
from g4compile.targets.tensorrt.interpreter.session import NetworkSession

Ids = np.ndarray[Any, Any]
Progress = Callable[[str], None]
_FIRST_ORDINARY_ID = 238  # below are control tokens of the published vocabulary


class Report(msgspec.Struct, frozen=True):
    """``parity`` by scenario; ``broken`` lists what is over ``limits``; ``layers`` only when localised.

    ``codes``: of weights that the checkpoint holds as codes, how many the bundle has unchanged.
    ``rounded``: of an engine bundle, whose parity is that of its networks computed exactly: the same networks, every value
    rounded as they declare. ``kv_cost``: what a rounded KV cache changes: the reference with it against itself without, on the prompt.
    """

    parity: dict[str, Parity]
    limits: Limits
    broken: tuple[str, ...]
    layers: tuple[LayerDifference, ...] = ()
    codes: str = ""
    kv_cost: Parity | None = None
    rounded: Parity | None = None

    @property
    def passed(self) -> bool:
        return not self.broken

    @property
    def first_divergence(self) -> LayerDifference | None:
        """The first layer whose output is off, where layers were compared."""
        return next((layer for layer in self.layers if layer.diverges), None)


def verify(
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
    layer at the last position. Holds the HF module in memory. Raises the errors of loading either side.
    """
    opened = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
    manifest = opened.manifest
    window = max((layer.window or 1 for layer in manifest.kv.layers), default=1)
    length = min(prompt_tokens or min(3 * window, 512), manifest.context - new_tokens)
    if length < 1:
        raise InputError(
            f"{new_tokens} new tokens leave no room for a prompt in this bundle's context of {manifest.context}",
            fix=f"--new-tokens below {manifest.context}",
        )
    random = np.random.default_rng(seed)
    ids = random.integers(
        min(_FIRST_ORDINARY_ID, manifest.vocab_size // 2), manifest.vocab_size, (batch, length), dtype=np.int64
    )
    progress("load the Hugging Face module in float32")
    reference = Reference(checkpoint, dequantized(opened), kv=manifest.kv.dtype)
    rounded = None
    if manifest.engine is None:
        session: Session | NetworkSession = Session(opened, threads)
    else:
        if layers:
            raise InputError(
                "engines give no layer's output", fix="leave --localize away, or localise an onnx-cpu bundle"
            )
        from g4compile.compare.engines import network_sessions

        progress("emit the networks again")
        session, rounded = network_sessions(opened, checkpoint)
    progress("prefill")
    expected = reference.forward(ids)
    parity = {"prefill": _compare(expected, session.forward(ids, all_positions=True))}
    progress("decode")
    parity["decode"] = _decode(reference, session, expected[:, -1:], new_tokens)
    progress("chunked prefill")
    parity["chunked_prefill"] = _chunked(session, ids, expected, chunk=max(1, min(window + 1, length // 2)))
    limits = limits_of(manifest)
    broken = tuple(f"{name}: {text}" for name, result in parity.items() for text in result.broken(limits))
    codes = compare_codes(opened, checkpoint)
    if codes is not None and codes.different:
        broken = (*broken, f"weights: {codes}")
    found: tuple[LayerDifference, ...] = ()
    if layers:
        progress("compare layer by layer")
        found = localize(opened, reference, ids)
    cost = None
    if manifest.kv.dtype == "int8":
        progress("what the rounded KV cache costs")
        cost = _compare(reference.unrounded(ids), expected)
    bfloat16 = None
    if rounded is not None:
        progress("prefill with everything rounded as declared")
        bfloat16 = _compare(expected, rounded.forward(ids, all_positions=True))
    return Report(parity, limits, broken, found, str(codes or ""), cost, bfloat16)


def _compare(expected: Ids, ours: Ids) -> Parity:
    meter = Meter()
    meter.add(expected, ours)
    return meter.result()


def _decode(reference: Reference, session: Session | NetworkSession, last: Ids, count: int) -> Parity:
    """Both continue with the reference's choice, so that one flipped token is not counted again and again."""
    meter = Meter()
    for _ in range(count):
        token = last.argmax(-1).astype(np.int64)
        last = reference.forward(token)
        meter.add(last, session.forward(token, all_positions=True))
    return meter.result()


def _chunked(session: Session | NetworkSession, ids: Ids, expected: Ids, chunk: int) -> Parity:
    session.reset()
    meter = Meter()
    for start in range(0, ids.shape[1], chunk):
        piece = slice(start, start + chunk)
        meter.add(expected[:, piece], session.forward(ids[:, piece], all_positions=True))
    return meter.result()
