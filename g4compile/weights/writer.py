"""Graph files and their weights as external data, streamed: laid out first, then filled some rows at a time.

Where every tensor goes follows from shapes alone, so the data file is written in any order and by several threads,
and memory does not grow with the model. Tensors start on page boundaries, so that a runtime can map them.
Initializers that are views of the same bytes share one place, in one graph or in two: the codes of a tied embedding
are read by the lookup in `embed` and by the product in `decoder`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeGuard

import numpy as np
import onnx
import onnx_ir as ir

from g4compile.bundle.manifest import DATA
from g4compile.errors import Defect, MachineError
from g4compile.graph.references import static_shape
from g4compile.graph.text import renumber
from g4compile.weights.coded import CodedMatrix, CodedTensor
from g4compile.weights.formats.blocks import Array
from g4compile.weights.journal import Journal
from g4compile.weights.references import CheckpointTensor

PAGE = 4096
MAX_MEMORY = 2 << 30
INLINE = 1024  # bytes up to which a tensor stays in the graph file
_CHUNK = 16 << 20  # float32 bytes of the rows that one step reads
_WORKERS = 2

# Called with the bytes of weights done so far, of all, and the tensor just finished: its name and number.
Progress = Callable[[int, int, str], None]
Piece = tuple[int, Array]  # where it goes in the data file, and what


@dataclass
class _Job:
    """Tensors that are made together: the parts of one matrix, or one tensor alone. ``places``: part -> offset."""

    name: str
    source: CodedMatrix | ir.TensorProtocol
    places: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        return sum(self.sizes.values())


def write_graphs(
    models: Mapping[str, ir.Model],
    folder: Path,
    progress: Progress = lambda done, total, name: None,
    *,
    max_memory: int = MAX_MEMORY,
    journal: Journal | None = None,
) -> None:
    """Write each model to `NAME.onnx` and all their weights to `weights.data`, then check with `onnx.checker`.

    ``max_memory``: bytes this may hold at once. ``journal``: tensors already written by an earlier try are kept.
    Raises MachineError for a tensor that cannot be made within ``max_memory``.
    """
    for model in models.values():
        renumber(model)
    values = [value for model in models.values() for value in model.graph.initializers.values()]
    places = write_tensors(values, folder, progress, max_memory=max_memory, journal=journal)
    for name, model in models.items():
        _write_graph(model, folder / f"{name}.onnx", places)


def write_tensors(
    values: Iterable[ir.Value],
    folder: Path,
    progress: Progress = lambda done, total, name: None,
    *,
    max_memory: int = MAX_MEMORY,
    journal: Journal | None = None,
) -> dict[ir.Value, int]:
    """Write the data of ``values`` to `weights.data`; the offset of each that is not kept in its graph."""
    jobs, places = _lay_out(values)
    _write(folder / DATA, jobs, progress, max_memory, journal)
    return places


def _write_graph(model: ir.Model, file: Path, places: Mapping[ir.Value, int]) -> None:
    kept = {}
    try:
        for name, value in model.graph.initializers.items():
            tensor = kept[name] = _data(value)
            if value in places:
                shape = ir.Shape(static_shape(tensor))
                value.const_value = ir.ExternalTensor(
                    DATA, places[value], tensor.nbytes, tensor.dtype, shape=shape, name=name
                )
            else:
                value.const_value = ir.Tensor(tensor.numpy(), dtype=tensor.dtype, name=name)
        proto = ir.serde.serialize_model(model)
        # Runtimes infer their own; a dimension name wrongly shared would cost more than it tells.
        del proto.graph.value_info[:]
        file.write_bytes(proto.SerializeToString(deterministic=True))
    finally:
        for name, tensor in kept.items():
            model.graph.initializers[name].const_value = tensor
    onnx.checker.check_model(str(file), full_check=False)


def _data(value: ir.Value) -> ir.TensorProtocol:
    if value.const_value is None:
        raise Defect(f"the initializer {value.name} has no data and no reference")
    return value.const_value


def _lay_out(values: Iterable[ir.Value]) -> tuple[list[_Job], dict[ir.Value, int]]:
    """The jobs in file order, and the offset of every initializer that is not kept in its graph."""
    jobs: dict[int, _Job] = {}
    places: dict[ir.Value, int] = {}
    offset = 0
    for value in values:
        tensor, name = _data(value), str(value.name)
        if tensor.nbytes <= INLINE and not isinstance(tensor, CodedTensor):
            continue
        source, part = (tensor.matrix, tensor.part) if isinstance(tensor, CodedTensor) else (tensor, "")
        job = jobs.setdefault(id(source), _Job(name, source))
        if part not in job.places:
            job.places[part], job.sizes[part] = offset, tensor.nbytes
            offset += tensor.nbytes + -tensor.nbytes % PAGE
        places[value] = job.places[part]
    return list(jobs.values()), places


def _write(data: Path, jobs: list[_Job], progress: Progress, max_memory: int, journal: Journal | None) -> None:
    total, done = sum(job.bytes for job in jobs), 0
    progress(0, total, "weights")
    with data.open("r+b" if data.exists() else "w+b") as out, ThreadPoolExecutor(_WORKERS) as pool:
        for number, job in enumerate(jobs, 1):
            if journal is None or not journal.holds(job.name, out.fileno(), job.places, job.sizes):
                _check_memory(job, max_memory)
                if isinstance(job.source, CodedMatrix):
                    job.source.measure()
                running: list[Future[None]] = []
                for step in _steps(job, min(_CHUNK, max_memory // (8 * _WORKERS))):
                    running.append(pool.submit(_put, out.fileno(), job, step))
                    if len(running) > _WORKERS:
                        running.pop(0).result()
                for future in running:
                    future.result()
                if journal is not None:
                    journal.add(job.name, out.fileno(), job.places, job.sizes)
            done += job.bytes
            progress(done, total, f"weights: {job.name}, tensor {number} of {len(jobs)}")
        out.truncate(sum(size + -size % PAGE for job in jobs for size in job.sizes.values()))


def _check_memory(job: _Job, max_memory: int) -> None:
    """Only what cannot be made by rows is held whole: twice, while it is transposed."""
    if not _by_rows(job.source) and 2 * job.bytes > max_memory:
        raise MachineError(
            f"weight {job.name} needs {2 * job.bytes:,} bytes of memory, {max_memory:,} are allowed",
            why="it is stored transposed, so it is turned as a whole",
            fix="raise --max-memory, or choose quantised --weights",
        )


def _by_rows(source: CodedMatrix | ir.TensorProtocol) -> TypeGuard[CodedMatrix | CheckpointTensor]:
    """Whether some rows can be made without the others."""
    return isinstance(source, CodedMatrix) or (isinstance(source, CheckpointTensor) and source.by_rows)


def _steps(job: _Job, chunk: int) -> Iterator[tuple[int, int]]:
    """Row ranges of about ``chunk`` float32 bytes; one range for what is made whole."""
    source = job.source
    if not _by_rows(source):
        yield 0, 0
        return
    *leading, columns = static_shape(source.weight if isinstance(source, CodedMatrix) else source)
    rows = int(np.prod(leading))
    unit = source.unit if isinstance(source, CodedMatrix) else 1
    step = max(1, chunk // (4 * columns * unit)) * unit
    for start in range(0, rows, step):
        yield start, min(start + step, rows)


def _put(descriptor: int, job: _Job, rows: tuple[int, int]) -> None:
    for offset, array in _pieces(job, *rows):
        data, done = np.ascontiguousarray(array).reshape(-1).view(np.uint8), 0
        while done < data.size:  # a nearly full disk takes a part, and says why at the next try
            done += os.pwrite(descriptor, data[done:].data, offset + done)


def _pieces(job: _Job, start: int, stop: int) -> Iterator[Piece]:
    if isinstance(job.source, CodedMatrix):
        made = job.source.quantize(start, stop)
        for part, place in job.places.items():
            for offset, array in job.source.strips(part, made, start, stop):
                yield place + offset, array
    elif isinstance(job.source, CheckpointTensor) and job.source.by_rows:
        array = job.source.read_rows(start, stop)
        yield job.places[""] + start * array.nbytes // (stop - start), array
    else:
        yield job.places[""], job.source.numpy()
