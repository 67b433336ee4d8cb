"""What kernels are compiled to: code that copies and loads many bytes at a time, within the shared memory that a
launcher can give, and the same bytes again."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

triton = pytest.importorskip("triton", reason="Triton is not installed: it is part of the dev extra on Linux")
from g4compile.errors import Defect
from g4compile.targets.kernels.aot import assemble, compile_kernel
from g4compile.targets.kernels.architectures import ARCHITECTURES, PLAIN
from g4compile.targets.kernels.launch import BYTES
from tests.targets.kernels import cubin
from tests.targets.kernels.cases import ALL, FEW

MADE = [(name, architecture, budget) for name in FEW for architecture, budget in ((80, PLAIN), (90, PLAIN))]
MADE.append(("gate_up-16", 90, ARCHITECTURES[90].budgets[0]))
SYSTEM = 1024  # bytes of shared memory that are the system's from sm90 on, beside what a block may take
REAL = [(name, one, budget) for name in ALL for one, chip in ARCHITECTURES.items() for budget in chip.budgets]


def checked(variant, architecture, budget):
    made = compile_kernel(variant, architecture, budget)
    launch, ptx = made.launch, made.ptx
    entry = re.search(rf"\.entry {launch.entry}\((.*?)\)", ptx, re.DOTALL)[1]
    assert entry.count(".param") == len(launch.arguments)
    assert launch.shared <= budget and launch.opt_in == (launch.shared > PLAIN)
    code = assemble(ptx, architecture)
    found = cubin.parse(code)
    assert (found.architecture, found.entry, found.threads) == (architecture, launch.entry, launch.threads)
    assert found.static == (SYSTEM if architecture >= 90 else 0)  # all else is dynamic, as `shared` says
    assert found.parameters == parameter_bytes(launch)
    assert launch.target == ARCHITECTURES[architecture].target and f".target {launch.target}" in ptx
    assert not re.search(r"\.loc\b|\.file\b|\.section\s+\.debug", ptx)  # folders of this machine
    return made, code


def parameter_bytes(launch):
    at = 0
    for one in launch.arguments:
        size = BYTES[one.dtype] if one.kind == "size" else 8
        at = -(-at // size) * size + size
    return at


def wide(ptx):
    """Copies of 16 bytes to shared memory round the registers, and loads of 16 or 8 bytes."""
    copies = len(re.findall(r"cp\.async\.cg\.shared\.global[^;]*, 0x10", ptx))
    return copies, len(re.findall(r"ld\.global\S*\.v4\.b32|ld\.global\S*\.v2\.b64", ptx))


@pytest.mark.parametrize(("name", "architecture", "budget"), MADE)
def test_code_is_for_the_architecture_and_fits(name, architecture, budget):
    (made, _) = checked(FEW[name], architecture, budget)
    copies, loads = wide(made.ptx)
    assert loads >= 8 if FEW[name].kernel == "flash_attention" else copies >= 8


@pytest.mark.nightly
@pytest.mark.parametrize(("name", "architecture", "budget"), REAL)
def test_all_code_is_for_its_architecture_and_fits(name, architecture, budget):
    (made, _) = checked(ALL[name], architecture, budget)
    assert max(wide(made.ptx)) >= 8


def test_without_stated_alignment_nothing_is_wide():
    """So what makes it wide is what the record promises."""
    from dataclasses import replace

    variant = FEW["gate_up-16"]
    blind = replace(variant, arguments=tuple(replace(one, align=BYTES[one.dtype]) for one in variant.arguments))
    assert wide(compile_kernel(blind, 90, PLAIN).ptx) == (0, 0)


def test_a_budget_that_no_form_keeps_is_said():
    with pytest.raises(Defect, match="no form of expert_gate_up takes at most 1024 bytes"):
        compile_kernel(FEW["gate_up-16"], 90, 1024)


_AGAIN = """
import hashlib
from g4compile.targets.kernels.aot import assemble, compile_kernel
from tests.targets.kernels.cases import FEW
ptx = compile_kernel(FEW["down-128"], 90, 49152).ptx
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
