"""What is asked of a bundle that was tampered with: an error of ours at load, or the logits of the whole one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count, takewhile
from pathlib import Path

import numpy as np

from g4compile.errors import BundleError, Defect, G4Error
from g4compile.runtime.session import load

PROMPT = [2, 5, 6, 7]
_LONGEST = 5.0  # seconds of the processor for one load and one run; a whole bundle of this size takes 0.05


def logits_of(folder: Path, cache: Path | None = None) -> np.ndarray:
    return load(folder, threads=1, cache=cache).forward(PROMPT)


def seeds_for(seconds: float) -> Iterator[int]:
    """Seeds that the short runs do not use, until the time is over."""
    end = time.monotonic() + seconds
    return takewhile(lambda _: time.monotonic() < end, count(10_000))


def is_refused(folder: Path, whole: np.ndarray) -> bool:
    """Whether the bundle is refused. Fails when it is not refused by an error of ours, computes anything but ``whole``,
    or takes too long."""
    started = time.process_time()
    try:
        found = logits_of(folder)
    except G4Error as error:
        assert error.code in (2, 3) and not isinstance(error, Defect), error
        assert not isinstance(error, BundleError) or error.where or error.why, error
        refused = True
    else:
        np.testing.assert_array_equal(found, whole)
        refused = False
    assert time.process_time() - started < _LONGEST
    return refused
