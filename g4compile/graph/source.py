"""Files that may hold a graph: ONNX text is read, binary ONNX is recognised and refused."""

from __future__ import annotations

from pathlib import Path

from g4compile.errors import InputError

# `ModelProto` begins with field 1, the IR version, as a varint: key 0x08 (onnx.proto; protobuf's wire format).
_BINARY = b"\x08"
_FIX = (
    "`g4compile inspect CHECKPOINT --graph STAGE` prints a graph as text; of a file, "
    "`python -c \"import onnx; print(onnx.printer.to_text(onnx.load('FILE.onnx')))\"` does"
)


def read_graph_text(path: Path) -> str:
    """The text of a graph file. Raises InputError when it cannot be read or is not text."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}", why=error.strerror or "") from error
    return decode_graph(content, str(path))


def decode_graph(content: bytes, where: str) -> str:
    """``content`` as text. Raises InputError when it is binary ONNX, or no text of UTF-8."""
    if content.startswith(_BINARY):
        raise InputError(f"{where} is binary ONNX, not a graph in text form", fix=_FIX)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{where} is not a graph in text form", why=f"it is not UTF-8: {error}", fix=_FIX) from error
