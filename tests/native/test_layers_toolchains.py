"""Attention, caches and experts under sanitizers and on arm64: the C++ driver of the layers."""

from __future__ import annotations

import shutil

import pytest

from tests.native.building import NATIVE, build, need_compiler
from tests.native.test_toolchains import output


def driver(folder, **settings):
    """What the driver says, built with these settings."""
    need_compiler()
    build(folder, "driver_layers", G4OPS_TESTS="ON", **settings)
    return folder / "driver_layers"


@pytest.mark.nightly
@pytest.mark.parametrize("sanitizers", ["address,undefined", "thread"])
def test_the_layers_under_sanitizers(tmp_path, sanitizers):
    assert " 0 wrong" in output(str(driver(tmp_path, G4OPS_SANITIZE=sanitizers)))


@pytest.mark.nightly
def test_arm64_gives_the_same_caches_and_experts(tmp_path):
    """Cross-compiled and emulated: the hash of caches and of experts' results is that of this machine."""
    for tool in ("aarch64-linux-gnu-g++", "qemu-aarch64"):
        if not shutil.which(tool):
            pytest.skip(f"no {tool}: install g++-aarch64-linux-gnu and qemu-user")
    arm = driver(tmp_path / "arm", CMAKE_TOOLCHAIN_FILE=NATIVE / "cmake" / "aarch64-linux-gnu.cmake")
    emulated = output("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu", str(arm))
    assert "neon_dotprod" in emulated and " 0 wrong" in emulated
    assert emulated.splitlines()[-1] == output(str(driver(tmp_path / "own"))).splitlines()[-1]
