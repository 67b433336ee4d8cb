"""The driver and the tests of the ops, under sanitizers."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.native.building import build, need_compiler, output


@pytest.mark.nightly
@pytest.mark.parametrize("sanitizers", ["address,undefined", "thread"])
def test_the_driver_under_sanitizers(tmp_path, sanitizers):
    need_compiler()
    build(tmp_path, "driver", "tasks", G4OPS_TESTS="ON", G4OPS_SANITIZE=sanitizers, CMAKE_BUILD_TYPE="Debug")
    assert " 0 wrong" in output(str(tmp_path / "driver"), "quick")
    assert output(str(tmp_path / "tasks")) == "0 wrong\n"


def run_under_the_address_sanitizer(folder, targets, tests, *options, **given):
    """Build ``targets`` so that every read is checked, and run the files ``tests`` with them."""
    compiler = shutil.which("g++")
    if not compiler:
        pytest.skip("no g++, whose address sanitizer can be loaded before Python")
    need_compiler()
    settings = {"G4OPS_SANITIZE": "address,undefined", "CMAKE_BUILD_TYPE": "Debug", "CMAKE_CXX_COMPILER": compiler}
    build(folder, *targets, G4OPS_TESTS="ON", **settings)
    preload = [output(compiler, f"-print-file-name={name}").strip() for name in ("libasan.so", "libubsan.so")]
    environment = {
        "LD_PRELOAD": " ".join([*preload, output(compiler, "-print-file-name=libstdc++.so").strip()]),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python's own
        **given,
    }
    files = [str(Path(__file__).parent / name) for name in tests]
    output(sys.executable, "-m", "pytest", "-q", *options, *files, **environment)


@pytest.mark.nightly
def test_the_ops_under_the_address_sanitizer(tmp_path):
    """The tests of the ops once more, with a library that checks every read."""
    tests = ("test_ops.py", "test_ops_refuse.py", "test_sizes.py", "test_layer_ops.py")
    library = str(tmp_path / "libg4ops.so")
    run_under_the_address_sanitizer(tmp_path, ["g4ops"], tests, "-k", "not mapped", G4OPS_LIBRARY=library)


@pytest.mark.nightly
def test_libg4cuda_under_the_address_sanitizer(tmp_path):
    """What it launches, reads and refuses once more."""
    tests = [f"test_cuda_{name}.py" for name in ("expressions", "kernels", "library", "refuse")]
    targets = ("g4cuda", "g4cuda_on_cpu", "expressions")
    without = "not without_a_warning and not cpu_library"  # which are about the build of a release
    run_under_the_address_sanitizer(tmp_path, targets, tests, "-k", without, G4CUDA_BUILD=str(tmp_path))
