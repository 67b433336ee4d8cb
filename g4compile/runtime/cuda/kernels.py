"""The compiled kernels of a bundle, and which of them this GPU runs.

The manifest of kernels is `{"format": 2, "kernels": [...]}`. A record has the kernel's `name`, the `target` that its
machine code is for (`sm_90a`) and its number `sm` (90), `entry`, `threads` of a block, `shared` bytes of dynamic shared
memory, `dependent` (whether it may start before the kernel in front has ended), `grid` (three expressions of the
launch's integers), and its files `cubin` and `ptx`. Records of one name and target follow each other by falling
shared memory.

Machine code runs on GPUs of its own major number from its minor number on; that of a target with a letter on that one
alone. PTX is compiled by the driver for any GPU from its number on; with a letter for that one alone. Source: CUDA C++
Programming Guide, "Compute capabilities", application compatibility.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from g4compile.bundle.folder import Bundle
from g4compile.errors import BundleError, InputError, MachineError
from g4compile.inputs.documents import decode_json
from g4compile.inputs.files import Kind, read_bytes, root_of
from g4compile.runtime.device import Gpu

FORMAT = 2
_KIND = Kind("the list of the bundle's kernels", 64 << 20, BundleError, "compile it again")


@dataclass(frozen=True)
class Kernel:
    """A kernel as it is given to libg4cuda. ``image``: machine code, or PTX with a zero behind it."""

    name: str
    image: bytes
    entry: str
    threads: int
    shared: int
    dependent: bool
    grid: tuple[str, str, str]


class Record(msgspec.Struct, frozen=True):
    name: str
    target: str
    sm: int
    entry: str
    threads: int
    shared: int
    dependent: bool
    grid: tuple[str, str, str]
    cubin: str
    ptx: str

    @property
    def exact(self) -> bool:
        """Whether its code is for one compute capability alone."""
        return not self.target.removeprefix("sm_").isdigit()

    def runs_on(self, gpu: Gpu) -> bool:
        """Whether ``gpu`` runs the machine code."""
        return self.sm == gpu.sm or (not self.exact and self.sm // 10 == gpu.capability[0] and self.sm <= gpu.sm)

    def compiles_for(self, gpu: Gpu) -> bool:
        """Whether the driver can compile the PTX for ``gpu``."""
        return self.sm == gpu.sm or (not self.exact and self.sm <= gpu.sm)


class _File(msgspec.Struct, frozen=True):
    format: int
    kernels: tuple[Record, ...]


def kernels_for(bundle: Bundle, file: str, gpu: Gpu) -> list[Kernel]:
    """The kernels in ``file`` of ``bundle`` that ``gpu`` runs, one for each name. Warns, once, where the driver has to
    compile them.

    Raises MachineError when there is none for this GPU, BundleError for a file that is not as said above.
    """
    where = bundle.folder / file
    records = _read(bundle, where)
    machine, ptx = _choose(records, gpu, Record.runs_on), _choose(records, gpu, Record.compiles_for)
    lacking = sorted({record.name for record in records} - machine.keys() - ptx.keys())
    if lacking or not records:
        targets = ", ".join(sorted({record.target for record in records}))
        raise MachineError(
            f"this bundle has no kernels for the GPU {gpu.name}, sm_{gpu.sm}",
            where=str(where),
            why=f"its kernels are for {targets or 'no GPU'}"
            + (f", with at most {gpu.shared:,} bytes of shared memory: not {lacking[0]}" if lacking else ""),
            fix=f"compile with {_option(gpu)}",
        )
    compiled_now = len(ptx.keys() - machine.keys())
    if compiled_now:
        warnings.warn(
            f"the driver compiles {compiled_now} kernels now, for the GPU's sm_{gpu.sm}: that takes seconds; "
            f"compile the bundle with {_option(gpu)} to avoid it",
            stacklevel=2,
        )
    chosen = {name: (record, record.ptx) for name, record in ptx.items()}
    chosen |= {name: (record, record.cubin) for name, record in machine.items()}
    return [_load(bundle.folder, record, name) for record, name in chosen.values()]


def _option(gpu: Gpu) -> str:
    """Of a compile for ``gpu``; not every number has kernels of its own."""
    least = f", or the nearest of {10 * gpu.capability[0]} to {gpu.sm - 1}" if gpu.capability[1] else ""
    return f"--sm {gpu.sm}{least}"


def _choose(records: Iterable[Record], gpu: Gpu, runs: Callable[[Record, Gpu], bool]) -> dict[str, Record]:
    """By name, the record that ``gpu`` ``runs``: of the newest target, and of those with the most shared memory that
    a block may take."""
    found: dict[str, Record] = {}
    for record in sorted(records, key=lambda one: one.sm, reverse=True):  # which keeps the order of one target
        if record.shared <= gpu.shared and runs(record, gpu):
            found.setdefault(record.name, record)
    return found


def _read(bundle: Bundle, where: Path) -> tuple[Record, ...]:
    data = read_bytes(where, _KIND, root_of(bundle.folder))
    try:
        read = msgspec.convert(decode_json(data, _KIND, where), _File)
    except msgspec.ValidationError as error:
        raise _refused(where, str(error)) from error
    if read.format != FORMAT:
        raise _refused(where, f"its format is {read.format}, and {FORMAT} is what this g4compile reads")
    for record in read.kernels:
        for file in (record.cubin, record.ptx):
            if file not in bundle.manifest.files:
                raise _refused(where, f"the manifest does not list {file[:100]!r}, so nothing vouches for it")
    return read.kernels


def _load(folder: Path, record: Record, file: str) -> Kernel:
    image = (folder / file).read_bytes() + (b"\0" if file == record.ptx else b"")  # the driver reads text to its zero
    return Kernel(record.name, image, record.entry, record.threads, record.shared, record.dependent, record.grid)


def _refused(where: Path, why: str) -> InputError:
    return _KIND.refuse(f"{_KIND.name} cannot be used", where, why)
