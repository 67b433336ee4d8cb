"""Opening a bundle's graphs with ONNX Runtime, and the optional cache of weights rearranged for its kernels.

ONNX Runtime copies product weights into the layout its kernels want at every load: seconds, and memory that is the
process's own. With a cache folder the first load writes the rearranged model there, and later ones map it
(`prepacked.py`). A copy belongs to one graph file, one ONNX Runtime and one processor; the folder holds only the
newest, so it never grows, and it may be deleted at any time. Panels that libg4ops reads are stored as its kernels want
them, so a bundle of such weights needs no cache, and gets none.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import warnings
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from g4compile.bundle.folder import Bundle
from g4compile.bundle.manifest import DATA, MANIFEST, TensorSpec
from g4compile.bundle.requires import G4OPS
from g4compile.errors import BundleError, InputError
from g4compile.runtime.native import add_ops
from g4compile.runtime.onnx_runtime import ort
from g4compile.runtime.prepacked import discard, prepacked

Pages = tuple[int, int]  # addresses: from the first, before the second
_DONTNEED = 4  # of madvise(2)
_SAVE = {
    "session.save_external_prepacked_constant_initializers": "1",
    "session.optimized_model_external_initializers_file_name": DATA,
    "session.optimized_model_external_initializers_min_size_in_bytes": "1024",
}


def open_graph(bundle: Bundle, part: str, threads: int, cache: Path | None = None, profile: Path | None = None) -> Any:
    """An `InferenceSession` on the CPU of the graph of a ``part``. Raises BundleError when there is none, ONNX Runtime
    refuses it, or its inputs and outputs are not those of the manifest; MachineError when it needs a library that is
    not here.

    A ``cache`` that cannot be written, read or trusted is warned about once, and the graph loads without it.
    ``profile``: where ONNX Runtime writes the time of every node when `end_profiling` is called (a name is completed
    with the date).
    """
    name = bundle.manifest.graph(part)
    session = _opened(bundle, name, threads, cache, profile)
    graph, where = bundle.manifest.graphs[name], bundle.folder / MANIFEST
    check_tensors(f"inputs of the graph {name}", session.get_inputs(), graph.inputs, where)
    check_tensors(f"outputs of the graph {name}", session.get_outputs(), graph.outputs, where)
    return session


def takes_cache(bundle: Bundle) -> bool:
    """Whether weights of ``bundle`` are rearranged when it is loaded."""
    return G4OPS not in bundle.manifest.requires


def _opened(bundle: Bundle, name: str, threads: int, cache: Path | None, profile: Path | None) -> Any:
    file = bundle.graph_path(name)
    if cache is None or not takes_cache(bundle):
        return _session(file, threads, profile=profile, requires=bundle.manifest.requires)
    entry = None
    try:
        entry = prepacked(cache, _digest(bundle, name), lambda folder: _save(file, folder))
        session = _session(entry / file.name, threads, optimise=False, profile=profile)
    except (OSError, ValueError, InputError) as error:  # ValueError: a NUL in the name
        if entry is not None:  # whole, and ONNX Runtime refuses it: made again by the next load
            with suppress(OSError, InputError):
                discard(entry)
        warnings.warn(f"the cache {cache} cannot be used, loading without it: {error}", stacklevel=4)
        return _session(file, threads, profile=profile)
    # Loading compares the weights as compiled, which ONNX Runtime keeps beside the rearranged ones, and runs never
    # read them again.
    release_pages(mapped_pages(entry / DATA))
    return session


def _save(file: Path, folder: Path) -> None:
    """Write the model of the graph ``file``, optimised and with rearranged weights, into ``folder``."""
    _session(file, 0, save_to=folder / file.name)


def check_tensors(kind: str, found: Sequence[Any], said: Sequence[TensorSpec], where: Path) -> None:
    """Raise BundleError unless the graph's inputs or outputs, of ONNX Runtime, are what the manifest says: a runtime
    sizes what it feeds and fetches by the manifest."""
    real = {one.name: f"{one.type}{list(one.shape)}" for one in found}
    listed = {one.name: f"tensor({one.dtype}){list(one.shape)}" for one in said}
    for name in sorted({*real, *listed}):
        if real.get(name) != listed.get(name):
            raise BundleError(
                f"the manifest does not describe the {kind}",
                where=str(where),
                why=f"{name} is {real.get(name, 'not there')}, the manifest says {listed.get(name, 'nothing')}",
                fix="do not use this bundle; compile it again",
            )


@functools.cache
def _share_arena() -> None:
    """One arena for all graphs of this process: the decoder takes what a lookup has left free. It never shrinks."""
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(memory, None)


def _session(
    file: Path,
    threads: int,
    optimise: bool = True,
    save_to: Path | None = None,
    profile: Path | None = None,
    requires: Collection[str] = (),
) -> Any:
    _share_arena()
    options = ort.SessionOptions()
    options.add_session_config_entry("session.use_env_allocators", "1")
    add_ops(options, requires)
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    options.intra_op_num_threads = threads
    options.log_severity_level = 4 if save_to else 3
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if save_to is not None:
        options.optimized_model_filepath = str(save_to)
        for key, value in _SAVE.items():
            options.add_session_config_entry(key, value)
    try:
        # Without `enable_fallback` it tries a refused graph once more, and prints to standard output that it does.
        return ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"], enable_fallback=0)
    except Exception as error:  # ONNX Runtime raises a dozen types of its own; all mean the same here
        raise BundleError(
            "ONNX Runtime cannot load the bundle's graph",
            where=str(file),
            why=next(iter(str(error).splitlines()), type(error).__name__),
            fix="check `g4compile doctor`, then compile again",
        ) from error


def mapped_pages(data: Path) -> set[Pages]:
    """Where this process has the file ``data`` mapped; nothing where the system does not say."""
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:  # no Linux
        return set()
    found = (line.split(maxsplit=1)[0].split("-") for line in maps.splitlines() if line.endswith(f" {data.resolve()}"))
    return {(int(start, 16), int(end, 16)) for start, end in found}


def release_pages(pages: Iterable[Pages]) -> None:
    """Give back mapped pages of a file: those that a run needs again come back from the system's file cache."""
    libc = ctypes.CDLL(None)
    for start, end in pages:
        libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _DONTNEED)


def _digest(bundle: Bundle, name: str) -> str:
    """Of the content of all files, the ONNX Runtime and the processor: what decides the rearranged bytes."""
    files = sorted((file, spec.sha256) for file, spec in bundle.manifest.files.items() if not file.endswith(".json"))
    parts = (name, files, ort.__version__, platform.machine(), _processor())
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _processor() -> str:
    """The features of the processor (Linux), or its name: kernels are chosen by them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or os.name
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
