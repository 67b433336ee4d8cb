"""Parameters of a test: a few by default, all of a cross product in `make nightly`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest


def with_nightly(few: Sequence[tuple[Any, ...]], every: Sequence[tuple[Any, ...]]) -> list[Any]:
    """``few``, and of ``every`` the others, marked."""
    return [*few, *(pytest.param(*one, marks=pytest.mark.nightly) for one in every if one not in few)]
