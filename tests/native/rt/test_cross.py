"""libg4rt and libg4ops for systems that no test runs on: they compile and link there, and export their functions.

Needs zig, which brings headers and libraries of these systems: `pip install ziglang`, or `G4_ZIG` names the program.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from tests.native.building import NATIVE, build, need_compiler

# What a library is called, and how its file begins.
TARGETS = {
    "aarch64-macos": ("lib{}.dylib", b"\xcf\xfa\xed\xfe"),
    "x86_64-windows-gnu": ("{}.dll", b"MZ"),
    "aarch64-linux-musl": ("lib{}.so", b"\x7fELF"),
}
EXPORTED = {"g4rt": (b"g4rt_open\0", b"g4rt_image_create\0"), "g4ops": (b"RegisterCustomOps\0", b"g4ops_product\0")}


@pytest.fixture
def zig(tmp_path, monkeypatch):
    need_compiler()
    monkeypatch.setenv("ZIG_LOCAL_CACHE_DIR", str(tmp_path / "zig"))
    if given := os.environ.get("G4_ZIG"):
        return given
    found = importlib.util.find_spec("ziglang")
    if found is None or found.origin is None:
        pytest.skip("no zig: pip install ziglang, or name it in G4_ZIG")
    return str(Path(found.origin).with_name("zig"))


@pytest.mark.nightly
@pytest.mark.parametrize("target", TARGETS)
def test_libraries_for_other_systems(zig, tmp_path, target):
    toolchain = NATIVE / "cmake" / "zig.cmake"
    settings = {"CMAKE_TOOLCHAIN_FILE": toolchain, "G4_ZIG": zig, "G4_ZIG_TARGET": target}
    folder = build(tmp_path / "build", *EXPORTED, **settings)
    form, begin = TARGETS[target]
    for library, names in EXPORTED.items():
        data = (folder / form.format(library)).read_bytes()
        assert data.startswith(begin)
        assert not [name for name in names if name not in data]
