"""Stands around TensorRT's Python module and notes all that is used of it, so that another release can be asked for the
same.

`python -m tests.targets.tensorrt.recorder CHECKPOINT...` emits every step of each checkpoint through it, and prints the
notes.
"""

from __future__ import annotations

import contextlib
import enum
import inspect
import json
import sys
from dataclasses import replace
from typing import Any

from g4compile.model.contents import PARTS
from g4compile.program import Program, bind
from g4compile.targets.lower import lower
from g4compile.targets.lowering.split import split_embedding
from g4compile.targets.tensorrt.attention_forms import FOLDED, FUSED, SELECT
from g4compile.targets.tensorrt.build import EngineBuilder
from g4compile.targets.tensorrt.edition import FULL, RTX
from g4compile.targets.tensorrt.interpreter.plugged import PluggedBuilder, PluggedNetwork, stand_in
from g4compile.targets.tensorrt.refusal import Refusal
from g4compile.targets.tensorrt.target import EngineTarget
from g4compile.trace.trace import trace
from g4compile.weights.checkpoint import Checkpoint


def is_enum(kind: Any) -> bool:
    return inspect.isclass(kind) and hasattr(kind, "__members__")


class Recorder:
    """``notes``: (class, method, argument classes), (class, attribute read or set), (enum, member)."""

    def __init__(self, module: Any) -> None:
        self._module, self.notes = module, set()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._module, name)
        if is_enum(found):
            return EnumProxy(self, found)
        if is_enum(type(found)):
            self.notes.add(("member", type(found).__name__, found.name))
            return found
        self.notes.add(("name", name))
        return ClassProxy(self, found) if inspect.isclass(found) and name == "Weights" else found

    def wrap(self, value: Any) -> Any:
        kind = type(value)
        foreign = kind.__module__.startswith("tensorrt") and not is_enum(kind) and not isinstance(value, enum.Enum)
        return Proxy(self, value) if foreign and kind.__name__ not in ("Dims", "Weights", "IHostMemory") else value


class EnumProxy:
    def __init__(self, recorder: Recorder, kind: Any) -> None:
        self._recorder, self._kind = recorder, kind

    def __getattr__(self, name: str) -> Any:
        self._recorder.notes.add(("member", self._kind.__name__, name))
        return getattr(self._kind, name)


class ClassProxy:
    def __init__(self, recorder: Recorder, kind: Any) -> None:
        self._recorder, self._kind = recorder, kind

    def __call__(self, *arguments: Any) -> Any:
        self._recorder.notes.add(("call", self._kind.__name__, "__init__", tuple(map(describe, arguments))))
        return self._kind(*arguments)


class Proxy:
    def __init__(self, recorder: Recorder, value: Any) -> None:
        self.__dict__.update(_recorder=recorder, _value=value)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._value, name)
        kind = type(self._value).__name__
        if not callable(found) or is_enum(type(found)):
            self._recorder.notes.add(("attribute", kind, name))
            return self._recorder.wrap(found)

        def call(*arguments: Any) -> Any:
            given = [plain(argument) for argument in arguments]
            self._recorder.notes.add(("call", kind, name, tuple(map(describe, given))))
            return self._recorder.wrap(found(*given))

        return call

    def __setattr__(self, name: str, value: Any) -> None:
        self._recorder.notes.add(("attribute", type(self._value).__name__, name))
        setattr(self._value, name, plain(value))


def plain(value: Any) -> Any:
    if isinstance(value, Proxy):
        return value._value
    return [plain(item) for item in value] if isinstance(value, list) else value


def describe(value: Any) -> str:
    return type(value).__name__


DTYPES = {"BF16": "bfloat16", "FLOAT": "float32", "INT32": "int32"}  # of the members, the names that modules have


class Network(PluggedNetwork):
    """Notes the plugins that are asked for: (launch, dtypes and ranks of operands)."""

    def __init__(self, recorder: Recorder, network: Any) -> None:
        super().__init__(network)
        self.__dict__["_recorder"] = recorder

    def add_plugin(self, call: Any, aot: bool) -> Any:
        notes = self._recorder.notes
        notes.add(("call", "INetworkDefinition", "add_plugin", ("function", describe(aot))))
        operands = tuple((DTYPES[plain(tensor.dtype).name], len(tensor.shape)) for tensor in call.operands)
        notes.add(("plugin", call.launch.text, operands))
        return super().add_plugin(call, aot)


class Builder(PluggedBuilder):
    def __init__(self, recorder: Recorder, builder: Any) -> None:
        super().__init__(builder)
        self._recorder = recorder

    def create_network(self, flags: int) -> Network:
        return Network(self._recorder, self._builder.create_network(flags))


def record(folders: list[str]) -> Recorder:
    recorder = Recorder(RTX.load())
    made = EngineBuilder(FULL, recorder, stand_in)
    made.builder = Builder(recorder, recorder.wrap(made.builder))
    for folder in folders:
        checkpoint = Checkpoint.open(folder)
        parts = ["decoder", *(PARTS[kind] for kind in checkpoint.facts.modalities if kind in PARTS)]
        graphs = {part: trace(checkpoint.facts, part=part) for part in parts}
        for fused_head, weights, ranks, attention in (
            (FULL.fused.head, "int4", 1, FUSED),
            (FULL.fused.head, "bfloat16", 1, FOLDED),
            (FULL.fused.head, "bfloat16", 2, FUSED),
            (16, "bfloat16", 1, SELECT),
        ):
            target = EngineTarget(replace(FULL, fused=replace(FULL.fused, head=fused_head)))
            options = target.options(
                context=128,
                batch=1 if weights == "int4" else 2,  # kernels of one row, and sizes that change
                chunk=16,
                weights=weights,
                tensor_parallel=ranks,
                attention=attention,
                modalities=checkpoint.facts.modalities,
            )
            program = Program.of({part: graph.clone() for part, graph in graphs.items()}, checkpoint.facts)
            bind(program, checkpoint)
            for lowered in lower(program, target, options):
                if lowered.variant.part != "decoder":
                    made.network(lowered.model.graph)
                    continue
                one = made.network(split_embedding(lowered.model)["decoder"].graph)
                if fused_head == FULL.fused.head:
                    continue
                step = next(step for step in target.steps(options) if step.name == lowered.variant.name)
                # Full TensorRT is told no compute capability, and RTX then wants a GPU: what is used before is noted.
                with contextlib.suppress(Refusal):
                    made.plan(replace(one, network=one.network._network), step.name, [step.sizes(options.batch)])
    return recorder


if __name__ == "__main__":
    print(json.dumps(sorted(record(sys.argv[1:]).notes, key=repr)))
