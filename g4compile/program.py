"""A model as named parts, each a graph with its own facts, over the weights of one checkpoint.

Today every program has one part, the decoder. `bind` attaches a checkpoint to the weight references of all parts, and
accounts for every tensor that the checkpoint stores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

from g4compile.errors import CheckpointError, InputError
from g4compile.model.config import ModelFacts, TextFacts
from g4compile.model.contents import DECODER, UNUSED, contents
from g4compile.model.towers import TowerFacts
from g4compile.weights.checkpoint import Checkpoint
from g4compile.weights.references import CheckpointTensor, lazy_initializers
from g4compile.weights.stored import companions, stored_codes

_FLOATS = ("F64", "F32", "F16", "BF16")  # safetensors' names


@dataclass(frozen=True)
class Part:
    """One graph of a program, and the facts that it was made from. ``name``: decoder, vision or audio."""

    name: str
    model: ir.Model
    facts: TextFacts | TowerFacts


@dataclass(frozen=True)
class Program:
    """``parts`` by name, of the model that ``facts`` describe."""

    facts: ModelFacts
    parts: Mapping[str, Part]

    @classmethod
    def decoder(cls, model: ir.Model, facts: ModelFacts) -> Program:
        """The decoder's graph alone."""
        return cls(facts, {DECODER: Part(DECODER, model, facts.text)})

    @property
    def left_out(self) -> tuple[str, ...]:
        """Parts that the config describes and this program does not have."""
        return tuple(part for part in contents(self.facts).parts if part not in self.parts)


def bind(program: Program, checkpoint: Checkpoint) -> tuple[str, ...]:
    """Attach ``checkpoint`` to every weight reference of ``program``; the names of the parts that are left out.

    Raises CheckpointError for a missing tensor, a wrong shape (both shapes named), a dtype that cannot be read, and a
    tensor that no part of the model reads. Skipped are tensors of parts left out, and those that the model's contents
    name as stored and unused. Raises InputError for a part that the config does not describe.
    """
    expected = contents(program.facts)
    for name in program.parts:
        if name not in expected.parts:
            raise InputError(f"the model has no part {name}", fix=f"its config describes: {', '.join(expected.parts)}")
    read: set[str] = set()
    for part in program.parts.values():
        for tensor in lazy_initializers(part.model).values():
            tensor.source = checkpoint
            read.update(_read(tensor, checkpoint))
    left_out = program.left_out
    for key in sorted(set(checkpoint.tensors) - read):
        if expected.part_of(key) not in (*left_out, UNUSED):
            raise CheckpointError(
                f"unexpected tensor {key}: no part of this model reads it",
                where=str(checkpoint.tensors[key].file),
                fix="check that config.json belongs to these weights",
            )
    return left_out


def _read(tensor: CheckpointTensor, checkpoint: Checkpoint) -> tuple[str, ...]:
    """Keys of all that ``tensor`` reads, checked."""
    wanted = tensor.stored_shape
    codes = stored_codes(checkpoint, tensor.key, wanted) if checkpoint.facts.quantization else None
    if codes is not None:
        return tuple(companions(checkpoint, codes))
    stored = checkpoint.tensors.get(tensor.key)
    if stored is None:
        raise CheckpointError(
            f"the checkpoint has no tensor {tensor.key}",
            where=str(checkpoint.folder),
            why=_near(tensor.key, checkpoint),
        )
    if stored.dtype not in _FLOATS:
        raise CheckpointError(
            f"tensor {tensor.key} is stored as {stored.dtype}, which is no float and no code this version reads",
            where=str(stored.file),
            fix="codes need their scale beside them and quant_method gemma in config.json",
        )
    if stored.shape != wanted:
        raise CheckpointError(
            f"tensor {tensor.key} has shape {list(stored.shape)}, the config asks for {list(wanted)}",
            where=str(stored.file),
        )
    return (tensor.key,)


def _near(key: str, checkpoint: Checkpoint) -> str:
    tail = key.rsplit("layers.", maxsplit=1)[-1]
    similar = [other for other in checkpoint.tensors if other.endswith(tail)]
    return f"it has {similar[0]}" if similar else ""
