"""A model as named parts, each a graph with its own facts, over the weights of one checkpoint.

Today every program has one part, the decoder. `bind` attaches a checkpoint to the weight references of all parts, and
accounts for every tensor that the checkpoint stores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

from g4compile.errors import InputError
from g4compile.model.config import ModelFacts, TextFacts
from g4compile.model.contents import DECODER, contents, tower_facts
from g4compile.model.towers import TowerFacts
from g4compile.weights.checkpoint import Checkpoint
from g4compile.weights.fit import check_known, check_tensor
from g4compile.weights.references import lazy_initializers


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

    @classmethod
    def of(cls, models: Mapping[str, ir.Model], facts: ModelFacts) -> Program:
        """The graphs ``models`` of parts that the config describes, by name. Raises InputError for another."""
        beside = tower_facts(facts)
        parts = {}
        for name, model in models.items():
            if name != DECODER and name not in beside:
                raise InputError(f"the model has no part {name}", fix=f"its config describes: {[DECODER, *beside]}")
            parts[name] = Part(name, model, facts.text if name == DECODER else beside[name])
        return cls(facts, parts)

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
            read.update(check_tensor(checkpoint, tensor.key, tensor.stored_shape))
    left_out = program.left_out
    check_known(checkpoint, read, left_out)
    return left_out
