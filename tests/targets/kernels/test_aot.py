"""What kernels are compiled to: code that copies and loads many bytes at a time, for every architecture within the
shared memory that any launcher can give, and the same bytes again."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

triton = pytest.importorskip("triton", reason="Triton is not installed: it is part of the dev extra on Linux")
from g4compile.targets.kernels import attention_kernels, product_kernels
from g4compile.targets.kernels.aot import assemble, compile_source
from g4compile.targets.kernels.architectures import ARCHITECTURES, PLAIN
from g4compile.targets.kernels.attention_kernels import Heads
from g4compile.targets.kernels.kernel import within
from g4compile.targets.kernels.product_kernels import GEGLU, NONE, Matrices, Rows
from tests.targets.kernels import cubin

SYSTEM = 1024  # bytes of shared memory that are the system's from sm90 on, beside what a block may take
_WIDE = Heads(32, 4, 512, 0, writes=False, key_is_value=False, epsilon=0.0)
# Those with tiles, at sizes of 26B-A4B's experts, E2B's MLP and 31B's full layers.
TILED = {
    **{
        f"{'int4' if block else 'bf16'}-{tile}{'-gated' if act else ''}": product_kernels.product_rows(
            Matrices((704,), 2816, 4 if block else 16, block or 1, grouped=True), act, Rows(tile, gathered=True)
        )
        for tile in (16, 64, 128)
        for block in (128, 0)
        for act in (GEGLU, NONE)
    },
    "dense-int4-128": product_kernels.product_rows(Matrices((6144, 6144), 1536, 4, 128), GEGLU, Rows(128)),
    "attention": attention_kernels.attend_tokens(_WIDE, positions="*i32"),
}
FEW = [("int4-128-gated", 90), ("bf16-16", 90), ("attention", 80), ("dense-int4-128", 90)]


def checked(kernel, architecture):
    made = within(kernel, architecture, PLAIN, dependent=False)
    assert made is not None and made.shared <= PLAIN
    found = cubin.parse(assemble(made.ptx, architecture))
    assert (found.architecture, found.entry, found.threads) == (architecture, made.entry, 32 * made.way.warps)
    assert found.static == (SYSTEM if architecture >= 90 else 0)  # all else is dynamic, as `shared` says
    assert f".target {ARCHITECTURES[architecture].target}" in made.ptx and "griddepcontrol" not in made.ptx
    assert not re.search(r"\.loc\b|\.file\b|\.section\s+\.debug", made.ptx)  # folders of this machine
    assert max(wide(made.ptx)) >= 4


def wide(ptx):
    """Copies of 16 bytes to shared memory round the registers, and loads of 16 or 8 bytes."""
    copies = len(re.findall(r"cp\.async\.cg\.shared\.global[^;]*, 0x10", ptx))
    return copies, len(re.findall(r"ld\.global\S*\.v4\.b32|ld\.global\S*\.v2\.b64", ptx))


@pytest.mark.parametrize(("name", "architecture"), FEW)
def test_a_plugin_gets_a_way_of_48_kb(name, architecture):
    checked(TILED[name], architecture)


@pytest.mark.nightly
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", TILED)
def test_every_plugin_gets_a_way_of_48_kb(name, architecture):
    checked(TILED[name], architecture)


def test_without_stated_alignment_nothing_is_wide():
    """So what makes it wide is what the record promises."""
    kernel = replace(TILED["bf16-16"], aligned=frozenset())
    assert wide(compile_source(kernel.source(kernel.ways[-1], dependent=False), 90).ptx) == (0, 0)


def test_a_budget_that_no_way_keeps_has_none():
    assert within(TILED["bf16-16"], 90, 64, dependent=False) is None


_AGAIN = """
import hashlib
from g4compile.targets.kernels.aot import assemble
from g4compile.targets.kernels.kernel import within
from tests.targets.kernels.test_aot import TILED
ptx = within(TILED["bf16-16"], 90, 49152, dependent=False).ptx
print(hashlib.sha256(ptx.encode()).hexdigest(), hashlib.sha256(assemble(ptx, 90)).hexdigest())
"""


def test_the_same_source_gives_the_same_bytes(tmp_path):
    """In other processes that share no cache."""
    root = Path(__file__).parents[3]
    found = set()
    for name in ("one", "two"):
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path / name), "PYTHONPATH": str(root)}
        done = subprocess.run(
            [sys.executable, "-c", _AGAIN], capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
        )
        assert done.returncode == 0, done.stderr
        found.add(done.stdout)
    assert len(found) == 1
