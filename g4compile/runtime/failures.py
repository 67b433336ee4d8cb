"""What ONNX Runtime and NumPy raise in the middle of a run, as errors of ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from g4compile.errors import BundleError, G4Error, MachineError

# ONNX Runtime has no type for it: `Failed to allocate memory for requested buffer of size 123`, `std::bad_alloc`.
_ALLOCATION = re.compile(
    r"fail\w* to allocate|bad.?alloc|bad allocation|out of memory|not enough memory", re.IGNORECASE
)
_FIX = "free memory, give fewer or shorter sequences, or run on a machine with more"


@contextmanager
def no_memory(what: str, size: int) -> Iterator[None]:
    """Turn a lack of memory in the block into a MachineError: for ``what``, of ``size`` bytes."""
    try:
        yield
    except (MemoryError, ValueError) as error:  # NumPy's ValueError: more bytes than addresses
        raise _lack(what, size, error) from error
    except Exception as error:  # ONNX Runtime's own types, which are RuntimeErrors in some versions and not in others
        if _ALLOCATION.search(str(error)):
            raise _lack(what, size, error) from error
        raise


@contextmanager
def run_errors(what: str, file: Path) -> Iterator[None]:
    """Turn what a run of the graph ``file`` over ``what`` raises into MachineError (memory) or BundleError (the graph
    does not fit what the manifest says of it)."""
    try:
        yield
    except G4Error:
        raise
    except Exception as error:  # ONNX Runtime raises a dozen types of its own
        why = (str(error).splitlines() or [type(error).__name__])[0]
        if isinstance(error, MemoryError) or _ALLOCATION.search(str(error)):
            raise MachineError(
                f"there is not enough memory to run {what}", where=str(file), why=why, fix=_FIX
            ) from error
        raise BundleError(
            f"ONNX Runtime cannot run the bundle's graph over {what}",
            where=str(file),
            why=why,
            fix="compile the bundle again",
        ) from error


def _lack(what: str, size: int, error: Exception) -> MachineError:
    why = (str(error).splitlines() or [type(error).__name__])[0]
    return MachineError(f"{what} need {size:,} bytes, and the system does not give them", why=why, fix=_FIX)
