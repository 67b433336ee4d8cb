"""Graphs in text form, their weights as references."""

from __future__ import annotations

import onnx_ir as ir

from g4compile.graph.text import parse
from g4compile.weights.quantized import parse_reference


def parse_graph(text: str, where: str = "text") -> ir.Model:
    """The graph that `graph.text.to_text` printed, weights unbound. Raises InputError."""
    return parse(text, parse_reference, where)
