"""Kernels of an ONNX bundle as files: machine code and PTX of each, named by their content, and one manifest, which
`runtime/cuda/kernels.py` states and reads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from g4compile.runtime.cuda.kernels import FORMAT, Record
from g4compile.targets.kernels.aot import assemble
from g4compile.targets.kernels.architectures import ARCHITECTURES
from g4compile.targets.kernels.kernel import Kernel, dependent, ladder

MANIFEST = "kernels.json"


def write_kernels(folder: Path, kernels: Iterable[Kernel], architectures: Iterable[int]) -> None:
    """Compile ``kernels`` for ``architectures`` into ``folder``. Raises MachineError without Triton."""
    architectures, records = tuple(architectures), []
    for kernel in kernels:
        for architecture in architectures:
            for made in ladder(kernel, architecture).values():
                code = assemble(made.ptx, architecture)
                stem = f"{kernel.function}-{hashlib.sha256(code).hexdigest()[:16]}.{architecture}"
                cubin, ptx = f"{stem}.cubin", f"{stem}.ptx"
                (folder / cubin).write_bytes(code)
                (folder / ptx).write_text(made.ptx, encoding="utf-8")
                records.append(
                    Record(
                        kernel.name, ARCHITECTURES[architecture].target, architecture, made.entry, 32 * made.way.warps,
                        made.shared, dependent(architecture), made.way.grid, cubin, ptx,
                    )
                )  # fmt: skip
    file = {"format": FORMAT, "kernels": records}
    (folder / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(file), indent=1) + b"\n")
