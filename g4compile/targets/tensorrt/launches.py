"""A plan as launches of one kernel each, which is what a plugin layer can hold: no memory of its own, no launch that
follows from sizes of run time. What one launch writes and another reads is an output of the first layer and an operand
of the second.

Words are those of plans (`docs/design/0010-onnx-cuda.md`), but `iN` and `oN` are of the layer: `iN.A` is size A of its
operand N. Sizes that are known are numbers already.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import onnx_ir as ir

from g4compile.errors import Defect
from g4compile.graph.stage import describe
from g4compile.targets.fused.expressions import ceiling, evaluated
from g4compile.targets.fused.plan import NULL, OUTPUTS
from g4compile.targets.fused.plans.registry import plan_of
from g4compile.targets.kernels.kernel import Kernel
from g4compile.targets.kernels.written import written

_BYTES = {"bf16": 2, "i32": 4, "fp32": 4}
_KINDS = {ir.DataType.BFLOAT16: "bf16", ir.DataType.FLOAT: "fp32", ir.DataType.INT32: "i32"}
Shape = Sequence[int]  # -1: a size that changes from run to run


@dataclass(frozen=True)
class Launch:
    """``kernel`` with ``arguments``, a word each. ``operands``: how many the layer has; the last may be there for its
    sizes alone. ``outputs``: their dtype (`bf16`, `fp32`, `i32`), and an expression a size."""

    kernel: Kernel
    arguments: tuple[str, ...]
    operands: int
    outputs: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def text(self) -> str:
        """All of it, as the attribute of a plugin."""
        return msgspec.json.encode(self, order="deterministic").decode()

    @classmethod
    def parse(cls, text: str) -> Launch:
        return msgspec.json.decode(text, type=cls)

    def integers(self, shapes: Sequence[Sequence[Any]], divide: Callable[[Any, int], Any] = ceiling) -> list[Any]:
        """The kernel's integer arguments, of the ``shapes`` of the operands."""
        words = zip(self.kernel.types, self.arguments, strict=True)
        return [evaluated(word, _of(shapes), divide) for (_, kind), word in words if kind == "i32"]

    def shapes(self, shapes: Sequence[Sequence[Any]], divide: Callable[[Any, int], Any] = ceiling) -> list[list[Any]]:
        """Those of the outputs, of the ``shapes`` of the operands."""
        return [[evaluated(size, _of(shapes), divide) for size in sizes] for _, sizes in self.outputs]


def grid_of(grid: Sequence[str], integers: Sequence[Any], divide: Callable[[Any, int], Any] = ceiling) -> list[Any]:
    """The ``grid`` of a way to run a kernel, of the launch's integers."""
    return [evaluated(size, lambda word: integers[int(word.removeprefix("a"))], divide) for size in grid]


@dataclass(frozen=True)
class Link:
    """``launch`` as part of a chain. ``reads``, ``writes``: the op's operands `iN` and outputs `oN` that the layer's
    are."""

    launch: Launch
    reads: tuple[str, ...]
    writes: tuple[str, ...]


def chain(node: ir.Node, shapes: Mapping[str, Shape], most: Sequence[int]) -> list[Link]:
    """The launches of ``node``, an op of kernels of ours. ``shapes``: of its operands, by `iN`. ``most``: sequences,
    and tokens of each, where their number is not known."""
    plan = plan_of(node, in_tiles=True)
    if plan is None:
        raise Defect(f"{describe(node)} is no op of a kernel of ours")
    launches, sizes = plan.under(lambda word: math.prod(_known(shapes, word, most)))
    kernels, outputs = {kernel.name: kernel for kernel in plan.kernels}, {name: dims for name, *dims in sizes}
    made: list[Link] = []
    for name, *arguments in launches:
        before = {name for link in made for name in link.writes}
        made.append(_Layer(node, kernels[name], shapes).link(arguments, outputs, before))
    return made


def _known(shapes: Mapping[str, Shape], word: str, most: Sequence[int]) -> list[int]:
    operand, axes = _axes(shapes, word)
    return [most[axis] if shapes[operand][axis] < 0 else shapes[operand][axis] for axis in axes]


def _axes(shapes: Mapping[str, Shape], word: str) -> tuple[str, Sequence[int]]:
    """The operand and the axes whose sizes, multiplied, a word of a plan stands for."""
    if word == "r":
        return "i0", range(len(shapes["i0"]) - 1)
    operand, _, axis = word.partition(".")
    return operand, [int(axis)]


@dataclass
class _Layer:
    """The layer of one launch of ``node``. ``reads``: its operands so far."""

    node: ir.Node
    kernel: Kernel
    shapes: Mapping[str, Shape]
    reads: list[str] = field(default_factory=list)

    def link(self, arguments: Sequence[str], sizes: Mapping[str, Sequence[str]], before: set[str]) -> Link:
        """``sizes`` of the op's outputs; ``before``: those of them that earlier launches wrote."""
        writes, words, results = list[str](), list[str](), []
        fresh = written(self.kernel)
        for (name, kind), word in zip(self.kernel.types, arguments, strict=True):
            if kind == "i32":
                words.append("")  # operands come first: sizes may need one more
            elif name in fresh and word.startswith("o"):
                words.append(f"o{len(writes)}")
                writes.append(word)
                results.append(kind.removeprefix("*"))
            else:
                words.append(self._operand(word) if word in self.shapes or word in before else NULL)
        made = zip(self.kernel.types, words, arguments, strict=True)
        words = [self._sizes(word) if kind == "i32" else own for (_, kind), own, word in made]
        outputs = tuple(
            (kind, tuple(self._sizes(size) for size in self._in(kind, word, sizes[word])))
            for kind, word in zip(results, writes, strict=True)
        )
        launch = Launch(self.kernel, tuple(words), len(self.reads), outputs)
        return Link(launch, tuple(self.reads), tuple(writes))

    def _operand(self, name: str) -> str:
        if name not in self.reads:
            self.reads.append(name)
        return f"i{self.reads.index(name)}"

    def _sizes(self, expression: str) -> str:
        """``expression`` in sizes of this layer's operands."""
        return "+".join(self._term(term) for term in expression.split("+"))

    def _term(self, term: str) -> str:
        product, slash, over = term.partition("/")
        number, words = 1, list[str]()
        for word in product.split("*"):
            if word.isdigit():
                number *= int(word)
                continue
            operand, axes = _axes(self.shapes, word)
            for axis in axes:
                size = self.shapes[operand][axis]
                if size < 0:
                    words.append(f"{self._operand(operand)}.{axis}")
                else:
                    number *= size
        if not words:
            return str(ceiling(number, int(over or 1)))
        return "*".join([*words, *([str(number)] if number != 1 else [])]) + slash + over

    def _in(self, kind: str, word: str, sizes: Sequence[str]) -> Sequence[str]:
        """``sizes`` of the output ``word``, written as ``kind``: scratch may be stated in a narrower dtype, and has as
        many bytes."""
        place = int(word.removeprefix("o"))
        dtype = OUTPUTS[self.node.op_type][place] if self.node.op_type in OUTPUTS else self.node.outputs[place].dtype
        stated = _KINDS[dtype or ir.DataType.UNDEFINED]
        if stated == kind:
            return sizes
        return [f"{sizes[0]}*{_BYTES[stated]}/{_BYTES[kind]}", *sizes[1:]]


def _of(shapes: Sequence[Sequence[Any]]) -> Callable[[str], Any]:
    def size(word: str) -> Any:
        operand, _, axis = word.removeprefix("i").partition(".")
        return shapes[int(operand)][int(axis)]

    return size
