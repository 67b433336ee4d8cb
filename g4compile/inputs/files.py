"""Files that nobody vouches for: opened only when they are regular files of a stated size, inside their folder.

A pipe would wait for ever, a device has no end, and a link can lead to any file that the user may read. So a file is
opened without waiting, and looked at before a byte of it is read or written.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from g4compile.errors import InputError
from g4compile.inputs.system import system_errors


@dataclass(frozen=True)
class Kind:
    """A kind of file. ``name``: in messages (`the manifest`). ``limit``: most bytes it may have. ``error``: what is
    raised about it, with ``fix``."""

    name: str
    limit: int
    error: type[InputError] = InputError
    fix: str = ""

    def refuse(self, what: str, where: str | Path, why: str = "", fix: str = "") -> InputError:
        """The error to raise about the file at ``where``."""
        return self.error(what, where=str(where), why=why, fix=fix or self.fix)


def is_there(path: Path, error: type[InputError] = InputError) -> bool:
    """Whether there is anything at ``path``, a dangling link too.

    What the system does not say is not taken for an absence, as by `os.path.lexists`: then a failing disk would have a
    file left out. Raises MachineError when the machine fails, ``error`` when the system refuses to look.
    """
    with system_errors("looking for a file", path, error):
        try:
            path.lstat()
        except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: no name that a file can have
            return False
        except OSError as problem:
            if problem.errno == errno.ENAMETOOLONG:  # nor is this
                return False
            raise
        return True


def read_bytes(path: Path, kind: Kind, within: Path | None = None) -> bytes:
    """All bytes of the regular file at ``path``. Links are followed, but not out of the folder ``within``.

    Raises ``kind.error`` for a file that is missing, no regular file, too large, or outside; MachineError when the
    machine fails.
    """
    with system_errors(f"reading {kind.name}", path, kind.error), open_file(path, kind, within) as opened:
        data = opened.read(kind.limit + 1)
    if len(data) > kind.limit:  # it has grown since
        raise _too_large(path, kind, len(data))
    return data


def open_file(path: Path, kind: Kind, within: Path | None = None) -> BinaryIO:
    """The regular file at ``path``, opened to be read in pieces. Raises as `read_bytes`."""
    with system_errors(f"reading {kind.name}", path, kind.error):
        return os.fdopen(_open(path, kind, within), "rb")


def check_file(path: Path, kind: Kind, within: Path | None = None) -> os.stat_result:
    """What the system says of the file at ``path``, when `read_bytes` would take it. Raises as `read_bytes`."""
    with system_errors(f"reading {kind.name}", path, kind.error):
        descriptor = _open(path, kind, within)
        try:
            return os.fstat(descriptor)
        finally:
            os.close(descriptor)


def write_bytes(path: Path, data: bytes, kind: Kind) -> None:
    """Write ``data`` to the file at ``path``, which is made, or is a regular file that is replaced by it.

    Links are not followed, and nothing is waited for. Raises ``kind.error`` when something else stands at ``path``, or
    it cannot be written; MachineError when the machine fails; a file half written is deleted.
    """
    with system_errors(f"writing {kind.name}", path, kind.error):
        if is_there(path, kind.error):
            _check_regular(path.lstat(), path, kind)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        with os.fdopen(descriptor, "wb") as opened:
            _check_regular(os.fstat(descriptor), path, kind)  # what was opened may have come since
            try:
                opened.truncate(0)
                opened.write(data)
                opened.flush()
            except OSError:
                path.unlink()
                raise


def root_of(folder: Path) -> Path:
    """The folder that files of ``folder`` may lie in: itself, or, of a snapshot in the cache of the Hugging Face Hub
    (`models--ID/snapshots/REVISION`, links to `models--ID/blobs`), the folder of the model there."""
    resolved = folder.resolve()
    snapshots, model = resolved.parent, resolved.parent.parent
    in_cache = snapshots.name == "snapshots" and model.name.startswith("models--") and (model / "blobs").is_dir()
    return model if in_cache else resolved


def _open(path: Path, kind: Kind, within: Path | None) -> int:
    """A descriptor of ``path``, which is a regular file of an allowed size inside ``within``."""
    real = Path(os.path.realpath(path))
    if within is not None and not real.is_relative_to(within.resolve()):
        raise kind.refuse(
            f"{path.name} is a link that leads out of its folder",
            path,
            f"it leads to {real}",
            "put a copy of the file in the place of the link",
        )
    try:
        descriptor = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError as error:
        dangling = f"it is a link to {real}, which does not exist" if path.is_symlink() else "it does not exist"
        raise kind.refuse(f"{kind.name} is missing", path, dangling) from error
    try:
        found = os.fstat(descriptor)
        _check_regular(found, path, kind)
        if found.st_size > kind.limit:
            raise _too_large(path, kind, found.st_size)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_regular(found: os.stat_result, path: Path, kind: Kind) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise kind.refuse(f"{kind.name} is no regular file", path, f"it is {_named(found.st_mode)}")


def _too_large(path: Path, kind: Kind, size: int) -> InputError:
    return kind.refuse(f"{kind.name} has {size:,} bytes, more than the {kind.limit:,} that are read", path)


def _named(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFLNK: "a link"}
    return kinds.get(stat.S_IFMT(mode), "a device")
