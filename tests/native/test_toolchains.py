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
    build(tmp_path, "driver", G4OPS_TESTS="ON", G4OPS_SANITIZE=sanitizers, CMAKE_BUILD_TYPE="Debug")
    assert " 0 wrong" in output(str(tmp_path / "driver"), "quick")


@pytest.mark.nightly
def test_the_ops_under_the_address_sanitizer(tmp_path):
    """The tests of the ops once more, with a library that checks every read."""
    compiler = shutil.which("g++")
    if not compiler:
        pytest.skip("no g++, whose address sanitizer can be loaded before Python")
    need_compiler()
    build(tmp_path, "g4ops", G4OPS_SANITIZE="address,undefined", CMAKE_BUILD_TYPE="Debug", CMAKE_CXX_COMPILER=compiler)
    preload = [output(compiler, f"-print-file-name={name}").strip() for name in ("libasan.so", "libubsan.so")]
    tests = [
        str(Path(__file__).parent / name)
        for name in ("test_ops.py", "test_ops_refuse.py", "test_sizes.py", "test_layer_ops.py")
    ]
    environment = {
        "LD_PRELOAD": " ".join([*preload, output(compiler, "-print-file-name=libstdc++.so").strip()]),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python's own
        "G4OPS_LIBRARY": str(tmp_path / "libg4ops.so"),
    }
    output(sys.executable, "-m", "pytest", "-q", "-k", "not mapped", *tests, **environment)
