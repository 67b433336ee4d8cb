"""Opening a bundle's graph with ONNX Runtime's CUDA provider, on the stream of a device.

Nothing may run elsewhere: the CPU provider is not listed, and `session.disable_cpu_ep_fallback` makes an error of a
node that the CUDA provider does not have. The exception are bundles without kernels of models with experts, where sizes
are computed from the number of tokens: ONNX Runtime does that on the host, and captures no run.
"""

from __future__ import annotations

from typing import Any

from g4compile.bundle.folder import Bundle
from g4compile.bundle.manifest import DECODER, MANIFEST
from g4compile.errors import BundleError, MachineError
from g4compile.runtime import packages
from g4compile.runtime.cuda.kernels import kernels_for
from g4compile.runtime.cuda.library import Library, require_library
from g4compile.runtime.cuda.present import find_gpu
from g4compile.runtime.device import Cuda, Device
from g4compile.runtime.graphs import check_tensors
from g4compile.runtime.onnx_runtime import ort

_WHAT = "bundles of the target onnx-cuda"
_NO_FALLBACK = "session.disable_cpu_ep_fallback"
_ENTRIES = {
    "session.use_device_allocator_for_initializers": "1",  # weights beside the arena, which grows by steps
}


def open_device() -> Cuda:
    """The first GPU. Raises MachineError where it, ONNX Runtime's CUDA provider, or cuda-python is not here."""
    find_gpu()
    found = packages.cuda_fault()
    if found is not None:
        raise found
    return Cuda(_WHAT, packages.EXTRA)


def open_graph(bundle: Bundle, device: Device, part: str = DECODER) -> Any:
    """An `InferenceSession` of the ``part`` of ``bundle`` on ``device``; the decoder, which is opened first, brings the
    kernels of all. Raises MachineError and BundleError, as `CudaSession` does."""
    spec = bundle.manifest.cuda
    assert spec is not None  # `CudaSession` has seen to it
    name, library = bundle.manifest.graph(part), None
    if spec.kernels is not None:
        library = require_library("this bundle")
        if part == DECODER:
            library.add_kernels(kernels_for(bundle, spec.kernels, device.gpu()))
    session = _session(bundle, name, device, library, spec.host_sizes)
    graph, where = bundle.manifest.graphs[name], bundle.folder / MANIFEST
    check_tensors(f"inputs of the graph {name}", session.get_inputs(), graph.inputs, where)
    check_tensors(f"outputs of the graph {name}", session.get_outputs(), graph.outputs, where)
    if library is not None:
        library.load_kernels()
    return session


def _session(bundle: Bundle, name: str, device: Device, library: Library | None, host_sizes: bool) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # the host only launches
    options.enable_mem_pattern = False  # a run that is captured allots what the run before has allotted, and no more
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # the compiler has done it
    for key, value in _ENTRIES.items():
        options.add_session_config_entry(key, value)
    options.add_session_config_entry(_NO_FALLBACK, "0" if host_sizes else "1")
    if library is not None:
        library.register(options)
    provider = {
        "device_id": "0",
        "user_compute_stream": str(device.stream),
        "enable_cuda_graph": "0" if host_sizes else "1",
        "arena_extend_strategy": "kSameAsRequested",
        "do_copy_in_default_stream": "1",
        "use_tf32": "0",
    }
    packages.load_libraries()
    file = bundle.graph_path(name)
    try:
        session = ort.InferenceSession(str(file), options, providers=[(packages.PROVIDER, provider)], enable_fallback=0)
    except Exception as error:  # ONNX Runtime raises a dozen types of its own; all mean the same here
        if not packages.provider_loads():
            raise _no_provider() from error
        raise BundleError(
            "ONNX Runtime cannot load the bundle's graph",
            where=str(file),
            why=next(iter(str(error).splitlines()), type(error).__name__),
            fix="check `g4compile doctor`, then compile again",
        ) from error
    if packages.PROVIDER not in session.get_providers():  # it said so, and went on without
        raise _no_provider()
    return session


def _no_provider() -> MachineError:
    return MachineError(
        "ONNX Runtime's CUDA provider cannot be loaded",
        why="a library of CUDA is missing, or of another version: ONNX Runtime's own message stands above",
        fix=packages.LIBRARIES,
    )
