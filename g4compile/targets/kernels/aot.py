"""Kernels compiled ahead of time to PTX, on any machine: what an engine embeds, so that it needs neither Python nor
Triton.

Triton gives every kernel two trailing pointers for scratch memory, which an engine does not pass: they are cut from the
entry when the kernel does not use them. Its own PTX version is newer than what CUDA 13.0 drivers read, so an older one
is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from g4compile.errors import Defect, MachineError
from g4compile.targets.kernels.configs import Tiling

ARCHITECTURES = (80, 90, 100, 120)
_PTX_VERSION = {80: 80, 90: 80, 100: 87, 120: 87}  # the first that knows the architecture, or one every driver reads
_SCRATCH = 2  # pointers that Triton appends


@dataclass(frozen=True)
class Binary:
    """``name`` of the entry in ``ptx``; a launch takes ``threads`` a block and ``shared`` bytes."""

    name: str
    ptx: str
    threads: int
    shared: int


def compile_ptx(
    kernel: Any, signature: Mapping[str, str], constants: Mapping[str, int], tiling: Tiling, architecture: int
) -> Binary:
    """PTX of ``kernel`` for ``architecture`` (90 for sm_90a). ``signature``: Triton types of the arguments that stay
    (`*bf16`, `i32`), in order; ``constants``: the others. Raises MachineError without Triton."""
    try:
        import triton
        from triton.backends.compiler import GPUTarget
        from triton.compiler import ASTSource
    except ImportError as error:
        raise MachineError("Triton is not installed, which compiles the kernels", fix="pip install triton") from error
    types = {name: signature.get(name, "constexpr") for name in kernel.arg_names}
    source = ASTSource(kernel, types, {(kernel.arg_names.index(name),): value for name, value in constants.items()})
    options = {
        "num_warps": tiling.warps,
        "num_stages": tiling.stages,
        "ptx_version": _PTX_VERSION[architecture],
        "enable_fp_fusion": True,  # as the kernels were measured; releases differ in what they do unasked
    }
    made = triton.compile(source, target=GPUTarget("cuda", architecture, 32), options=options)
    ptx = _without_scratch(made.asm["ptx"], made.metadata.name)
    return Binary(made.metadata.name, ptx, 32 * tiling.warps, made.metadata.shared)


def _without_scratch(ptx: str, name: str) -> str:
    entry = re.search(rf"\.entry {name}\((.*?)\)", ptx, re.DOTALL)
    if entry is None:
        raise Defect(f"the PTX has no entry {name}")
    parameters = [line.strip().rstrip(",") for line in entry[1].strip().split("\n")]
    kept, scratch = parameters[:-_SCRATCH], parameters[-_SCRATCH:]
    body = ptx[entry.end() :]
    for parameter in scratch:
        symbol = parameter.split()[-1]
        if re.search(rf"\b{symbol}\b", body):
            raise Defect(f"the kernel {name} uses scratch memory, which an engine does not give it")
    joined = ",\n".join(f"\t{parameter}" for parameter in kept)
    return f"{ptx[: entry.start(1)]}\n{joined}\n{body if body.startswith(')') else ')' + body}"
