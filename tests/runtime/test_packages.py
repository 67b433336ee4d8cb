"""What is missing on a machine without a GPU, or with packages that break each other, and the repair."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import g4compile
from g4compile.errors import MachineError
from g4compile.runtime import packages
from g4compile.runtime.cuda import opening
from g4compile.runtime.cuda.present import find_gpu

REPAIR_PLAIN = "pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'onnxruntime>=1.30,<1.33'"


class Driver:
    """As much of libcuda as is asked."""

    def __init__(self, version=13_010, count=1, init=0, name=0):
        self.cuInit = lambda flags: init
        self.cuDeviceGetCount = self._gives(count)
        self.cuDriverGetVersion, self.cuDeviceGet = self._gives(version), lambda device, index: 0
        self._name = name

    def _gives(self, value):
        def call(to):
            to._obj.value = value
            return 0

        return call

    def cuDeviceGetName(self, to, size, device):
        to.value = b"a GPU"
        return self._name

    def cuDeviceGetAttribute(self, to, attribute, device):
        to._obj.value = {75: 9, 76: 0}[attribute]
        return 0


@pytest.mark.parametrize(
    ("installed", "providers", "what", "fix"),
    [
        (["onnxruntime", "onnxruntime-gpu"], ["CUDAExecutionProvider"], "both installed", packages.REPAIR),
        (["onnxruntime", "onnxruntime-gpu"], None, "both installed", packages.REPAIR),
        (["onnxruntime-gpu"], None, "cannot be used", packages.REPAIR),
        ([], None, "not installed", "pip install 'onnxruntime>=1.30,<1.33'"),
        (["onnxruntime"], ["CPUExecutionProvider"], "has no CUDA provider", packages.REPAIR),
    ],
)
def test_packages_and_their_repair(monkeypatch, installed, providers, what, fix):
    monkeypatch.setattr(packages, "installed", lambda: installed)
    monkeypatch.setattr(packages, "providers", lambda: providers)
    monkeypatch.setattr(opening, "find_gpu", lambda: "a GPU")
    with pytest.raises(MachineError, match=what) as raised:
        opening.open_device()
    assert raised.value.fix == fix


def test_the_gpu_is_asked_for_first(monkeypatch):
    """Without one, another package helps nobody."""
    monkeypatch.setattr(packages, "installed", lambda: ["onnxruntime", "onnxruntime-gpu"])
    monkeypatch.setattr(ctypes, "CDLL", lambda name: (_ for _ in ()).throw(OSError("no such file")))
    with pytest.raises(MachineError, match="no driver of NVIDIA was found"):
        opening.open_device()


@pytest.mark.parametrize(
    ("driver", "found"),
    [
        (Driver(), "a GPU, sm_90, driver of CUDA 13.1"),
        (Driver(version=12_080), "one of CUDA 12.8, and CUDA 13.0 is the least"),
        (Driver(count=0), "finds no GPU"),
        (Driver(init=999), "finds no GPU"),
        (Driver(name=101), "the error 101"),
    ],
)
def test_what_the_driver_says(monkeypatch, driver, found):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    try:
        said = find_gpu()
    except MachineError as error:
        said = error.what
    assert found in said


def test_whole_packages_and_no_cuda_python(monkeypatch):
    monkeypatch.setattr(packages, "installed", lambda: ["onnxruntime-gpu"])
    monkeypatch.setattr(packages, "providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr(opening, "find_gpu", lambda: "a GPU")
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    assert packages.cuda_fault() is None
    with pytest.raises(MachineError, match="cuda-python, which is not installed") as raised:
        opening.open_device()
    assert raised.value.fix == packages.EXTRA


def test_what_is_installed_here():
    assert packages.installed() in (["onnxruntime"], ["onnxruntime-gpu"])
    assert "CPUExecutionProvider" in packages.providers()


def test_the_graph_of_one_node_is_one():
    """It is what says whether the CUDA provider loads."""
    assert packages.provider_loads() == (packages.PROVIDER in packages.providers())


def test_the_repair_installs_a_version_that_is_admitted():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert f"onnxruntime{packages.ADMITTED}" in project["dependencies"]


# The folder of ONNX Runtime, whose files an uninstall has taken, and one whose native part does not load.
BROKEN = {
    "empty": "",
    "native": "raise ImportError('libonnxruntime.so.1: cannot open shared object file')",
    "part": "from onnxruntime.capi import onnxruntime_pybind11_state",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_package_is_said_with_its_repair(kind, tmp_path):
    """By `load`, of any bundle, and by `doctor`."""
    (tmp_path / "onnxruntime" / "capi").mkdir(parents=True)
    (tmp_path / "onnxruntime" / "__init__.py").write_text(BROKEN[kind])
    begin = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n"
    found = python(begin + "from g4compile.errors import MachineError\nimport g4compile\ntry:\n    g4compile.load\n"
                   "except MachineError as error:\n    print(error.fix)")  # fmt: skip
    assert found.stdout == f"{REPAIR_PLAIN}\n", found.stderr
    found = python(begin + "from g4compile.cli.app import app\napp(['doctor', '--json'])")
    said = json.loads(found.stdout)
    assert said["cuda"]["onnxruntime"]["fix"] == said["fixes"]["onnxruntime"] == REPAIR_PLAIN
    assert said["install"] == "broken"
    found = python(begin + "from g4compile.cli.app import app\napp(['run', 'nowhere', '--ids', '1'])")
    assert found.returncode == 3 and REPAIR_PLAIN in found.stderr


def test_one_module_imports_onnx_runtime():
    """So that a broken one is told from a missing one."""
    package = Path(g4compile.__file__).parent
    found = [file.stem for file in package.rglob("*.py") if "import onnxruntime" in file.read_text(encoding="utf-8")]
    assert found == ["onnx_runtime"]


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
