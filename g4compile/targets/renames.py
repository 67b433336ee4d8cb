"""Two renames that Python does not have: two names exchanged in one step, and a name taken only when it is free.

Both are `renameat2` of Linux (renameat2(2)), called through the C library. Where the C library, the kernel or the file
system lacks it, `exchange` says so, and `rename_to_new` looks before it renames.
"""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

from g4compile.errors import BundleError
from g4compile.inputs.files import is_there

_HERE = -100  # AT_FDCWD: paths are relative to the current folder
_NOREPLACE, _EXCHANGE = 1, 2
# How a missing call is answered: by the kernel, by file systems, and by containers that do not know its number.
_LACKING = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM)


def exchange(first: Path, second: Path) -> bool:
    """Let two folders change places in one step, so that both names stand for a folder at every moment.

    False, and nothing done, when the system cannot. Raises OSError when it can, and fails.
    """
    return _rename(first, second, _EXCHANGE)


def rename_to_new(source: Path, target: Path) -> None:
    """Rename ``source``. Raises FileExistsError when there is something at ``target``, an empty folder too."""
    if _rename(source, target, _NOREPLACE):
        return
    if is_there(target, BundleError):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    source.rename(target)


def _rename(source: Path, target: Path, flags: int) -> bool:
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):  # another system, or an older C library
        return False
    if call(_HERE, os.fsencode(source), _HERE, os.fsencode(target), flags) == 0:
        return True
    code = ctypes.get_errno()
    if code in _LACKING:
        return False
    raise OSError(code, os.strerror(code), str(source), None, str(target))
