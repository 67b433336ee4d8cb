"""Kinds of steps an engine is compiled for: one network each, all over the same weights and caches.

| step | tokens | logits of | experts | heads above 256 |
|---|---|---|---|---|
| decode | 1 | the one | gathered; with plugins kernels | products |
| verify | 8, a drafter's | all | gathered; with plugins kernels | products |
| prefill-short | 128, where a chunk is more than 256 | one that an input names | as prefill | as prefill |
| prefill | a chunk | one that an input names | dense; with plugins kernels | products; with plugins a kernel |

A step has one number of tokens: TensorRT 11.1 and 11.2 load the code of a kernel of ours again at every change of
shape, and keep all copies (TensorRT issue 4849); and a run of fixed shapes is one CUDA graph. Fewer tokens are filled
up behind the last (`runtime/engine_steps.py`). A chunk that takes longer than its weights are read, more than about 256
tokens, is too much for a short prompt or a rest: hence prefill-short.

They are networks of their own, not profiles of one: with one token, sums of products beat matrix products in wide
heads, and experts are looked up rather than all run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from g4compile.bundle.media import BUDGETS
from g4compile.errors import InputError
from g4compile.model.config import TextFacts
from g4compile.passes.lower_moe_to_gather_scatter import DENSE, GATHER
from g4compile.passes.schedule_step import ALL, ONE

Sizes = Mapping[str, tuple[int, int, int]]  # least, usual and most of dynamic sizes, by name
KERNELS = "kernels"  # a form of experts: ops of kernels of ours
VERIFY, SHORT = 8, 128  # tokens
_LONG = 256  # tokens of a chunk, from which on a shorter step is worth its plan


@dataclass(frozen=True)
class Step:
    """``tokens``: new ones of each run. ``keep``: which positions have logits. ``experts``: the MoE's form. ``flash``:
    heads that no layer attends have a kernel of ours."""

    name: str
    tokens: int
    keep: str
    experts: str
    flash: bool = False

    def sizes(self, batch: int) -> Sizes:
        """Of a plan for up to ``batch`` sequences."""
        return {"batch": (1, batch, batch)}


@dataclass(frozen=True)
class Capacities:
    """What engines are built for: ``context`` tokens per sequence, up to ``batch`` sequences, ``chunk`` tokens per
    prefill step, and whether prompts have ``images``."""

    context: int
    batch: int = 1
    chunk: int = 128
    images: bool = False

    def whole(self, facts: TextFacts) -> bool:
        """Whether sliding layers have a slot for each token: tokens of an image that see each other are written at
        once, wherever they begin, and a ring cannot wrap inside a chunk."""
        return self.images and bool(facts.image_blocks)

    def ring(self, facts: TextFacts) -> int:
        """Slots of a sliding layer: the window before a chunk and the chunk, in whole chunks, so that no chunk
        wraps; all tokens where layers are `whole`."""
        if self.whole(facts):
            return -(-self.context // self.chunk) * self.chunk
        window = max((layer.window for layer in facts.layers if layer.window), default=1)
        return -(-(window - 1 + self.chunk) // self.chunk) * self.chunk

    def check(self, facts: TextFacts, most_dense: int | None) -> None:
        """Raise InputError for what no engine can do. ``most_dense``: tokens of a chunk where all experts run on
        all."""
        if not 1 <= self.batch <= 64:
            raise InputError(f"a batch of {self.batch} sequences is not possible", fix="--batch between 1 and 64")
        if self.chunk <= VERIFY or self.chunk & (self.chunk - 1):
            raise InputError(
                f"chunks of {self.chunk} tokens do not divide a ring of slots in every state",
                why=f"a chunk is a power of two, and more than the {VERIFY} tokens of a verify step",
                fix="--chunk 64, 128, 256 or 512",
            )
        if self.context < self.chunk:
            shorter = 1 << (self.context.bit_length() - 1)
            fits = f"--chunk {shorter}, or " if shorter > VERIFY else ""
            raise InputError(
                f"a context of {self.context} tokens does not hold a chunk of {self.chunk}",
                why="a step writes a chunk into the caches at once",
                fix=f"{fits}--context {self.chunk} or more",
            )
        if self.whole(facts) and self.chunk < BUDGETS[0]:
            raise InputError(
                f"chunks of {self.chunk} tokens hold no image of this model",
                why=f"tokens of an image see each other, so they are one chunk, and images take {BUDGETS[0]} and more",
                fix="--chunk 128, or 512 for images of the default budget",
            )
        if facts.moe is not None and most_dense is not None and self.chunk > most_dense:
            raise InputError(
                f"chunks of {self.chunk} tokens are too long for this model here",
                why=f"all experts run on all tokens of a chunk, which is bounded to {most_dense}",
                fix=f"--chunk {most_dense}",
            )


def forms(plugins: bool) -> tuple[str, str]:
    """Of the experts, for a few tokens and for many."""
    return (KERNELS, KERNELS) if plugins else (GATHER, DENSE)


def steps(capacities: Capacities, plugins: bool) -> tuple[Step, ...]:
    """Those of a bundle, for a product with or without ``plugins``."""
    few, many = forms(plugins)
    short = Step("prefill-short", SHORT, ONE, many, flash=plugins)
    return (
        Step("decode", 1, ALL, few),
        Step("verify", VERIFY, ALL, few),
        *((short,) if capacities.chunk > _LONG else ()),
        Step("prefill", capacities.chunk, ONE, many, flash=plugins),
    )
