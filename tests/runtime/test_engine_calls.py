"""What sessions call of TensorRT, asked of the bindings of both products, and of each release of full TensorRT that is
taken: the stand-ins of tests have nothing else."""

from __future__ import annotations

import inspect

from tests.runtime.interpreted import FAKES
from tests.targets.tensorrt.bindings import asked

RTX_ALONE = {"create_runtime_cache", "set_runtime_cache", "is_stream_capturable"}
RTX_ALONE |= {"dynamic_shapes_kernel_specialization_strategy", "cuda_graph_strategy"}
ARGUMENTS = {  # by method: kinds of what is given, behind itself
    "set_device_memory": ["int", "int"],
    "set_tensor_address": ["str", "int"],
    "set_optimization_profile_async": ["int", "int"],
    "set_input_shape": ["str", "tuple"],
    "is_stream_capturable": ["int"],
    "execute_async_v3": ["int"],
    "get_tensor_name": ["int"],
    "get_aliased_input_tensor": ["str"],
    "create_runtime_config": [],
    "create_execution_context": ["ExecutionContextAllocationStrategy"],
    "set_execution_context_allocation_strategy": ["ExecutionContextAllocationStrategy"],
}


def used():
    """(class, name, whether it is a method) of all that the stand-ins have."""
    for kind in FAKES:
        methods = {name for name, _ in inspect.getmembers(kind, inspect.isfunction)}
        set_in_init = {name for name in inspect.getsource(kind).split() if name.startswith("self.")}
        attributes = {name.removeprefix("self.").strip(",") for name in set_in_init}
        for name in sorted(methods | attributes):
            if name.isidentifier() and not name.startswith("_"):
                yield kind.__name__, name, name in methods


def test_tensorrt_rtx_has_what_is_used(trt):
    found = list(used())
    assert {"num_io_tensors", "device_memory_size_v2", "cuda_graph_strategy"} <= {name for _, name, _ in found}
    assert [(kind, name) for kind, name, _ in found if not hasattr(getattr(trt, kind), name)] == []
    assert trt.CudaGraphStrategy.DISABLED and trt.BuilderFlag.REQUIRE_USER_ALLOCATION
    assert trt.DynamicShapesKernelSpecializationStrategy.EAGER and trt.DynamicShapesKernelSpecializationStrategy.LAZY


def test_full_tensorrt_has_what_is_used(tmp_path, bindings):
    notes = [
        ["call", kind, name, ARGUMENTS[name]] if method else ["attribute", kind, name]
        for kind, name, method in used()
        if name not in RTX_ALONE and kind != "IRuntimeCache"
    ]
    notes.append(["member", "ExecutionContextAllocationStrategy", "USER_MANAGED"])
    assert asked(notes, tmp_path, bindings) == []
    assert len(asked([["call", "ICudaEngine", "get_tensor_name", ["str"]]], tmp_path, bindings)) == 1
