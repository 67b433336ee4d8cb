"""Plans of products: one row by itself, few rows in small tiles, many in large ones.

One row is normed by every program for itself, which costs less than a launch; not where it is long and the weights are
codes. More rows are normed once.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from g4compile.targets.fused.plan import ALWAYS, NULL, Plan
from g4compile.targets.fused.plans.operands import has, last, matrices, sizes, value
from g4compile.targets.kernels import product_kernels as kernels
from g4compile.targets.kernels.product_kernels import CODES, GEGLU, Matrices, Rows, Stream
from g4compile.targets.kernels.row_kernels import stream_rows

_ACTIVATIONS = {"none": kernels.NONE, "geglu": GEGLU, "gate": kernels.GATE, "softcap": kernels.SOFTCAP}
_WEIGHTS, _GATE = 5, 11  # inputs of NormProduct
# Rows, and how many a tile has.
TILES = (("r<=16", 16), ("r<=32", 32), ("r<=64", 64), (ALWAYS, 128))
ONE = "r<=1"  # or none: a grid of 0 is not launched
ONE_ROW = (ONE, 1)


def norm_product(node: ir.Node, in_tiles: bool = False) -> Plan:
    """Of NormProduct, and of NormLogits, whose y is float32. ``in_tiles``: codes become numbers in every tile, also for
    many rows, and not in memory."""
    columns, wide = last(node, 0), node.op_type == "NormLogits"
    activation, epsilon = _ACTIVATIONS[value(node, "activation")], value(node, "epsilon")
    cap = value(node, "cap") if activation == kernels.SOFTCAP else 0.0
    weights = matrices(node, _WEIGHTS, columns, 3)
    stream = Stream(adds=has(node, 1), scaled=has(node, 3), normed=has(node, 4))
    made, alone = stream.adds or stream.scaled, kernels.norms_itself(weights)
    gate = ("i11", *_gate(node)) if activation == kernels.GATE else (NULL, 0, 0)
    form = _Form(weights, activation, wide, cap, _WEIGHTS, gate, 3, in_tiles)
    plan = Plan()
    for condition, _ in (ONE_ROW, *TILES):
        plan.size(condition, 0, "i0.0", "i0.1", form.width)
        plan.size(condition, 1, *(("i0.0", "i0.1", columns) if made else ()))
        plan.size(condition, 2, *(("i0.0", "i0.1", columns) if condition != ONE or not alone else ()))
        plan.size(condition, 3, *form.numbers(condition))
    before = [f"i{index}" for index in range(5)]
    stream_out = "o1" if made else NULL  # not written where nothing is added
    rows, normed = stream_rows(columns, stream, epsilon), ["o2", *[NULL] * 4]
    front = (stream, epsilon) if alone else (None, 0.0)
    one = kernels.product_one(weights, activation, front[0], wide, cap, front[1])
    if not alone:
        plan.launch(ONE, rows, *before, stream_out, "o2", columns, "r")
    operands = (*form.weights_and_scales, gate[0], NULL, "o0", stream_out if alone else NULL)
    plan.launch(ONE, one, *(before if alone else normed), *operands, *weights.integers, gate[2], "r")
    for condition, tile in TILES:
        plan.launch(condition, rows, *before, stream_out, "o2", columns, "r")
        form.launch(plan, condition, tile, "o2")
    return plan


def product(node: ir.Node, in_tiles: bool = False) -> Plan:
    """Of Product; ``in_tiles`` as above."""
    columns = last(node, 0)
    weights = matrices(node, 1, columns, 3)
    form = _Form(weights, kernels.NONE, False, 0.0, 1, (NULL, 0, 0), 1, in_tiles)
    one, nothing, plan = kernels.product_one(weights, kernels.NONE, None, False, 0.0, 0.0), [NULL] * 4, Plan()
    for condition, _ in (ONE_ROW, *TILES):
        plan.size(condition, 0, "i0.0", "i0.1", form.width)
        plan.size(condition, 1, *form.numbers(condition))
    operands = (*form.weights_and_scales, NULL, NULL)
    plan.launch(ONE, one, "i0", *nothing, *operands, "o0", NULL, *weights.integers, 0, "r")
    for condition, tile in TILES:
        form.launch(plan, condition, tile, "i0")
    return plan


@dataclass(frozen=True)
class _Form:
    """A product of rows. ``first``: the input that is the first weight. ``gate``: its input, numbers of its row, and
    where those of the layer begin. ``scratch``: the output for numbers of codes, or for parts of sums."""

    weights: Matrices
    activation: int
    wide: bool
    cap: float
    first: int
    gate: tuple[str, int, int]
    scratch: int
    in_tiles: bool

    @property
    def width(self) -> int:
        return self.weights.sizes[0] if self.activation == GEGLU else sum(self.weights.sizes)

    @property
    def weights_and_scales(self) -> list[str]:
        given, coded = len(self.weights.sizes), self.weights.bits != CODES
        found = [f"i{self.first + i}" if i < given else NULL for i in range(3)]
        return found + [f"i{self.first + 3 + i}" if coded and i < given else NULL for i in range(3)]

    def numbers(self, condition: str) -> tuple[str | int, ...]:
        """The sizes of the scratch, in bfloat16, under ``condition``."""
        if self._makes_numbers(condition):
            return sum(self.weights.sizes), self.weights.columns
        parts = self._parts(condition)
        return (2 * parts, "r", self.width) if parts > 1 else ()

    def _parts(self, condition: str) -> int:
        """Into how many parts K is cut under ``condition``."""
        return 1 if condition in (ONE, ALWAYS) else kernels.parts_of(self.weights, self.activation)

    def _makes_numbers(self, condition: str) -> bool:
        """Whether codes become numbers first: behind many rows it costs less than in every tile."""
        return self.weights.bits != CODES and condition == ALWAYS and not self.in_tiles

    def launch(self, plan: Plan, condition: str, tile: int, x: str) -> None:
        """The product of rows at ``x``."""
        weights, operands = self.weights, [*self.weights_and_scales]
        gate, gate_row, gate_at = self.gate
        stacked = self._makes_numbers(condition)
        if stacked:
            base, made = 0, f"o{self.scratch}"
            for number, rows in enumerate(weights.sizes):
                one = kernels.dequantize(weights)
                plan.launch(condition, one, operands[number], operands[3 + number], made, rows, weights.columns, base)
                base += rows
            sizes = weights.sizes[:1] if self.activation == GEGLU else (self.width,)
            weights, operands = Matrices(sizes, weights.columns), [made, *[NULL] * 5]
        parts = self._parts(condition)
        form = Rows(tile, wide=self.wide, stacked=stacked, parts=parts)
        many = kernels.product_rows(weights, self.activation, form, self.cap)
        integers, y = (*weights.integers, "r", gate_row, gate_at, 0), "o0" if parts == 1 else f"o{self.scratch}"
        plan.launch(condition, many, x, *operands, gate, NULL, NULL, y, *integers)
        if parts > 1:
            plan.launch(condition, kernels.sum_parts(self.width, parts), y, "o0", self.width, "r")


def _gate(node: ir.Node) -> tuple[int, int]:
    """Numbers of a row of the gate [B, S, L, D], and where those of the layer begin."""
    _, _, layers, width = sizes(node, _GATE)
    return layers * width, value(node, "layer") * width
