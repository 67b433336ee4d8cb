"""What the operating system refuses, as errors of ours: which file, what was done to it, why, and what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from g4compile.errors import G4Error, InputError, MachineError

_FIXES = {
    errno.ENOSPC: "free space on the disk, or choose another place",
    errno.EDQUOT: "free space within your quota, or choose another place",
    errno.EFBIG: "the file system or a limit of the shell (ulimit -f) allows no file of this size",
    errno.EIO: "the disk or the network file system failed: look at the system's log",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "the system has too many open files: close some programs",
    errno.ENOMEM: "free memory",
    errno.ENODEV: "the device is not there",
    errno.ENXIO: "the device is not there",
    errno.ESTALE: "the network file system lost the file: mount it again",
}


def system_error(
    error: OSError, doing: str, path: str | Path | None = None, kind: type[InputError] = InputError
) -> G4Error:
    """The error to raise for ``error``, which came while ``doing`` (`reading the manifest`).

    MachineError when the machine is the reason (a full disk, a failing one, too many open files), else ``kind``, since
    then a path that was given is the reason.
    """
    where = str(path if path is not None else error.filename or "")
    why = error.strerror or str(error) or type(error).__name__
    if error.errno in _FIXES:
        return MachineError(f"the system failed while {doing}", where=where, why=why, fix=_FIXES[error.errno])
    return kind(f"the system refused {doing}", where=where, why=why, fix="check the path and its permissions")


@contextmanager
def system_errors(doing: str, path: str | Path | None = None, kind: type[InputError] = InputError) -> Iterator[None]:
    """Turn every OSError of the block into one of ours (`system_error`)."""
    try:
        yield
    except OSError as error:
        raise system_error(error, doing, path, kind) from error
