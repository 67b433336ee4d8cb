"""Libraries of the extra `media`, imported when they are needed first."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from g4compile.errors import MachineError

INSTALL = "pip install 'g4compile[media]'"


def library(module: str, purpose: str) -> Any:
    """The imported ``module``. Raises MachineError, which names ``purpose`` and `INSTALL`, when it cannot be."""
    try:
        return import_module(module)
    except (ImportError, OSError) as error:  # OSError: a package without the library in C that it calls
        name = module.partition(".")[0]
        raise MachineError(
            f"{purpose} needs the Python package {name}, which is not installed", why=str(error), fix=INSTALL
        ) from error
