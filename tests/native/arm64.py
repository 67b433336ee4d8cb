"""How tests build for arm64 and run it: Debian's cross compiler, and QEMU's emulation of one program."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.native.building import NATIVE, output

TOOLCHAIN = NATIVE / "cmake" / "aarch64-linux-gnu.cmake"
LIBRARIES = "/usr/aarch64-linux-gnu"


def need_arm64(processor="max"):
    for tool in ("aarch64-linux-gnu-g++", "qemu-aarch64"):
        if not shutil.which(tool):
            pytest.skip(f"no {tool}: install g++-aarch64-linux-gnu and qemu-user")
    known = subprocess.run(["qemu-aarch64", "-cpu", "help"], check=False, capture_output=True, text=True).stdout
    if processor not in known.split():
        pytest.skip(f"this qemu-aarch64 knows no {processor}: QEMU 7.1 or later does")


def emulated(processor, program, *arguments, root=LIBRARIES, **environment):
    """What a program says on an emulated processor; it must succeed. It sees the files of ``root`` as those of `/`."""
    return output("qemu-aarch64", "-cpu", processor, "-L", str(root), str(program), *arguments, **environment)
