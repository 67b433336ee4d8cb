"""The benchmark's launcher over a driver that writes down what it is asked, and its cases beside the JIT's launches."""

from __future__ import annotations

import ctypes
import importlib
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("triton", reason="Triton is not installed: it is part of the dev extra on Linux")
from g4compile.targets.kernels import artefacts, variants
from g4compile.targets.kernels.architectures import ARCHITECTURES, PLAIN
from tests.targets.kernels.cases import FEW

driver = importlib.import_module("benchmarks.gpu.driver")
ptx = importlib.import_module("benchmarks.gpu.ptx")


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
        kinds = [ctypes.c_int32 if kind == "size" else ctypes.c_uint64 for kind in self.kinds]
        values = [
            ctypes.cast(at, ctypes.POINTER(kind)).contents.value for at, kind in zip(pointers, kinds, strict=True)
        ]
        self.launches.append((sizes, stream.value, values, extra))
        return 0


def tensor(address, *shape):
    return SimpleNamespace(shape=shape, data_ptr=lambda: address)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kernels")
    artefacts.write(folder, [FEW["attention-31b"]], [90])
    return list(artefacts.read(folder))


def attention():
    q, k, v = (tensor(4096 * (place + 1), 2, heads, new, 512) for place, (heads, new) in enumerate(HEADS))
    return [q, k, v, tensor(4, 2)], tensor(1 << 40, 2, 32, 128, 512)


HEADS = [(32, 128), (4, 1024), (4, 1024)]


@pytest.mark.parametrize("form", [0, -1])
def test_arguments_and_grid_are_packed_as_the_record_says(stored, form):
    one = stored[form]
    cuda = Driver([argument.kind for argument in one.launch.arguments])
    inputs, output = attention()
    driver.Kernel(cuda, one, ptx=False)(inputs, output, stream=7)
    ((sizes, stream, values, extra),) = cuda.launches
    rows = one.launch.grid[1].over
    assert sizes == [8, -(-128 * 8 // rows), 1, one.launch.threads, 1, 1, one.launch.shared]
    assert (stream, extra) == (7, None)
    assert values == [4096, 8192, 12288, 4, 128, 1024, 1 << 40]
    assert cuda.loaded == [one.cubin.read_bytes(), b"flash_attention"]
    assert cuda.allowed == ([(8, one.launch.shared)] if one.launch.shared > PLAIN else [])


def test_ptx_ends_with_a_zero(stored):
    cuda = Driver([])
    driver.Kernel(cuda, stored[-1], ptx=True)
    assert cuda.loaded[0] == stored[-1].ptx.read_bytes() + b"\0"


def test_a_launch_that_the_record_forbids_is_refused(stored):
    cuda = Driver([])
    kernel = driver.Kernel(cuda, stored[-1], ptx=False)
    inputs, output = attention()
    with pytest.raises(ValueError, match="k of flash_attention is not at a multiple of 16"):
        kernel([inputs[0], tensor(4104, 2, 4, 1024, 512), *inputs[2:]], output, 0)
    with pytest.raises(ValueError, match=r"writes \[2, 32, 128, 512\]"):
        kernel(inputs, tensor(0, 2, 32, 64, 512), 0)
    assert not cuda.launches
    cuda.cuModuleLoadData = lambda module, image: 209
    with pytest.raises(RuntimeError, match="the CUDA driver says 209 to flash_attention"):
        driver.Kernel(cuda, stored[-1], ptx=False)


class Jit:
    """A kernel under Triton's JIT, which writes its grid and constants down."""

    def __init__(self):
        self.calls = []

    def __getitem__(self, grid):
        return lambda *operands, **constants: self.calls.append((grid, constants))


@pytest.fixture
def jit(monkeypatch):
    """The benchmark on the CPU; no kernel runs."""
    torch = pytest.importorskip("torch")
    found = {name: Jit() for name in ("expert_gate_up", "expert_down", "flash_attention")}
    for name, one in found.items():
        monkeypatch.setattr(ptx.kernels, name, one)
    for module in (ptx, ptx.kernels):
        monkeypatch.setattr(module, "GPU", torch.device("cpu"))
    return found


@pytest.mark.parametrize("tokens", [1, 64, 512])
@pytest.mark.parametrize("coded", [False, True])
def test_experts_are_launched_as_the_jit_launches_them(jit, tokens, coded):
    """The best form of every variant: its grid, constants and the shapes that it is given."""
    nothing = ptx.torch.zeros(1)
    experts = SimpleNamespace(**{kind: {"gate_up": nothing, "down": nothing} for kind in ("bf16", "codes", "scales")})
    for case in ptx.expert_cases(experts, tokens, coded):
        calls = jit[case.variant.kernel].calls
        assert case.jit(0) is not None
        same_as_the_best_form(case, *calls[-1])


@pytest.mark.parametrize("place", range(len(ptx.ATTENTION)))
def test_attention_is_launched_as_the_jit_launches_it(jit, place, monkeypatch):
    monkeypatch.setattr(ptx.torch, "randn", lambda *sizes, **_: ptx.torch.zeros(1).expand(sizes))
    case = ptx.attention_case(*ptx.ATTENTION[place])
    case.jit(0)
    same_as_the_best_form(case, *jit["flash_attention"].calls[-1])


def same_as_the_best_form(case, grid, constants):
    form = case.variant.forms[0]
    inputs, output = case.calls[0]
    names = [one.name for one in case.variant.arguments if one.kind == "input"]
    shapes = {name: one.shape for name, one in zip(names, inputs, strict=True)}
    assert [size.of(shapes) for size in form.grid] == [*grid, 1]
    run = {"num_warps": form.tiling.warps, "num_stages": form.tiling.stages}
    assert constants == {**dict(form.constants), **run}
    (written,) = [one for one in case.variant.arguments if one.kind == "output"]
    assert [size.of(shapes) for size in written.shape] == list(output.shape)


def test_forms_are_those_that_the_gpu_can_run(stored):
    variant, target = FEW["attention-31b"], ARCHITECTURES[90].target
    assert ptx.forms_of(stored, variant, target, 232448) == stored
    assert ptx.forms_of(stored, variant, target, 101376) == stored[-1:]
    assert ptx.forms_of(stored, variant, "sm_80", 232448) == []
    assert ptx.forms_of(stored, variants.flash_attention(8, 1, 512), target, 232448) == []


def test_every_case_has_its_variant():
    wanted = {
        ptx.made_of(kernel, n, c) for kernel in ("expert_gate_up", "expert_down") for n in ptx.TOKENS for c in (0, 1)
    }
    assert wanted <= set(ptx.all_variants())


def test_the_script_runs_from_any_folder(tmp_path):
    script = Path(ptx.__file__)
    done = subprocess.run(
        [sys.executable, str(script), "--help"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
