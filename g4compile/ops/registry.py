"""All ops of ours, found by their files: `rms_norm.py` holds `RMSNorm`. What follows from their facts: specs,
bodies."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

import onnx_ir as ir

from g4compile import ops
from g4compile.graph.stage import STAGES, Spec
from g4compile.ops.fields import Precision
from g4compile.ops.op import Op
from g4compile.ops.schema import DOMAIN, VERSION
from g4compile.ops.standard import STANDARD


@cache
def all_ops() -> dict[str, type[Op]]:
    """Every op by its ONNX name, without the domain."""
    for module in pkgutil.iter_modules(ops.__path__):
        import_module(f"{ops.__name__}.{module.name}")
    return {kind.__name__: kind for kind in sorted(Op.__subclasses__(), key=lambda kind: kind.__name__)}


def view(node: ir.Node) -> Op | None:
    """The typed view of ``node``; None for an op that is not ours."""
    kind = all_ops().get(node.op_type) if node.domain == DOMAIN else None
    return None if kind is None else kind(node)


@cache
def specs() -> dict[str, Spec]:
    """What may stand in a graph, by stage."""
    stages = {kind.name(): kind.stages for kind in all_ops().values()}
    stages |= {name: fact.stages for name, fact in STANDARD.items()}
    return {stage: frozenset(name for name, among in stages.items() if stage in among) for stage in STAGES}


def precision(node: ir.Node) -> Precision:
    """What ``node`` computes in when activations are narrow."""
    kind = all_ops().get(node.op_type) if node.domain == DOMAIN else None
    if kind is not None:
        return kind.precision
    fact = STANDARD.get(node.op_type)
    return Precision.NARROW if fact is None else fact.precision


def is_arithmetic(node: ir.Node) -> bool:
    """Whether ``node`` computes elementwise and rounds, so that a constant operand must fit the dtype it computes
    in."""
    fact = STANDARD.get(node.op_type) if node.domain == "" else None
    return fact is not None and fact.arithmetic


def is_product(node: ir.Node) -> bool:
    """Whether ``node`` multiplies by weights, so that it computes in the dtype of activations (standard ops)."""
    fact = STANDARD.get(node.op_type) if node.domain == "" else None
    return fact is not None and fact.product


def is_elementwise(node: ir.Node) -> bool:
    """Whether each element of the result reads one element of each operand (standard ops)."""
    fact = STANDARD.get(node.op_type) if node.domain == "" else None
    return fact is not None and fact.elementwise


def weight_operands(node: ir.Node) -> tuple[int, ...]:
    """Operands of ``node`` that may be quantised weights."""
    found = view(node)
    if found is not None:
        return tuple(operand.index for operand in found.operands if operand.weight)
    fact = STANDARD.get(node.op_type) if node.domain == "" else None
    return () if fact is None else fact.tables


def check_operands(graph: ir.Graph, after: str) -> None:
    """Raise SpecError, which names the pass ``after`` which it is, unless the operands of every node of ours fit its
    shape strings."""
    for node in graph.all_nodes():
        found = view(node)
        if found is not None:
            found.check(after)


def attach_bodies(model: ir.Model) -> None:
    """Give ``model`` the body of every op of ours that it uses (and no other), so that any ONNX runtime can run it.
    Ops of a library in the same domain have none."""
    model.functions.clear()
    pending = [node.op_identifier() for node in model.graph.all_nodes() if view(node) is not None]
    while pending:
        identifier = pending.pop()
        if identifier in model.functions:
            continue
        function = all_ops()[identifier[1]].functions()[identifier[2]].clone()
        model.functions[identifier] = function
        pending += [node.op_identifier() for node in function.all_nodes() if node.domain == DOMAIN]
    model.graph.opset_imports[DOMAIN] = VERSION
