"""Opening a bundle's graphs with ONNX Runtime, and the optional cache of weights rearranged for its kernels.

ONNX Runtime copies product weights into the layout its kernels want at every load: seconds, and memory that is the
process's own. With a cache folder the first load writes the rearranged model there, and later ones map it. A copy
belongs to one graph file, one ONNX Runtime and one processor; the folder holds only the newest, so it never grows,
and it may be deleted at any time.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import onnxruntime as ort

from g4compile.bundle.folder import Bundle
from g4compile.bundle.manifest import DATA
from g4compile.errors import BundleError

_PREFIX = "prepacked-"
_DONTNEED = 4  # of madvise(2)
_SAVE = {
    "session.save_external_prepacked_constant_initializers": "1",
    "session.optimized_model_external_initializers_file_name": DATA,
    "session.optimized_model_external_initializers_min_size_in_bytes": "1024",
}


def open_graph(bundle: Bundle, part: str, threads: int, cache: Path | None = None, profile: Path | None = None) -> Any:
    """An `InferenceSession` on the CPU of the graph of a ``part``. Raises BundleError when there is none, or ONNX
    Runtime refuses it.

    A ``cache`` that cannot be written or read is warned about once, and the graph loads without it. ``profile``: where
    ONNX Runtime writes the time of every node when `end_profiling` is called (a name is completed with the date).
    """
    name = bundle.manifest.graph(part)
    file = bundle.graph_path(name)
    if cache is None:
        return _session(file, threads, profile=profile)
    entry = cache / f"{_PREFIX}{_digest(bundle, name)}"
    try:
        if not entry.exists():
            _fill(file, entry)
        session = _session(entry / file.name, threads, optimise=False, profile=profile)
    except (OSError, BundleError) as error:
        shutil.rmtree(entry, ignore_errors=True)  # a damaged copy is made again by the next load
        warnings.warn(f"the cache {cache} cannot be used, loading without it: {error}", stacklevel=3)
        return _session(file, threads, profile=profile)
    # Loading compares the weights as compiled, which ONNX Runtime keeps beside the rearranged ones, and runs never
    # read them again.
    release_pages(entry / DATA)
    return session


def _session(
    file: Path, threads: int, optimise: bool = True, save_to: Path | None = None, profile: Path | None = None
) -> Any:
    options = ort.SessionOptions()
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
        return ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises a dozen types of its own; all mean the same here
        raise BundleError(
            "ONNX Runtime cannot load the bundle's graph",
            where=str(file),
            why=str(error).splitlines()[0],
            fix="check `g4compile doctor`, then compile again",
        ) from error


def release_pages(data: Path) -> None:
    """Give back the mapped pages of ``data``: those that a run needs again come back from the system's file cache."""
    try:
        libc, maps = ctypes.CDLL(None), Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except (OSError, TypeError):  # no Linux: the pages stay counted until the system wants them
        return
    for line in maps.splitlines():
        if line.endswith(f" {data.resolve()}"):
            start, end = (int(address, 16) for address in line.split(maxsplit=1)[0].split("-"))
            libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _DONTNEED)


def _fill(file: Path, entry: Path) -> None:
    """Write the entry beside its place, give it its name in one rename, and drop what it replaces."""
    entry.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".filling-", dir=entry.parent))
    try:
        _session(file, 0, save_to=partial / file.name)
        if not entry.exists():  # another process may have been quicker
            partial.rename(entry)
        for other in entry.parent.glob(f"{_PREFIX}*"):
            if other != entry:
                shutil.rmtree(other, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _digest(bundle: Bundle, name: str) -> str:
    """Of the content of all files, the ONNX Runtime and the processor: what decides the rearranged bytes."""
    files = sorted((file, spec.sha256) for file, spec in bundle.manifest.files.items() if not file.endswith(".json"))
    parts = (name, files, ort.__version__, platform.machine(), _processor())
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _processor() -> str:
    """The features of the processor (Linux), or its name: kernels are chosen by them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or os.name
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
