"""Stages of a graph, and the spec of each: which ops may appear in it.

    [traced] -> [canonical] -> [fused] -> [scheduled] -> [quantized] -> [legal:TARGET]

The stage is recorded in the model's metadata, so it survives the text form. `check` is run by the pipeline
after every pass; it is cheap enough to be always on.
"""

from __future__ import annotations

from collections.abc import Iterable, Set

import onnx_ir as ir

from g4compile.errors import InputError, SpecError

STAGES = ("traced", "canonical", "fused", "scheduled", "quantized")
LEGAL = "legal:"
_KEY = "g4.stage"

Spec = Set[str]  # standard ops by their name, ours with the domain in front


def span(first: str, last: str) -> tuple[str, ...]:
    """The named stages from ``first`` to ``last``."""
    return STAGES[STAGES.index(first) : STAGES.index(last) + 1]


def stage_of(model: ir.Model) -> str:
    """The stage ``model`` is at. Raises InputError when it has none (not one of our graphs)."""
    stage = model.metadata_props.get(_KEY)
    if stage is None:
        raise InputError(
            f"the graph names no stage in its metadata ({_KEY})",
            fix=f'add metadata_props: ["{_KEY}": "canonical"] to its header',
        )
    return stage


def set_stage(model: ir.Model, stage: str) -> None:
    model.metadata_props[_KEY] = stage


def op_name(node: ir.Node) -> str:
    """`Add`, `g4.Linear`: the name by which specs and messages call an op."""
    return f"{node.domain}.{node.op_type}" if node.domain else node.op_type


def describe(node: ir.Node) -> str:
    """A node for a message: its op and the module path it came from."""
    return f"{op_name(node)} node {node.name or '(unnamed)'}"


def check(model: ir.Model, allowed: Set[str], after: str) -> None:
    """Raise SpecError unless every node is in ``allowed`` and every value is defined before it is used."""
    graph = model.graph
    defined: set[ir.Value] = {*graph.inputs, *graph.initializers.values()}
    _check_nodes(graph, defined, allowed, after)
    for output in graph.outputs:
        if output not in defined:
            raise SpecError(f"graph output {output.name} is not computed", where=f"after {after}")


def _check_nodes(nodes: Iterable[ir.Node], defined: set[ir.Value], allowed: Set[str], after: str) -> None:
    for node in nodes:
        name = op_name(node)
        if name not in allowed:
            raise SpecError(
                f"{name} is not allowed in this stage",
                where=f"{describe(node)}, after {after}",
                why=f"allowed are {', '.join(sorted(allowed))}",
            )
        for operand in node.inputs:
            if operand is not None and operand not in defined:
                raise SpecError(
                    f"value {operand.name} is used before it is computed", where=f"{describe(node)}, after {after}"
                )
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                body = attribute.as_graph()
                inner = defined | set(body.inputs) | set(body.initializers.values())
                _check_nodes(body, inner, allowed, after)
        defined.update(node.outputs)
