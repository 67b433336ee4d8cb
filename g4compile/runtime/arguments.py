"""What callers give, checked before anything is done with it. Each error names the argument, its value, and what is
expected in its place."""

from __future__ import annotations

import math
import os
import reprlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from g4compile.errors import InputError
from g4compile.inputs.documents import is_text

_PER_CORE = 4  # threads: more only wait for each other, and thousands take a minute to start


def integer(name: str, value: object, least: int, most: int, why: str = "") -> int:
    """``value`` as an int from ``least`` to ``most``. Integers of NumPy are integers; True and 2.0 are none."""
    if isinstance(value, int | np.integer) and not isinstance(value, bool) and least <= int(value) <= most:
        return int(value)
    raise refused(name, value, f"an integer from {least:,} to {most:,}", why)


def real(name: str, value: object, least: float, most: float = math.inf, *, zero: bool = False) -> float:
    """``value`` as a finite float from ``least`` to ``most``, or 0 where ``zero`` is allowed too."""
    if isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number) and (least <= number <= most or (zero and number == 0)):
            return number
    limits = f"from {least:g} to {most:g}" if most < math.inf else f"of {least:g} or more, finite"
    raise refused(name, value, f"{'0, or ' if zero else ''}a number {limits}")


def flag(name: str, value: object) -> bool:
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise refused(name, value, "True or False")


def path(name: str, value: object) -> Path:
    """``value`` as a Path: a str or a path object, not empty."""
    found = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(found, str) or not found or "\0" in found or not is_text(found):
        raise refused(name, value, "a path, as a str or a pathlib.Path", "" if found != "" else "it is empty")
    return Path(found)


def optional_path(name: str, value: object) -> Path | None:
    return None if value is None else path(name, value)


def threads(value: object) -> int:
    """``value`` as a count of threads: 0, or up to 4 for each core of this machine."""
    cores = os.cpu_count() or 1
    return integer(
        "threads", value, 0, _PER_CORE * cores, f"this machine has {cores} cores, and 0 lets the runtime choose"
    )


def tokens(name: str, value: object, vocabulary: int) -> frozenset[int]:
    """``value``, a collection of token ids in any order, each below ``vocabulary``."""
    if isinstance(value, np.ndarray):
        value = value.reshape(-1).tolist()
    if not isinstance(value, Collection) or isinstance(value, str | bytes):
        raise refused(name, value, "a list of token ids")
    return frozenset(integer(f"{name}[{at}]", token, 0, vocabulary - 1) for at, token in enumerate(value))


def input_ids(value: object, vocabulary: int) -> np.ndarray[Any, Any]:
    """``value`` as int64 [batch, tokens], from integers [tokens] or [batch, tokens], each below ``vocabulary``."""
    try:
        ids = np.asarray(value)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:  # lists of unequal lengths, odd objects
        raise refused("input_ids", value, "integers of shape [batch, tokens]", str(error).splitlines()[0]) from error
    if ids.size == 0:
        raise InputError("the prompt is empty", fix="give at least one token id")
    if ids.ndim not in (1, 2) or ids.dtype.kind not in "iu" or _has_bool(value):
        raise InputError(
            f"token ids must be integers of shape [batch, tokens], got {ids.dtype} {list(ids.shape)}",
            why=f"input_ids is {_shown(value)}",
        )
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= vocabulary:
        raise InputError(
            f"token id {low if low < 0 else high} is out of range", why=f"the vocabulary has {vocabulary:,} ids, from 0"
        )
    return np.atleast_2d(ids).astype(np.int64)


def refused(name: str, value: object, expected: str, why: str = "") -> InputError:
    return InputError(f"{name} is {_shown(value)}", why=why, fix=f"{name} is {expected}")


def _has_bool(value: object) -> bool:
    """Whether a list holds a bool, which NumPy makes an integer when integers stand beside it."""
    return isinstance(value, list | tuple) and any(isinstance(one, bool) or _has_bool(one) for one in value)


def _shown(value: object) -> str:
    try:
        return f"{reprlib.repr(value)} ({type(value).__name__})"
    except ValueError:  # an integer of more digits than Python writes
        return f"too long to show ({type(value).__name__})"
