"""Which folders are ours to replace or delete. A name proves nothing: a folder must say itself that it is ours.

A bundle says so by its manifest, which lists every file in it; unfinished work by a marker file. Both hold files
alone, so deleting never goes down into folders, and a folder that came to stand in one is nobody's to delete.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, Literal

import msgspec

from g4compile.bundle.manifest import MANIFEST
from g4compile.errors import BundleError

MARKER = ".g4unfinished"
_MOST = 64 << 20  # bytes of a manifest: those of the largest models are far below


class _Listed(msgspec.Struct):
    """What must be known of a manifest, of any version there was, to know that a folder is a bundle."""

    manifest_version: Literal[1, 2, 3]
    files: dict[str, Any]


def check_replaceable(output: Path, checkpoint: Path | None = None) -> None:
    """Raise BundleError when ``output`` is not an empty folder or a bundle, or overlaps with ``checkpoint``."""
    if checkpoint is not None:
        written, read = output.resolve(), checkpoint.resolve()
        if written == read or written in read.parents or read in written.parents:
            raise BundleError(
                f"{output} holds the checkpoint that is compiled, or is a part of it, so --force will not replace it",
                where=str(checkpoint),
                fix="choose another output",
            )
    reason = _foreign(output)
    if reason:
        raise BundleError(
            f"{output} exists and is not a bundle, so --force will not replace it",
            why=reason,
            fix="choose another output",
        )


def check_side(folder: Path) -> None:
    """Raise BundleError when there is something at ``folder`` that is no empty folder, bundle or unfinished work."""
    if not os.path.lexists(folder):
        return
    entries = _entries(folder)
    marked = entries is not None and stat.S_ISREG(entries.get(MARKER, 0))
    reason = _folder_in(entries) if entries is not None and marked else _foreign(folder)
    if reason:
        raise BundleError(
            f"{folder} is in the way, and was not made by g4compile",
            why=reason,
            fix="move it, or choose another output",
        )


def has_only_files(folder: Path) -> bool:
    """Whether all in ``folder`` are regular files: no links, pipes or folders."""
    return all(stat.S_ISREG(mode) for mode in (_entries(folder) or {}).values())


def remove(folder: Path) -> None:
    """Delete ``folder`` and the files in it, what says that it is ours at the end: a kill half-way leaves it ours."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name in (MARKER, MANIFEST)):
        path.unlink()
    folder.rmdir()


def _entries(folder: Path) -> dict[str, int] | None:
    """Names and modes of what is in ``folder``, links not followed; None when it is itself no folder, or a link."""
    if not stat.S_ISDIR(folder.lstat().st_mode):
        return None
    with os.scandir(folder) as found:
        return {entry.name: entry.stat(follow_symlinks=False).st_mode for entry in found}


def _folder_in(entries: dict[str, int]) -> str:
    return next((f"there is a folder {name} in it" for name, mode in entries.items() if stat.S_ISDIR(mode)), "")


def _foreign(folder: Path) -> str:
    """Why ``folder`` is neither empty nor a bundle; nothing when it is."""
    entries = _entries(folder)
    if entries is None:
        return "it is not a folder"
    if not entries:
        return ""
    if not stat.S_ISREG(entries.get(MANIFEST, 0)) or (folder / MANIFEST).stat().st_size > _MOST:
        return f"there is no manifest {MANIFEST} in it"
    try:
        listed = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=_Listed)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return f"its {MANIFEST} is not a manifest: {error}"
    for name, mode in sorted(entries.items()):
        if name != MANIFEST and (name not in listed.files or not stat.S_ISREG(mode)):
            return f"{name} in it is not of the bundle"
    return ""
