"""Kernels compiled ahead of time, on any machine: machine code (a cubin) for one architecture, and PTX, which a driver
compiles when it loads it. What launches them needs neither Python nor Triton.

- Triton is told what the arguments' alignment is, as its own launcher would tell it. Without, every load is of one
  number, and nothing is copied to shared memory round the registers (`cp.async`).
- Triton gives every kernel two trailing pointers for scratch memory, which no launcher of ours passes: they are cut
  from the entry when the kernel does not use them. So the cubin is assembled here, of the PTX that is left.
- Its own PTX version is newer than what CUDA 13.0 drivers read, so an older one is asked for.
- No lines of the source are recorded: they hold folders of this machine. The same source gives the same bytes.
"""

from __future__ import annotations

import importlib
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from g4compile.errors import Defect, MachineError
from g4compile.targets.kernels.architectures import ARCHITECTURES
from g4compile.targets.kernels.entry import Entry

_SCRATCH = 2  # pointers that Triton appends
_STATED = 16  # the one alignment that Triton makes use of


@dataclass(frozen=True)
class Source:
    """What is compiled: ``function`` of the module of this folder that ``module`` names, the ``types`` of its run-time
    arguments in their order, its ``constants``, the arguments that are multiples of 16, and how it is run."""

    module: str
    function: str
    types: tuple[tuple[str, str], ...]
    constants: tuple[tuple[str, int | float], ...]
    aligned: frozenset[str]
    warps: int
    stages: int


@dataclass(frozen=True)
class Made:
    """PTX, its entry, and bytes of shared memory of a block."""

    ptx: str
    entry: str
    shared: int


def assemble(ptx: str, architecture: int) -> bytes:
    """The cubin of ``ptx``, by the `ptxas` that Triton brings. Raises MachineError without Triton."""
    require_triton()
    from triton.backends.nvidia.compiler import get_ptxas

    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "kernel.ptx", Path(folder) / "kernel.cubin"
        source.write_text(ptx)
        command = [get_ptxas(architecture).path, f"-arch={ARCHITECTURES[architecture].target}", source, "-o", made]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Defect(f"ptxas does not take the PTX: {done.stderr.strip()[-500:]}")
        return made.read_bytes()


@cache  # a way to run a kernel is tried for several budgets
def compile_source(source: Source, architecture: int) -> Made:
    """``source`` for ``architecture`` (90 for sm_90a). Raises MachineError without Triton."""
    triton = require_triton()
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    kernel = getattr(importlib.import_module(f"{__package__}.{source.module}"), source.function)
    place, types, constants = kernel.arg_names.index, dict(source.types), dict(source.constants)
    if [name for name in kernel.arg_names if name in types] != list(types):
        raise Defect(f"{source.function} takes its arguments in another order than {', '.join(types)}")
    if {*types, *constants} != set(kernel.arg_names):
        raise Defect(f"{source.function} takes other arguments than {', '.join([*types, *constants])}")
    asked = ASTSource(
        kernel,
        {name: types.get(name, "constexpr") for name in kernel.arg_names},
        {(place(name),): value for name, value in constants.items()},
        {(place(name),): [["tt.divisibility", _STATED]] for name in types if name in source.aligned},
    )
    options = {
        "num_warps": source.warps,
        "num_stages": source.stages,
        "ptx_version": ARCHITECTURES[architecture].ptx,
        "enable_fp_fusion": True,  # as the kernels were measured; releases differ in what they do unasked
    }
    with triton.knobs.compilation.scope():
        triton.knobs.compilation.disable_line_info = True
        made = triton.compile(asked, target=GPUTarget("cuda", architecture, 32), options=options)
    entry = Entry.of(made.asm["ptx"], made.metadata.name)
    return Made(entry.without(_SCRATCH).ptx, entry.name, made.metadata.shared)


def require_triton() -> Any:
    """The module. Raises MachineError where it is not installed."""
    try:
        import triton
    except ImportError as error:
        raise MachineError("Triton is not installed, which compiles the kernels", fix="pip install triton") from error
    return triton
