"""libg4cuda: what its ops launch, and how large their outputs are. No GPU: `tests/native/cuda.py`."""

from __future__ import annotations

import shutil
import subprocess

import onnxruntime as ort
import pytest

from tests.native.building import build, need_compiler
from tests.native.cuda import (
    FLOAT,
    HALF,
    INT,
    KERNELS,
    LONG,
    SHAPES,
    WHOLE,
    graph,
    kernel,
    launches,
    named,
    norm,
)  # fmt: skip

# Input counts and output types of docs/design/0010-onnx-cuda.md; + marks an input that every node has.
OPS = {
    "EmbedRows": ("++.", [FLOAT]),
    "EmbedRowsNarrow": ("++.", [HALF]),
    "RotaryAngles": ("++", [FLOAT]),
    "PerLayerInputs": ("+++", [HALF]),
    "NormProduct": ("+....+......", [HALF, FLOAT, HALF, HALF]),
    "NormLogits": ("+....+......", [FLOAT, FLOAT, HALF, HALF]),
    "Product": ("++.....", [HALF, HALF]),
    "CachedAttention": ("++++.++", [HALF, HALF, FLOAT]),
    "Router": ("+++++", [HALF, FLOAT, INT, INT, INT, FLOAT, FLOAT, INT, INT]),
    "RoutedGateUp": ("++++.", [HALF]),
    "RoutedDown": ("++++.", [HALF]),
    "ExpertSum": ("++++++", [HALF]),
    "NextToken": ("+", [LONG, FLOAT]),
    "TopTokens": ("+", [FLOAT, LONG, LONG]),
}
NAMES = {FLOAT: "float", HALF: "bfloat16", INT: "int32", LONG: "int64"}


def at(run, *names):
    return [run["outputs"][name]["address"] for name in names]


def test_one_row(machine):
    """The first condition that holds: its one launch, with its addresses, integers and null for what is absent."""
    answer = machine(KERNELS, [(norm(), SHAPES)])
    (model,) = answer["models"]
    ((call, entry, fields, arguments),) = launches(answer)
    assert (call, entry) == ("cuLaunchKernelEx", "one_entry")
    assert fields == {
        "grid": "3,16,1", "block": "256,1,1", "shared": "60000", "stream": "(nil)", "launch_attribute": "6:1"
    }  # fmt: skip
    h, w0 = (model["inputs"][name] for name in ("i0", "i5"))
    # The last two are scratch that the compiler of the kernel added.
    assert arguments == [h, 0, w0, *at(model["runs"][0], "o0", "o1"), 40, 16, 0, 0]
    outputs = model["runs"][0]["outputs"]
    assert [outputs[name]["shape"] for name in ("o0", "o1", "o2")] == [[1, 1, 40], [1, 1, 16], [1, 1, 16]]


def test_more_rows(machine):
    """Another condition: its launches, in their order; one that may not start early is launched the plain way."""
    answer = machine(KERNELS, [(norm(), {**SHAPES, "i0": [2, 3, 16]})])
    (model,) = answer["models"]
    first, second = launches(answer)
    assert first[:3] == (
        "cuLaunchKernel", "norm_entry", {"grid": "6,1,1", "block": "64,1,1", "shared": "1024", "stream": "(nil)"}
    )  # fmt: skip
    h, pre, w0 = (model["inputs"][name] for name in ("i0", "i4", "i5"))
    (x, y) = at(model["runs"][0], "o2", "o0")
    assert first[3] == [h, pre, x, 6]
    assert second[:2] == ("cuLaunchKernelEx", "product_entry") and second[2]["grid"] == "3,12,7"
    assert second[3] == [x, w0, y, 6, 3, 7]
    assert model["runs"][0]["outputs"]["o0"]["shape"] == [2, 3, 40]


def test_shared_memory_above_48_kib_is_asked_for(machine):
    answer = machine(KERNELS, load=True)
    assert [line for line in answer["log"] if line.startswith("attribute")] == ["attribute one_entry 8 60000"]


def test_kernels_are_loaded_once_a_context(machine):
    answer = machine(KERNELS, [(norm(), SHAPES)], load=True)
    assert answer["error"] == "" and [line for line in answer["log"] if line.startswith("load")] == [
        "load one_entry", "load norm_entry", "load product_entry"
    ]  # fmt: skip
    answer = machine(KERNELS, [(norm(), SHAPES)], contexts=(1, 1, 2, 1, 2))
    assert [line for line in answer["log"] if line.startswith("load")] == ["load one_entry"] * 2
    assert len(launches(answer)) == 5


def test_threads_run_one_session(machine):
    """Whoever comes first loads the kernel, and all launch it with addresses of their own."""
    answer = machine(KERNELS, [(norm(), SHAPES)], threads=8)
    assert [line for line in answer["log"] if line.startswith("load")] == ["load one_entry"]
    made = [at(run, "o0", "o1") for run in answer["models"][0]["runs"]]
    assert sorted(one[3][3:5] for one in launches(answer)) == sorted(made) and len(made) == 8


def test_nothing_is_launched(machine):
    """By `-`, and by a grid with a 0 in it; outputs are made all the same."""
    none = norm(["r<=1 -", "* two.norm i0 i4 o2 r*0"])
    answer = machine(KERNELS, [(none, SHAPES), (none, {**SHAPES, "i0": [1, 2, 16]})])
    assert launches(answer) == []
    shapes = [model["runs"][0]["outputs"]["o0"]["shape"] for model in answer["models"]]
    assert shapes == [[1, 1, 40], [1, 2, 40]]


def test_no_rows(machine):
    """Outputs without elements, and a grid of 0."""
    answer = machine(
        KERNELS, [(norm(["* two.norm i0 i4 o2 r"], [f"* {one}" for one in WHOLE]), {**SHAPES, "i0": [0, 3, 16]})]
    )
    assert launches(answer) == [] and answer["models"][0]["runs"][0]["outputs"]["o0"]["shape"] == [0, 3, 40]


@pytest.mark.parametrize("op", OPS)
def test_operands_of_each_op(machine, op):
    """All of them, and the fewest."""
    inputs, types = OPS[op]
    most = graph(
        op, named("i", [HALF] * len(inputs)), named("o", types), ["* -"],
        [f"* o{i} {i + 1} 2" for i in range(len(types))],
    )  # fmt: skip
    few = [HALF if one == "+" else None for one in inputs]
    fewest = graph(op, named("i", few), named("o", types[:1]), ["* all i0 r"], ["* o0 3"])
    shapes = [{f"i{i}": [1, 2, 3] for i, one in enumerate(given) if one} for given in ([HALF] * len(inputs), few)]
    answer = machine([kernel("all")], [(most, shapes[0]), (fewest, shapes[1])])
    full, small = (model["runs"][0]["outputs"] for model in answer["models"])
    assert full == {
        f"o{i}": {"address": full[f"o{i}"]["address"], "shape": [i + 1, 2], "type": f"tensor({NAMES[one]})"}
        for i, one in enumerate(types)
    }
    assert small["o0"]["shape"] == [3] and [one[3][1] for one in launches(answer)] == [2]


def test_an_op_lacks_an_operand(machine):
    """ONNX Runtime itself refuses it."""
    for op, (inputs, types) in OPS.items():
        few = [HALF if one == "+" else None for one in inputs]
        last = max(i for i, one in enumerate(few) if one)
        short = graph(op, named("i", few[:last]), named("o", types[:1]), ["* -"], ["* o0 3"])
        (model,) = machine([], [(short, None)])["models"]
        assert model["error"], op


def test_the_ops_are_for_the_cuda_provider(cuda_built):
    options = ort.SessionOptions()
    options.register_custom_ops_library(str(cuda_built / "libg4cuda.so"))
    with pytest.raises(Exception, match="NormProduct"):
        ort.InferenceSession(
            norm(["* -"], [f"* {one}" for one in WHOLE]).SerializeToString(),
            options,
            providers=["CPUExecutionProvider"],
        )


def test_no_kernel_of_the_cpu_library_is_in_it(cuda_built):
    """And nothing of CUDA is linked."""
    file = cuda_built / "libg4cuda.so"
    linked = subprocess.run(["readelf", "-d", str(file)], check=False, capture_output=True, text=True).stdout
    assert "libstdc++" in linked or "libc++" in linked, linked
    assert "cuda.so.1]" not in linked and "cudart" not in linked and "onnxruntime" not in linked
    exported = subprocess.run(
        ["nm", "-D", "--defined-only", str(file)], check=True, capture_output=True, text=True
    ).stdout
    ours = {line.split()[-1] for line in exported.splitlines() if " T " in line}
    assert ours == {
        "RegisterCustomOps", "g4cuda_add_kernel", "g4cuda_last_error", "g4cuda_load_kernels", "g4cuda_version"
    }  # fmt: skip


@pytest.mark.parametrize("compiler", ["g++", "clang++", "clang++-16", "clang++-19"])
def test_it_builds_without_a_warning(tmp_path, compiler):
    need_compiler()
    found = shutil.which(compiler)
    if not found:
        pytest.skip(f"no {compiler}")
    build(tmp_path, "g4cuda", "expressions", G4OPS_TESTS="ON", CMAKE_CXX_COMPILER=found)
