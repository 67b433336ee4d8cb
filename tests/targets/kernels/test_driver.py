"""The benchmark's launcher over a driver that writes down what it is asked, and its cases as chains of launches."""

from __future__ import annotations

import ctypes
import importlib
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import onnx_ir as ir
import pytest

pytest.importorskip("triton", reason="Triton is not installed: it is part of the dev extra on Linux")
from g4compile.ops.flash_attention import FlashAttention
from g4compile.targets.kernels.architectures import ARCHITECTURES, PLAIN
from g4compile.targets.tensorrt.launches import chain
from g4compile.targets.tensorrt.plugins import compiled

driver = importlib.import_module("benchmarks.gpu.driver")
kernels = importlib.import_module("benchmarks.gpu.kernels")
SIZES = [(2, 128, 32, 512), (2, 128), (2, 4, 1024, 512), (2, 4, 1024, 512)]


class Driver:
    """libcuda, as far as it is called. ``kinds`` of the arguments, in order."""

    def __init__(self, kinds):
        self.kinds, self.loaded, self.allowed, self.launches = kinds, [], [], []

    def cuModuleLoadData(self, module, image):
        self.loaded.append(image)
        return 0

    def cuModuleGetFunction(self, function, module, name):
        self.loaded.append(name)
        return 0

    def cuFuncSetAttribute(self, function, attribute, value):
        self.allowed.append((attribute, value))
        return 0

    def cuLaunchKernel(self, function, *rest):
        *sizes, stream, pointers, extra = rest
        values = [
            ctypes.cast(at, ctypes.POINTER(kind)).contents.value for at, kind in zip(pointers, self.kinds, strict=True)
        ]
        self.launches.append((sizes, stream.value, values, extra))
        return 0


def tensor(address, *shape):
    return SimpleNamespace(shape=shape, data_ptr=lambda: address)


@pytest.fixture(scope="module")
def launch():
    values = [ir.Value(name=f"i{place}", shape=ir.Shape(sizes)) for place, sizes in enumerate(SIZES)]
    node = FlashAttention.create(*values)
    node.outputs[0].type = ir.TensorType(ir.DataType.BFLOAT16)
    (link,) = chain(node, {f"i{place}": sizes for place, sizes in enumerate(SIZES)}, ())
    return link.launch


@pytest.mark.parametrize("budget", [ARCHITECTURES[90].budgets[0], PLAIN])
def test_arguments_and_grid_are_packed_as_a_plugin_is_given_them(launch, budget):
    made = compiled(launch, 90, budget)
    cuda = Driver([ctypes.c_uint64] * 4 + [ctypes.c_int32] * 3 + [ctypes.c_uint64])
    operands = [tensor(4096 * (place + 1), *sizes) for place, sizes in enumerate(SIZES)]
    driver.Kernel(cuda, launch, made)(operands, [tensor(1 << 40, *SIZES[0])], stream=7)
    ((sizes, stream, values, extra),) = cuda.launches
    rows = dict(made.way.constants)["BLOCK_M"]
    assert sizes == [8, -(-128 * 8 // rows), 1, 32 * made.way.warps, 1, 1, made.shared]
    assert (stream, extra) == (7, None)
    assert values == [4096, 8192, 12288, 16384, 1024, 128, 2, 1 << 40]
    assert cuda.loaded == [made.ptx.encode() + b"\0", b"attend_tokens"]
    assert cuda.allowed == ([(8, made.shared)] if made.shared > PLAIN else [])


def test_what_the_launch_does_not_write_is_refused(launch):
    made = compiled(launch, 90)
    kernel = driver.Kernel(Driver([]), launch, made)
    operands = [tensor(16, *sizes) for sizes in SIZES]
    with pytest.raises(ValueError, match=r"writes \[\[2, 128, 32, 512\]\]"):
        kernel(operands, [tensor(0, 2, 64, 32, 512)], 0)
    refusing = SimpleNamespace(cuModuleLoadData=lambda module, image: 209)
    with pytest.raises(RuntimeError, match="the CUDA driver says 209 to attend_tokens"):
        driver.Kernel(refusing, launch, made)


def test_cases_are_chains_of_launches(monkeypatch):
    """On the CPU, where no kernel runs."""
    torch = kernels.torch
    for name in ("randn", "rand", "randint", "arange"):
        make = getattr(torch, name)
        told = lambda *sizes, make=make, **given: make(*sizes, **{**given, "device": "cpu"})  # noqa: E731
        monkeypatch.setattr(torch, name, told)
    monkeypatch.setattr(torch.Tensor, "cuda", lambda self: self)
    found = {case.name: [link.launch.kernel.function for link in case.links] for case in kernels.cases([1, 16])}
    assert found["gate and up, 1"] == ["product_one"]
    assert found["gate and up, 16"] == ["stream_rows", "product_rows"]
    assert found["experts, gate and up, 4 bits, 16"] == found["experts, gate and up, bfloat16, 1"] == ["product_rows"]
    assert found["attention, 16"] == ["attend_tokens"]


def test_the_script_runs_from_any_folder(tmp_path):
    script = Path(kernels.__file__)
    done = subprocess.run(
        [sys.executable, str(script), "--help"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
