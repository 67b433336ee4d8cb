"""How contexts are made, by product: all work in memory that the session gives them. TensorRT-RTX compiles kernels when
a context is made, and keeps them in a cache.

Source: NVIDIA, `ICudaEngine.create_execution_context`, `IRuntimeConfig`, `IRuntimeCache`.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import warnings
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from g4compile.bundle.folder import Bundle
from g4compile.errors import G4Error, InputError
from g4compile.inputs.files import Kind, read_bytes
from g4compile.runtime.prepacked import make_folder

# A context of an engine, which has that name among the plans; None when TensorRT cannot make one.
MakeContext = Callable[[Any, str], Any]
RTX = "tensorrt-rtx"
_SUFFIX, _MOST = ".kernels", 1 << 29  # bytes that are kept at most


def plain_contexts(trt: Any) -> MakeContext:
    """Of full TensorRT, whose module is ``trt``."""
    strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
    return lambda engine, name: engine.create_execution_context(strategy)


class CompiledContexts:
    """Of TensorRT-RTX, whose module is ``trt``. ``fixed``: the names of plans whose contexts each have one shape: their
    kernels are made for it before the first run. Others begin with kernels for any shape. ``file``: where compiled
    kernels are kept; None to make them at every start."""

    def __init__(self, trt: Any, fixed: Collection[str], file: Path | None) -> None:
        self._trt, self._fixed, self._file = trt, fixed, file
        self._cache: Any = None
        self._stored = b""

    def __call__(self, engine: Any, name: str) -> Any:
        trt, config = self._trt, engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        kinds = trt.DynamicShapesKernelSpecializationStrategy
        config.dynamic_shapes_kernel_specialization_strategy = kinds.EAGER if name in self._fixed else kinds.LAZY
        config.cuda_graph_strategy = trt.CudaGraphStrategy.DISABLED  # the session captures its runs
        if self._cache is None:
            self._cache = config.create_runtime_cache()
            self._restore()
        config.set_runtime_cache(self._cache)
        return engine.create_execution_context(config)

    def _restore(self) -> None:
        if self._file is None or not os.path.lexists(self._file):
            return
        kind = Kind("the cache of compiled kernels", _MOST, InputError, "delete it")
        try:
            stored = read_bytes(self._file, kind, self._file.parent)
            taken = bool(self._cache.deserialize(stored))
        except (G4Error, OSError, RuntimeError) as error:
            _note(self._file, f"cannot be read: {error}")
            return
        if taken:
            self._stored = stored
        else:
            _note(self._file, "was made by another TensorRT-RTX, driver or GPU, or is damaged")

    def save(self) -> None:
        """Write what was compiled, where there is a file for it, and it is not there yet. What cannot be written is a
        warning: it is made again."""
        if self._file is None or self._cache is None:
            return
        data = bytes(self._cache.serialize())
        if data == self._stored:
            return
        if len(data) > _MOST:
            _note(self._file, f"is not written: {len(data):,} bytes are more than {_MOST:,}")
            return
        try:
            _replace(self._file, data)
        except OSError as error:
            _note(self._file, f"could not be written: {error}")

    def close(self) -> None:
        self._cache = None


def cache_file(bundle: Bundle, cache: Path | None) -> Path | None:
    """Where in the folder ``cache`` the kernels of ``bundle`` are kept, one file for each set of plans. The folder is
    made. Raises InputError when it is not this user's alone: what stands there is run."""
    if cache is None:
        return None
    make_folder(cache)
    manifest = bundle.manifest
    digest = hashlib.sha256("".join(manifest.files[graph.file].sha256 for graph in manifest.graphs.values()).encode())
    return cache / f"{RTX}-{digest.hexdigest()[:16]}{_SUFFIX}"


def _replace(file: Path, data: bytes) -> None:
    """Write ``file``, in one rename, and delete those of other plans: the folder holds one at most."""
    handle, name = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as opened:
            opened.write(data)
        Path(name).replace(file)
        for other in file.parent.glob(f"{RTX}-*{_SUFFIX}"):
            if other != file:
                other.unlink(missing_ok=True)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _note(file: Path, what: str) -> None:
    warnings.warn(f"the cache of compiled kernels {file} {what}; kernels are compiled again", stacklevel=2)
