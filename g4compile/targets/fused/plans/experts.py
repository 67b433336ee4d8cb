"""Plans of the router, of the experts' products, and of their sum.

How many rows a tile has follows from the tokens of a run (`ops/expert_routing.py`). A single token has its choices as
tiles of one slot. `row_token` is [tiles, rows of a tile] here, so that products know it.
"""

from __future__ import annotations

import onnx_ir as ir

from g4compile.ops.expert_routing import tile_of
from g4compile.targets.fused.plan import ALWAYS, NULL, Plan
from g4compile.targets.fused.plans.operands import last, matrices, sizes, value
from g4compile.targets.fused.plans.products import ONE
from g4compile.targets.kernels import product_kernels, row_kernels
from g4compile.targets.kernels.product_kernels import CODES, GEGLU, Matrices, Rows, Stream

_LIMITS = (64, 1024, None)  # tokens up to which a tile has one size
_FACTORLESS = Stream(adds=False, scaled=False, normed=True)
_ONE_SLOT = "i1.1<=1"  # a tile
X, WEIGHTS, SLOT_OF, ROW_TOKEN, TILE_EXPERT, NORMED, LOGITS, INDEX, COUNTS = range(9)


def router(node: ir.Node) -> Plan:
    width, epsilon, choices = last(node, 0), value(node, "epsilon"), value(node, "k")
    experts = sizes(node, 2)[0]
    proj = Matrices((experts,), width, CODES)
    stream = Stream(adds=False, scaled=False, normed=True, factor=value(node, "factor"))
    rows = row_kernels.stream_rows(width, _FACTORLESS, epsilon)
    plan = Plan()
    _sizes(plan, node, ONE, choices, (f"r*{choices}", 1), (None, experts, None, None))
    one = product_kernels.product_one(proj, product_kernels.NONE, stream, True, 0.0, epsilon)
    none = [NULL] * 3
    plan.launch(ONE, one, "i0", *none, "i1", "i2", *[NULL] * 7, f"o{LOGITS}", "i0", *proj.integers, 0, "r")
    plan.launch(ONE, rows, "i0", *none, "i4", "i0", f"o{X}", width, "r")
    chosen = [f"o{LOGITS}", "i3", f"o{WEIGHTS}", f"o{INDEX}", f"o{SLOT_OF}", f"o{ROW_TOKEN}", f"o{TILE_EXPERT}", "r"]
    plan.launch(ONE, row_kernels.choose_experts(experts, choices, single=True), *chosen)
    for limit in _LIMITS:
        condition, tile = _condition(limit), _tile(limit)
        tiles = f"r*{choices}/{tile}+{experts}"
        _sizes(plan, node, condition, choices, (tiles, tile), (width, experts, choices, experts))
        plan.launch(
            condition, row_kernels.stream_rows(width, stream, epsilon, wide=True), "i0", *none, "i1", "i0",
            f"o{NORMED}", width, "r",
        )  # fmt: skip
        product = product_kernels.product_rows(proj, product_kernels.NONE, Rows(64, wide=True, fine=True))
        plan.launch(condition, product, f"o{NORMED}", "i2", *[NULL] * 8, f"o{LOGITS}", *proj.integers, "r", 0, 0, 0)
        plan.launch(condition, rows, "i0", *none, "i4", "i0", f"o{X}", width, "r")
        plan.launch(condition, row_kernels.choose_experts(experts, choices, single=False), *chosen)
        plan.launch(condition, row_kernels.count_experts(), f"o{INDEX}", f"o{COUNTS}", f"r*{choices}", experts)
        plan.launch(
            condition, row_kernels.place_rows(experts, choices, tile), f"o{INDEX}", f"o{COUNTS}", f"o{SLOT_OF}",
            f"o{ROW_TOKEN}", f"o{TILE_EXPERT}", f"r*{choices}", experts, tiles,
        )  # fmt: skip
    return plan


def _sizes(
    plan: Plan, node: ir.Node, condition: str, choices: int, slots: tuple[str, int],
    scratch: tuple[int | None, ...],
) -> None:  # fmt: skip
    """``scratch``: numbers of a row of the normed stream, of logits and of indices, and counts; None: not used."""
    by_row = [() if width is None else (f"r*{width}",) for width in scratch[:3]]
    counts = () if scratch[3] is None else (scratch[3],)
    row = ("i0.0", "i0.1", last(node, 0))
    for index, dims in enumerate([row, ("r", choices), ("r", choices), slots, slots[:1], *by_row, counts]):
        plan.size(condition, index, *dims)


def _condition(limit: int | None) -> str:
    return ALWAYS if limit is None else f"r<={limit}"


def _tile(limit: int | None) -> int:
    return tile_of(_LIMITS[1] + 1 if limit is None else limit)


def gate_up(node: ir.Node) -> Plan:
    """Of RoutedGateUp."""
    both = matrices(node, 3, last(node, 0), 1, grouped=True)
    halved = Matrices((both.sizes[0] // 2,), both.columns, both.bits, both.block, grouped=True)
    return _product(node, halved, GEGLU, gathered=True)


def down(node: ir.Node) -> Plan:
    """Of RoutedDown."""
    weights = matrices(node, 3, last(node, 0), 1, grouped=True)
    return _product(node, weights, product_kernels.NONE, gathered=False)


def _product(node: ir.Node, weights: Matrices, activation: int, gathered: bool) -> Plan:
    plan, width, slots = Plan(), weights.sizes[0], "i1.0*i1.1"
    operands = ["i3", NULL, NULL, "i4" if weights.bits != CODES else NULL, *[NULL] * 3]
    one = product_kernels.product_one(weights, activation, None, False, 0.0, 0.0)
    plan.size(_ONE_SLOT, 0, slots, width)
    plan.launch(_ONE_SLOT, one, "i0", *[NULL] * 4, *operands, "i2", "o0", NULL, *weights.integers, 0, "i2.0")
    for limit in _LIMITS:
        tile = _tile(limit)
        many = product_kernels.product_rows(weights, activation, Rows(tile, gathered=gathered))
        condition = ALWAYS if limit is None else f"i1.1<={tile}"
        plan.size(condition, 0, slots, width)
        plan.launch(condition, many, "i0", *operands, "i1", "i2", "o0", *weights.integers, slots, 0, 0, "i2.0")
    return plan


def expert_sum(node: ir.Node) -> Plan:
    width, plan = last(node, 0), Plan()
    kernel = row_kernels.expert_sum(width, sizes(node, 4)[-1], value(node, "epsilon"))
    plan.size(ALWAYS, 0, "i0.0", "i0.1", width)
    plan.launch(ALWAYS, kernel, *(f"i{index}" for index in range(6)), "o0", width, "r")
    return plan
