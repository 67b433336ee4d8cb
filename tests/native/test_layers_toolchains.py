"""Attention, caches and experts under sanitizers and on arm64: the C++ driver of the layers."""

from __future__ import annotations

import pytest

from tests.native.arm64 import TOOLCHAIN, emulated, need_arm64
from tests.native.building import build, need_compiler, output


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
    need_arm64()
    found = emulated("max", driver(tmp_path / "arm", CMAKE_TOOLCHAIN_FILE=TOOLCHAIN))
    assert "neon_dotprod neon_i8mm" in found and " 0 wrong" in found
    assert found.splitlines()[-1] == output(str(driver(tmp_path / "own"))).splitlines()[-1]
