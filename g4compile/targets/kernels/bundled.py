"""Kernels of an ONNX bundle as files: machine code and PTX of each, named by their content, and one manifest, which
`runtime/cuda/kernels.py` states and reads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from g4compile.runtime.cuda.kernels import FORMAT, Record
from g4compile.targets.kernels.aot import assemble
from g4compile.targets.kernels.architectures import ARCHITECTURES
from g4compile.targets.kernels.kernel import Compiled, Kernel, dependent, ladder

MANIFEST = "kernels.json"


def write_kernels(folder: Path, kernels: Iterable[Kernel], architectures: Iterable[int]) -> None:
    """Compile ``kernels`` for ``architectures`` into ``folder``. Raises MachineError without Triton."""
    chosen = tuple(architectures)
    with ThreadPoolExecutor() as pool:  # machine code is made by processes of its own, beside what Triton does
        made = [
            (kernel, architecture, one, pool.submit(assemble, one.ptx, architecture))
            for kernel in kernels
            for architecture in chosen
            for one in ladder(kernel, architecture).values()
        ]
        records = [_write(folder, kernel, architecture, one, code.result()) for kernel, architecture, one, code in made]
    file = {"format": FORMAT, "kernels": records}
    (folder / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(file), indent=1) + b"\n")


def _write(folder: Path, kernel: Kernel, architecture: int, made: Compiled, code: bytes) -> Record:
    """Write the machine ``code`` and the PTX of what was ``made`` of a kernel."""
    stem = f"{kernel.function}-{hashlib.sha256(code).hexdigest()[:16]}.{architecture}"
    cubin, ptx = f"{stem}.cubin", f"{stem}.ptx"
    (folder / cubin).write_bytes(code)
    (folder / ptx).write_text(made.ptx, encoding="utf-8")
    return Record(
        kernel.name, ARCHITECTURES[architecture].target, architecture, made.entry, 32 * made.way.warps, made.shared,
        dependent(architecture), made.way.grid, cubin, ptx,
    )  # fmt: skip
