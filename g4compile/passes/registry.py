"""All passes by name, found by their files' names: a package's file `schedule_step.py` holds the pass
`schedule-step`."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from types import ModuleType
from typing import Any

from g4compile import passes


def passes_of(package: ModuleType) -> dict[str, type[Any]]:
    """The passes whose files stand in ``package``, in the order of their names."""
    found: dict[str, type[Any]] = {}
    for module in sorted(info.name for info in pkgutil.iter_modules(package.__path__)):
        name = module.replace("_", "-")
        members = vars(import_module(f"{package.__name__}.{module}")).values()
        for kind in members:
            if isinstance(kind, type) and getattr(kind, "name", None) == name:
                found[name] = kind
    return found


def all_passes() -> dict[str, type[Any]]:
    """Every pass that is no target's own."""
    return passes_of(passes)
