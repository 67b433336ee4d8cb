"""Graphs in text form that nobody vouches for: what is read of a file, and what the parser of ONNX is given.

The parser calls itself for every type in a type and every graph in a graph, without a limit: text that is nested deep
enough ends the process. So brackets are counted first, with the parser's own rules for strings and comments. Source:
onnx, `onnx/defs/parser.h` (`SkipWhiteSpace`) and `parser.cc` (`Parse(Literal&)`).
"""

from __future__ import annotations

import re
from pathlib import Path

from g4compile.errors import InputError
from g4compile.inputs.documents import decode_text
from g4compile.inputs.files import Kind, read_bytes

# `ModelProto` begins with field 1, the IR version, as a varint: key 0x08 (onnx.proto; protobuf's wire format).
_BINARY = b"\x08"
_FIX = (
    "`g4compile inspect CHECKPOINT --graph STAGE` prints a graph as text; of a file, "
    "`python -c \"import onnx; print(onnx.printer.to_text(onnx.load('FILE.onnx')))\"` does"
)
GRAPH = Kind("the graph", 256 << 20, fix=_FIX)
_DEEPEST = 32  # of nested brackets: graphs of ours have six
# A string, a comment, the arrow (its `>` closes nothing), a bracket.
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|#[^\n]*|=>|[(\[{<)\]}>]', re.DOTALL)
_OPENING, _CLOSING = frozenset("([{<"), frozenset(")]}>")


def read_graph_text(path: Path) -> str:
    """The text of a graph file. Raises InputError when it cannot be read or is not text."""
    return decode_graph(read_bytes(path, GRAPH), str(path))


def decode_graph(content: bytes, where: str) -> str:
    """``content`` as text. Raises InputError when it is empty, too large, binary ONNX, or no text of UTF-8."""
    if not content.strip():
        raise GRAPH.refuse(f"{where} is empty, and holds no graph", where)
    if len(content) > GRAPH.limit:
        raise GRAPH.refuse(f"the graph has more than the {GRAPH.limit:,} bytes that are read", where)
    if content.startswith(_BINARY):
        raise InputError(f"{where} is binary ONNX, not a graph in text form", fix=_FIX)
    return decode_text(content, GRAPH, where)


def check_brackets(text: str, where: str) -> None:
    """Raise InputError for a graph that is nested deeper than 32, or has anything behind its nodes: functions.

    What is refused here never reaches the parser. A text with brackets that do not match is for the parser to refuse.
    """
    depth, ended = 0, 0
    for token in _TOKEN.finditer(text):
        found = token[0]
        if found in _OPENING:
            if ended:
                raise InputError(
                    "the graph is followed by functions, which are not read",
                    where=f"{where}, line {_line(text, token.start())}",
                    fix="write the nodes into the graph: the bodies of g4 ops follow from the ops",
                )
            depth += 1
            if depth > _DEEPEST:
                line = _line(text, token.start())
                raise InputError(f"the graph is nested deeper than {_DEEPEST}", where=f"{where}, line {line}")
        elif found in _CLOSING:
            depth -= 1
            if depth == 0 and found == "}":
                ended = token.end()


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1
