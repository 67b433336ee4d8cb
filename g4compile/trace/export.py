"""A module of a part as an exported program, with what its importer needs to know beside it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.fx.config

from g4compile.errors import Defect


@dataclass(frozen=True)
class Exported:
    """The program of the ``part``, names for its inputs and outputs in order, and the values of buffers no checkpoint
    stores. ``axes``: by input or output, a name for each dynamic size, empty for a fixed one. ``key``: of a parameter's
    path the key that stores it."""

    part: str
    program: torch.export.ExportedProgram
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    axes: Mapping[str, tuple[str, ...]]
    key: Callable[[str], str]
    buffers: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)


def export_program(
    module: torch.nn.Module, inputs: tuple[Any, ...], dynamic: tuple[Any, ...], source_lines: bool
) -> torch.export.ExportedProgram:
    """``module`` exported with example ``inputs``; ``dynamic`` has the shape of ``inputs`` and names their free
    sizes."""
    with warnings.catch_warnings(), torch.no_grad(), _stack_traces(source_lines):
        warnings.simplefilter("ignore")
        return torch.export.export(module, inputs, dynamic_shapes=dynamic, strict=False)


def encoder(
    part: str,
    program: torch.export.ExportedProgram,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    axes: Mapping[str, tuple[str, ...]],
    buffers: Mapping[str, np.ndarray[Any, Any]] | None = None,
) -> Exported:
    """The ``program`` of a part beside the decoder, whose parameters have the names that store them, without `model.`.
    Raises Defect for a buffer that no checkpoint stores and ``buffers`` does not have."""
    given = buffers or {}
    lost = set(program.graph_signature.non_persistent_buffers) - set(given)
    if lost:
        raise Defect("the model has a buffer that no rule computes", where=", ".join(sorted(lost)))
    return Exported(part, program, inputs, outputs, axes, lambda path: f"model.{path}", given)


@contextmanager
def _stack_traces(wanted: bool) -> Iterator[None]:
    """Whether `torch.export` keeps Python stacks."""
    before = torch.fx.config.do_not_emit_stack_traces
    torch.fx.config.do_not_emit_stack_traces = not wanted
    try:
        yield
    finally:
        torch.fx.config.do_not_emit_stack_traces = before
