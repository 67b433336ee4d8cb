"""A folder of weights rearranged for ONNX Runtime's kernels: made by one load, checked and mapped by later ones.

An entry is a folder `prepacked-DIGEST` with the files that ONNX Runtime wrote, and a header that says what they are. It
is used when it belongs to this user, nobody else can write it, and its files are those of its header: the graph by its
SHA-256 at every load, the large data by size, inode and times, and by its SHA-256 where these differ. Nothing else in
the folder is read, changed or deleted.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import stat
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from g4compile.bundle.manifest import DATA
from g4compile.errors import InputError
from g4compile.inputs.documents import decode_json
from g4compile.inputs.files import Kind, read_bytes

_HEADER = "g4compile-prepacked.json"
_NAME = re.compile("prepacked-[0-9a-f]{16}")
_UNFINISHED = ".filling-"
_KIND = Kind("the header of the cache entry", 1 << 16, InputError, "delete the entry")


class _File(msgspec.Struct, frozen=True):
    """A file of an entry. ``marks``: inode, and the times of the last change of content and of anything else."""

    bytes: int
    sha256: str
    marks: tuple[int, int, int]


class _Header(msgspec.Struct, frozen=True):
    digest: str
    files: dict[str, _File]


def prepacked(cache: Path, digest: str, fill: Callable[[Path], None]) -> Path:
    """The entry of ``digest`` (64 digits) in the folder ``cache``: found whole, or made by ``fill`` into a folder that
    it is given. A damaged one is made again, with a warning. When one is made, those of other digests are deleted.

    Raises InputError when the folder or the entry is not ours alone, and OSError.
    """
    make_folder(cache)
    entry = cache / f"prepacked-{digest[:16]}"
    if os.path.lexists(entry):
        _check_ours(entry)
        damage = _damage(entry, digest)
        if not damage:
            return entry
        discard(entry)
        warnings.warn(f"{entry} was damaged, and is made again: {damage}", stacklevel=4)
    _make(entry, digest, fill)
    return entry


def discard(entry: Path) -> None:
    """Delete ``entry``, the header at the end: a kill half-way leaves an entry that is known as ours.

    Raises InputError, with nothing deleted, when there is anything in it that no fill writes.
    """
    files = sorted(entry.iterdir(), key=lambda file: file.name == _HEADER)
    for file in files:
        known = file.name in (_HEADER, DATA) or file.suffix == ".onnx"
        if not known or not stat.S_ISREG(file.lstat().st_mode):
            raise InputError(f"{file.name} in {entry} was not made by g4compile", fix="move it, or use another cache")
    for file in files:
        file.unlink()
    entry.rmdir()


def make_folder(cache: Path) -> None:
    """Make the folder ``cache`` where it is not there. Raises InputError when it is not this user's alone."""
    if not os.path.lexists(cache):
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.mkdir(mode=0o700, exist_ok=True)
    _check_private(cache, cache.stat())


def _check_ours(entry: Path) -> None:
    """Raise InputError unless ``entry`` is a folder of this user with a header file in it."""
    _check_private(entry, entry.lstat())
    header = entry / _HEADER
    if not os.path.lexists(header) or not stat.S_ISREG(header.lstat().st_mode):
        raise InputError(f"{entry} was not made by g4compile", why=f"there is no {_HEADER} in it", fix="move it away")


def _check_private(folder: Path, found: os.stat_result) -> None:
    if not stat.S_ISDIR(found.st_mode):
        raise InputError(f"{folder} is no folder", fix="name another folder for the cache")
    if found.st_uid != os.geteuid():
        raise InputError(f"{folder} belongs to another user", fix="name a folder of your own for the cache")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise InputError(
            f"other users can write to {folder}",
            why="who writes there decides what the model computes",
            fix=f"chmod go-w {folder}",
        )


def _damage(entry: Path, digest: str) -> str:
    """Why ``entry`` is not what was made for ``digest``; nothing when it is."""
    try:
        data = read_bytes(entry / _HEADER, _KIND, entry)
        header = msgspec.convert(decode_json(data, _KIND, entry / _HEADER), _Header)
    except (InputError, msgspec.ValidationError) as error:
        return str(error).splitlines()[0]
    if header.digest != digest:
        return "it was made for another bundle, ONNX Runtime or processor"
    there = {file.name for file in entry.iterdir()} - {_HEADER}
    if there != set(header.files):
        return f"it has the files {', '.join(sorted(there))}, its header says {', '.join(sorted(header.files))}"
    marks = {}
    for name, spec in header.files.items():
        file = entry / name
        found = file.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            return f"{name} is no file of this user"
        if found.st_size != spec.bytes:
            return f"{name} has {found.st_size:,} bytes, not {spec.bytes:,}"
        marks[name] = _marks(found)
        if (name != DATA or marks[name] != spec.marks) and _sha256(file) != spec.sha256:
            return f"the content of {name} has changed"
    files = {name: msgspec.structs.replace(spec, marks=marks[name]) for name, spec in header.files.items()}
    if files != header.files:  # the entry was copied: the next load need not read its data again
        with suppress(OSError):
            _write_header(entry, _Header(digest, files))
    return ""


def _make(entry: Path, digest: str, fill: Callable[[Path], None]) -> None:
    """Fill a folder beside ``entry``, give it its name in one rename, and drop what it replaces."""
    cache = entry.parent
    partial = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=cache))
    with (partial / _HEADER).open("x") as header:
        try:
            fcntl.flock(header, fcntl.LOCK_EX)  # a kill gives it back: see `_at_work`
            fill(partial)
            for file in partial.iterdir():
                file.chmod(0o600)
                _sync(file)
            files = [file for file in partial.iterdir() if file.name != _HEADER]
            specs = {file.name: _File(file.stat().st_size, _sha256(file), _marks(file.stat())) for file in files}
            _write_header(partial, _Header(digest, specs))
            if not os.path.lexists(entry):  # another process may have been quicker
                partial.rename(entry)
        finally:
            with suppress(InputError, OSError):
                discard(partial)
        _drop_others(entry)


def _drop_others(entry: Path) -> None:
    """Delete entries that ``entry`` replaces, and what killed fills left behind."""
    for other in entry.parent.iterdir():
        named = _NAME.fullmatch(other.name) or other.name.startswith(_UNFINISHED)
        with suppress(InputError, OSError):
            if named and other != entry:
                _check_ours(other)
                if not _at_work(other):
                    discard(other)


def _at_work(folder: Path) -> bool:
    """Whether a process fills ``folder`` now: it holds the header locked until it ends."""
    with (folder / _HEADER).open("rb") as header:
        try:
            fcntl.flock(header, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _write_header(entry: Path, header: _Header) -> None:
    (entry / _HEADER).write_bytes(msgspec.json.encode(header))
    _sync(entry / _HEADER)


def _marks(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _sync(file: Path) -> None:
    """After a loss of power a file may have its size and no content, which its marks would not tell."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
