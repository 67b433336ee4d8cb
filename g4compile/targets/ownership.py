"""Which folders are ours to replace or delete. A name proves nothing: a folder must say itself that it is ours.

A bundle says so by its manifest, which lists every file in it; unfinished work by a marker file. Both hold files
alone, so deleting never goes down into folders, and a folder that came to stand in one is nobody's to delete.

A folder is looked at, and what is in it deleted, through one descriptor, which is opened without following links: so
what is put in its place meanwhile is not touched.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec

from g4compile.bundle.manifest import MANIFEST, VERSION
from g4compile.errors import BundleError
from g4compile.inputs.files import is_there

MARKER = ".g4unfinished"
_MOST = 64 << 20  # bytes of a manifest: those of the largest models are far below
_NO_WAIT = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

Entries = dict[str, os.stat_result]


class _File(msgspec.Struct):
    bytes: int
    sha256: str


class _Listed(msgspec.Struct):
    """What must be known of a manifest, of any version there was, to know that a folder is a bundle."""

    manifest_version: Annotated[int, msgspec.Meta(ge=1, le=VERSION)]
    files: dict[str, _File]


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
    reason = _judge(output, _foreign)
    if reason:
        raise BundleError(
            f"{output} exists and is not a bundle, so --force will not replace it",
            why=reason,
            fix="choose another output",
        )


def check_side(folder: Path) -> None:
    """Raise BundleError when there is something at ``folder`` that is no empty folder, bundle or unfinished work."""
    reason = _judge(folder, _foreign_side) if is_there(folder, BundleError) else ""
    if reason:
        raise _in_the_way(folder, reason)


def may_go_on(folder: Path) -> bool:
    """Whether what is in ``folder`` may be written on: files alone, of this user, that have no second name elsewhere.

    False when there is nothing. Raises BundleError as `check_side`.
    """
    check_side(folder)
    if not is_there(folder, BundleError):
        return False
    with _opened(folder) as descriptor:
        found = [os.fstat(descriptor), *entries(descriptor).values()]
    files = all(stat.S_ISREG(one.st_mode) and one.st_nlink == 1 for one in found[1:])
    return files and all(one.st_uid == os.geteuid() for one in found)


def mark(folder: Path) -> None:
    """Put the marker of unfinished work into ``folder``."""
    with _opened(folder) as descriptor:
        os.close(os.open(MARKER, os.O_WRONLY | os.O_CREAT | _NO_WAIT, 0o666, dir_fd=descriptor))


def unmark(folder: Path) -> None:
    """Take the marker out of ``folder``, and see to it that its names are on the disk."""
    with _opened(folder) as descriptor:
        os.unlink(MARKER, dir_fd=descriptor)
        sync(descriptor)


def remove(folder: Path, keep: tuple[str, ...] | None = None) -> None:
    """Delete ``folder`` with all files in it; with ``keep``, only the files of other names, and the folder stays.

    What says that the folder is ours goes at the end: a kill half-way leaves it ours. Raises BundleError as
    `check_side`, and then nothing is deleted.
    """
    with _opened(folder) as descriptor:
        reason = _foreign_side(descriptor)
        if reason:
            raise _in_the_way(folder, reason)
        for name in sorted(entries(descriptor), key=lambda name: name in (MARKER, MANIFEST)):
            if name not in (keep or ()):
                os.unlink(name, dir_fd=descriptor)
    if keep is None:
        os.rmdir(folder)  # noqa: PTH106 - not through a link, and only when it is empty


def entries(descriptor: int) -> Entries:
    """What is in the open folder, by name; links not followed."""
    with os.scandir(descriptor) as found:
        return {entry.name: entry.stat(follow_symlinks=False) for entry in found}


def sync(descriptor: int) -> None:
    """Write an open folder to the disk, where the file system can do that for folders."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | _NO_WAIT)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _judge(folder: Path, judge: Callable[[int], str]) -> str:
    """Why ``folder`` is not ours, by ``judge``; nothing when it is."""
    try:
        with _opened(folder) as descriptor:
            return judge(descriptor)
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            return "it is not a folder"
        raise


def _foreign_side(descriptor: int) -> str:
    """Why the open folder is no unfinished work, empty folder or bundle; nothing when it is."""
    found = entries(descriptor)
    if MARKER not in found or not stat.S_ISREG(found[MARKER].st_mode):
        return _foreign(descriptor)
    return next((f"there is a folder {name} in it" for name, one in found.items() if stat.S_ISDIR(one.st_mode)), "")


def _foreign(descriptor: int) -> str:
    """Why the open folder is neither empty nor a bundle; nothing when it is."""
    found = entries(descriptor)
    if not found:
        return ""
    if MANIFEST not in found or not stat.S_ISREG(found[MANIFEST].st_mode) or found[MANIFEST].st_size > _MOST:
        return f"there is no manifest {MANIFEST} in it"
    with os.fdopen(os.open(MANIFEST, os.O_RDONLY | _NO_WAIT, dir_fd=descriptor), "rb") as opened:
        data = opened.read(_MOST)
    try:
        listed = msgspec.json.decode(data, type=_Listed)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return f"its {MANIFEST} is not a manifest: {error}"
    for name, one in sorted(found.items()):
        if name != MANIFEST and (name not in listed.files or not stat.S_ISREG(one.st_mode)):
            return f"{name} in it is not of the bundle"
    return ""


def _in_the_way(folder: Path, reason: str) -> BundleError:
    return BundleError(
        f"{folder} is in the way, and was not made by g4compile",
        why=reason,
        fix="move it, or choose another output",
    )
