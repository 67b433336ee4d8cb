"""What an interrupted compile has already written, so that the next one does not do it again.

A text file beside the partial data: one line that says what is compiled, then one line per finished tensor with the
checksums of its bytes. A tensor counts as finished only when the bytes on disk still have them.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping
from pathlib import Path

from g4compile.errors import InputError
from g4compile.inputs.documents import decode_text
from g4compile.inputs.files import Kind, read_bytes

_BLOCK = 8 << 20
_KIND = Kind("the journal", limit=64 << 20)


class Journal:
    """``identity`` names the work: checkpoint, target, weights, versions. Another identity starts afresh."""

    NAME = "journal"

    def __init__(self, folder: Path, identity: str) -> None:
        self._file = folder / self.NAME
        self._done: dict[str, str] = {}
        lines = _lines(self._file)
        if lines[:1] == [identity]:
            self._done = dict(line.split("\t", 1)[::-1] for line in lines[1:] if line.count("\t") == 1)
        else:
            self._file.write_text(identity + "\n", encoding="utf-8")

    @staticmethod
    def belongs(folder: Path, identity: str) -> bool:
        """Whether ``folder`` holds unfinished work of this identity."""
        return _lines(folder / Journal.NAME)[:1] == [identity]

    def holds(self, name: str, descriptor: int, places: Mapping[str, int], sizes: Mapping[str, int]) -> bool:
        """Whether ``name`` is finished and its bytes are still what was written."""
        if name not in self._done:
            return False
        return self._done[name] == _checksums(descriptor, places, sizes)

    def add(self, name: str, descriptor: int, places: Mapping[str, int], sizes: Mapping[str, int]) -> None:
        """Note ``name`` as finished."""
        with self._file.open("a", encoding="utf-8") as out:
            out.write(f"{_checksums(descriptor, places, sizes)}\t{name}\n")


def _lines(file: Path) -> list[str]:
    """The lines of ``file``; none when it is missing or damaged, and then the work starts afresh."""
    try:
        return decode_text(read_bytes(file, _KIND), _KIND, file).splitlines()
    except InputError:
        return []


def _checksums(descriptor: int, places: Mapping[str, int], sizes: Mapping[str, int]) -> str:
    return " ".join(
        f"{part}:{place}:{sizes[part]}:{_checksum(descriptor, place, sizes[part]):08x}"
        for part, place in places.items()
    )


def _checksum(descriptor: int, offset: int, size: int) -> int:
    checksum = 0
    for start in range(0, size, _BLOCK):
        checksum = zlib.crc32(os.pread(descriptor, min(_BLOCK, size - start), offset + start), checksum)
    return checksum
