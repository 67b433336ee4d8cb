"""Where an image, a sound or a video comes from: a file, or bytes that a caller holds."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NoReturn

from g4compile.inputs.files import Kind, open_file, read_bytes
from g4compile.runtime import arguments

Source = str | Path | bytes

# Libraries are given open files, which they name as Python does, or by number: that tells nobody which file it is.
_OURS = re.compile(r"<_io\.[^>]*>|'\d+'")


def read_source(source: Source, kind: Kind) -> tuple[bytes, str]:
    """The bytes of ``source`` and what it is called in messages.

    Raises InputError for a file that is missing, no regular file or too large, and for bytes that are too many or none.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        data, where = _given(source, kind)
    else:
        path = arguments.path(kind.name, source)
        data, where = read_bytes(path, kind), str(path)
    if not data:
        raise kind.refuse(f"{kind.name} is empty", where, "it has no bytes")
    return data, where


def open_source(source: Source, kind: Kind) -> tuple[BinaryIO, str]:
    """As `read_source`, of a file that is read in pieces; the caller closes it."""
    if isinstance(source, bytes | bytearray | memoryview):
        data, where = _given(source, kind)
        return BytesIO(data), where
    path = arguments.path(kind.name, source)
    return open_file(path, kind), str(path)


def _given(data: bytes | bytearray | memoryview, kind: Kind) -> tuple[bytes, str]:
    where = "bytes that were given"
    if len(data) > kind.limit:
        raise kind.refuse(f"{kind.name} has {len(data):,} bytes, more than the {kind.limit:,} that are read", where)
    return bytes(data), where


def refuse(kind: Kind, where: str, error: BaseException, fix: str) -> NoReturn:
    """Raise InputError for a file that a decoder did not take. Decoders raise whatever hostile bytes lead them to."""
    said = str(error).strip().splitlines()[0] if str(error).strip() else "no reason is given"
    said = _OURS.sub("the file", said)
    why = f"{type(error).__name__}: {said}"[:300]
    raise kind.refuse(f"{kind.name} cannot be decoded", where, why, fix) from error
