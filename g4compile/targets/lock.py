"""One compile at a time to one place: an empty file that is locked, and gone when the compile ends.

Not the package filelock: it takes a file with content, and a pipe, for its lock; older versions follow links and
truncate; and where a file system has no flock(2) it falls back to a file that stays after a kill.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from g4compile.errors import BundleError


@contextmanager
def locked(file: Path, output: Path) -> Iterator[None]:
    """Hold the lock ``file`` of ``output``; the file is deleted at the end. The system frees it with the process.

    Raises BundleError when another process holds it, and when ``file`` is anything but an empty regular file: a link,
    a folder, a pipe, or a file with content, which is somebody's. It is opened without following links or waiting.
    """
    descriptor = _acquire(file, output)
    try:
        yield
    finally:
        try:
            _release(descriptor, file)
        except OSError as error:  # no reason to call the work in between a failure
            warnings.warn(f"the lock {file} could not be deleted, the next compile takes it: {error}", stacklevel=3)


def _acquire(file: Path, output: Path) -> int:
    while True:
        descriptor = _open(file)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if not isinstance(error, BlockingIOError):
                raise
            raise BundleError(
                f"another compile is writing {output}", fix="wait for it, or choose another output"
            ) from None
        try:
            _check_ours(descriptor, file)
            if _is_still(descriptor, file):
                return descriptor
        except BundleError:
            os.close(descriptor)
            raise
        except OSError:
            with contextlib.suppress(OSError):  # what went wrong first is the error to show
                _release(descriptor, file)
            raise
        os.close(descriptor)


def _release(descriptor: int, file: Path) -> None:
    try:
        if _is_still(descriptor, file):  # else somebody deleted it, and what stands there is the lock of another
            file.unlink()  # while it is held: who opened it before sees that it is gone, and opens anew
    finally:
        os.close(descriptor)


def _open(file: Path) -> int:
    try:
        return os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise
        raise _not_ours(file) from error


def _check_ours(descriptor: int, file: Path) -> None:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_size:
        raise _not_ours(file)


def _is_still(descriptor: int, file: Path) -> bool:
    """Whether ``file`` is what was opened, and not deleted since by the compile that held it."""
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat(follow_symlinks=False))
    except FileNotFoundError:
        return False


def _not_ours(file: Path) -> BundleError:
    return BundleError(f"{file} is in the way, and is not a lock of g4compile", fix="move it, or choose another output")
