"""Compiled kernels as files: machine code and PTX of each, named by their content, and one manifest of all launches.

`kernels.json` is `{"format": 1, "triton": VERSION, "launches": [...]}`; a launch is the record of `launch.py` and the
names of its two files. Launches of one kernel, attributes and architecture follow each other, the one with most shared
memory first, so a launcher takes the first that its GPU and it can give (the last asks for at most 48 kB). A launcher
refuses a pointer that is not a multiple of `align`: the code would read elsewhere, or stop. `docs/design/` tells why.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from g4compile.errors import BundleError
from g4compile.targets.kernels.aot import assemble, compile_kernel, require_triton
from g4compile.targets.kernels.architectures import ARCHITECTURES
from g4compile.targets.kernels.launch import Launch
from g4compile.targets.kernels.variants import Variant

MANIFEST, FORMAT = "kernels.json", 1


@dataclass(frozen=True)
class Stored:
    """A kernel in files: how it is launched, its machine code and its PTX."""

    launch: Launch
    cubin: Path
    ptx: Path


def write(folder: Path, variants: Iterable[Variant], architectures: Iterable[int]) -> None:
    """Compile ``variants`` for every one of ``architectures`` and each budget of shared memory, into ``folder``. Raises
    MachineError without Triton."""
    triton = require_triton()
    folder.mkdir(parents=True, exist_ok=True)
    architectures, launches = tuple(architectures), []
    for variant in variants:
        for architecture in architectures:
            budgets = ARCHITECTURES[architecture].budgets
            for artefact in dict.fromkeys(compile_kernel(variant, architecture, budget) for budget in budgets):
                cubin = assemble(artefact.ptx, architecture)
                stem = f"{variant.kernel}-{hashlib.sha256(cubin).hexdigest()[:16]}.{artefact.launch.target}"
                (folder / f"{stem}.cubin").write_bytes(cubin)
                (folder / f"{stem}.ptx").write_text(artefact.ptx, encoding="utf-8")
                launches.append({**artefact.launch.json(), "cubin": f"{stem}.cubin", "ptx": f"{stem}.ptx"})
    manifest = {"format": FORMAT, "triton": triton.__version__, "launches": launches}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def read(folder: Path) -> Iterator[Stored]:
    """The kernels in ``folder``, in the order of their manifest. Raises BundleError for a format that is not ours."""
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    if manifest["format"] != FORMAT:
        raise BundleError(
            f"compiled kernels of format {manifest['format']}, and {FORMAT} is what is read",
            where=str(folder / MANIFEST),
            fix="compile them again",
        )
    for record in manifest["launches"]:
        cubin, ptx = (folder / record.pop(kind) for kind in ("cubin", "ptx"))
        yield Stored(Launch.parse(record), cubin, ptx)
