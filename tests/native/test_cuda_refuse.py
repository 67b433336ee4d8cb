"""What libg4cuda says of plans, calls and drivers that are wrong: the node, the kernel, and why."""

from __future__ import annotations

import ctypes
import re

import pytest

from tests.native.cuda import KERNELS, SHAPES, WHOLE, Machine, build_stub, kernel, launches, norm

SIZES = [f"* {one}" for one in WHOLE]
ONE_MORE = [f"* one {' '.join(['1'] * 65)}"]
NODE = 'NormProduct "the NormProduct": '
REFUSED = {
    "no launches": (None, SIZES, "there is no attribute launches of strings"),
    "no sizes": (["* -"], None, "there is no attribute sizes of strings"),
    "an empty plan": ([], SIZES, "no launch has this condition"),
    "an empty plan and no sizes": ([], [], "launches is empty"),
    "an empty launch": ([""], SIZES, 'launches "": there must be a condition, a kernel and its arguments'),
    "no kernel": (["*"], SIZES, r'launches "\*": there must be a condition, a kernel and its arguments'),
    "a condition": (["r<1 one"], SIZES, '"r<1" is not a condition'),
    "an unknown kernel": (["* three"], SIZES, 'there is no kernel "three": kernels are given to libg4cuda before'),
    "an argument": (["* one x0"], SIZES, r'"x0" is not an expression: at place 0 there must be a number, r or iN\.A'),
    "an input that no node has": (["* one i12"], SIZES, "the op has no input 12"),
    "an output that no node has": (["* one o4"], SIZES, "the op has no output 4"),
    "scratch without sizes": (["* two.norm o3 1"], SIZES, r"under the condition \* output 3 has no sizes"),
    "a size of an absent input": (["* one i1.0"], SIZES, "it reads sizes of input 1, which the node does not have"),
    "a condition on an absent input": (["i1.0<=1 -"], SIZES, "reads sizes of input 1, which the node does not have"),
    "many arguments": (ONE_MORE, SIZES, "there are 65 arguments, more than 64"),
    "arguments of nothing": (["* - 1"], SIZES, "- takes no arguments"),
    "integers for a grid": (["* one i0 3"], SIZES, 'grid "a0/16 a1 1" of the kernel reads integer argument 1, and the'),
    "a size of no condition": (["r<=1 -"], SIZES, "no launch has this condition; - as a kernel launches nothing"),
    "an output without sizes": (["* -"], SIZES[:2], r"under the condition \* output 2 has no sizes"),
    "an empty size": (["* -"], ["*"], r'sizes "\*": there must be a condition, an output and its sizes'),
    "an output's name": (["* -"], ["* 0 1"], '"0" is not an output: oN'),
    "an output twice": (["* -"], [*SIZES, "* o0 1"], "the output has sizes under this condition already"),
    "many axes": (["* -"], ["* o0" + " 1" * 9], "an output has at most 8 axes"),
    "a size of an absent output": (["* -"], ["* o4 1"], "the op has no output 4"),
    "a dimension": (["* -"], ["* o0 r/0"], r'sizes "\* o0 r/0": "r/0" is not an expression'),
}  # fmt: skip


def test_plans_that_are_refused(machine):
    """When the graph is opened, with the node, the string and the reason."""
    models = [(norm(plan, sizes), None) for plan, sizes, _ in REFUSED.values()]
    answer = machine(KERNELS, models)
    for (what, (_, _, words)), model in zip(REFUSED.items(), answer["models"], strict=True):
        assert re.search(f"{NODE}.*({words})", model.get("error", "")), (what, model)


TAKES = 'the kernel "{}" takes parameters of {} bytes, and the launch has arguments of {}'
ROWS = {**SHAPES, "i0": [1, 2, 16]}
CALLS = {
    "no condition": (["r<=1 -"], ROWS, "none of the conditions holds: r<=1"),
    "an axis": (["* two.norm i0 i4 o2 i0.5"], SHAPES, "i0.5 reads size 5 of input 0, which has 3 axes"),
    "an int32": (["* two.norm i0 i4 o2 r*2147483648"], SHAPES, "is 2147483648, more than an int32 holds"),
    "64 bits": (["* two.norm i0 i4 o2 r*9223372036854775807*2"], SHAPES, "is more than 64 bits hold"),
    "too few": (["* two.norm i0 i4 1"], SHAPES, TAKES.format("two.norm", "8 8 8 4", "8 8 4")),
    "too many": (["* two.norm i0 i4 o2 1 1"], SHAPES, TAKES.format("two.norm", "8 8 8 4", "8 8 8 4 4")),
    "other kinds": (["* two.norm i0 i4 1 o2"], SHAPES, TAKES.format("two.norm", "8 8 8 4", "8 8 4 8")),
    "hidden integers": (["r<=1 -", "* four i0"], ROWS, TAKES.format("four", "8 4", "8")),
    "hidden pointers": (["* three i0"], SHAPES, TAKES.format("three", "8 8 8 8", "8")),
}


def test_calls_that_are_refused(machine):
    more = [*KERNELS, kernel("three", (8, 8, 8, 8)), kernel("four", (8, 4))]
    models = []
    for plan, shapes, _ in CALLS.values():
        conditions = dict.fromkeys(one.split(" ")[0] for one in plan)
        models.append((norm(plan, [f"{condition} {one}" for condition in conditions for one in WHOLE]), shapes))
    answer = machine(more, models)
    for (what, (_, _, words)), model in zip(CALLS.items(), answer["models"], strict=True):
        error = model["runs"][0].get("error", "")
        assert NODE in error and words in error, (what, model)
    assert launches(answer) == []


@pytest.mark.parametrize(
    "call", ["cuModuleLoadData", "cuModuleGetFunction", "cuFuncLoad", "cuFuncSetAttribute", "cuFuncGetParamInfo"]
)
def test_a_kernel_that_the_driver_refuses(machine, call):
    """When kernels are loaded, and in a call where that was left out."""
    answer = machine(KERNELS[:1], load=True, environment={"STUB_FAIL": call})
    words = rf'{call} of the kernel "one".*: CUDA_ERROR_UNKNOWN \(unknown error\)'
    assert "the kernels of the bundle cannot be loaded on this GPU" in answer["error"]
    assert re.search(words, answer["error"]), answer
    (model,) = machine(KERNELS, [(norm(), SHAPES)], environment={"STUB_FAIL": call})["models"]
    assert re.search(f"{NODE}{words}", model["runs"][0]["error"]), model


@pytest.mark.parametrize(("call", "rows"), [("cuLaunchKernelEx", 1), ("cuLaunchKernel", 2)])
def test_a_launch_that_the_driver_refuses(machine, call, rows):
    shapes = {**SHAPES, "i0": [1, rows, 16]}
    answer = machine(KERNELS, [(norm(), shapes)], environment={"STUB_FAIL": call})
    error = answer["models"][0]["runs"][0]["error"]
    name, grid = ("one", "3 16 1, 256 threads, 60000") if rows == 1 else ("two.norm", "2 1 1, 64 threads, 1024")
    words = f'{NODE}{call} of the kernel "{name}" (grid {grid} bytes of shared memory): CUDA_ERR'
    assert words in error
    assert launches(answer) == []


def test_another_entry(machine):
    one = {**kernel("one"), "entry": "other"}
    assert (
        'cuModuleGetFunction of the kernel "one" (entry other): CUDA_ERROR_NOT_FOUND'
        in machine([one], load=True)["error"]
    )


def test_no_context(machine):
    answer = machine(KERNELS, [(norm(), SHAPES)], environment={"STUB_FAIL": "cuCtxGetId"})
    assert (
        "cuCtxGetId of the current context: there is none on this thread: error 201"
        in answer["models"][0]["runs"][0]["error"]
    )
    assert (
        "there is none on this thread" in machine(KERNELS, load=True, environment={"STUB_FAIL": "cuCtxGetId"})["error"]
    )


def real_driver():
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def test_no_driver(cuda_built, tmp_path):
    if real_driver():
        pytest.skip("this machine has libcuda.so.1")
    machine = Machine(cuda_built, None, tmp_path)
    words = (
        r"libcuda.so.1 cannot be loaded \(libcuda.so.1: .*\): install NVIDIA's driver, or give the container its GPUs"
    )
    assert re.search(words, machine(KERNELS, load=True)["error"])
    (model,) = machine(KERNELS, [(norm(), SHAPES)])["models"]
    assert re.search(f"{NODE}{words}", model["runs"][0]["error"])


def test_a_driver_that_is_too_old(cuda_built, tmp_path):
    machine = Machine(cuda_built, build_stub(tmp_path / "old", "-DcuFuncGetParamInfo=absent"), tmp_path)
    answer = machine(KERNELS, load=True)
    assert (
        "libcuda.so.1 has no cuFuncGetParamInfo: the driver is too old, install version 550 or later" in answer["error"]
    )
