"""What a TensorRT engine would be given of the kernels: the compiled forms of at most 48 kB, launched as their records
say."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("triton", reason="Triton is not installed: it is part of the dev extra on Linux")
from g4compile.targets.kernels import variants
from g4compile.targets.kernels.aot import compile_kernel
from g4compile.targets.kernels.architectures import PLAIN
from g4compile.targets.tensorrt import plugins
from tests.targets.tensorrt.recorded import Recorded


def shaped(*sizes):
    return SimpleNamespace(shape_expr=list(sizes))


EXPERTS = {"width": 2816, "inner": 704, "tile": 16, "block": 0}
SLOTS = [shaped(5, 2816), shaped(640), shaped(40), shaped(128, 1408, 2816), shaped(128, 1408, 2816)]
CASES = {
    "expert_gate_up": (EXPERTS, SLOTS, (22, 40, 1), []),
    "expert_down": (EXPERTS, SLOTS, (44, 40, 1), []),
    "flash_attention": (
        {"heads": 32, "kv_heads": 4, "width": 512},
        [shaped(2, 32, 128, 512), shaped(2, 4, 1024, 512), shaped(2, 4, 1024, 512), shaped(2)],
        (8, 64, 1),
        [128, 1024],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_an_engine_is_given_what_the_record_says(name):
    attributes, operands, grid, integers = CASES[name]
    plugin = Recorded()
    plugins.register(plugin, 90)
    entry, ptx, launch, extra = plugin.aot[name](*operands, **attributes, outputs=(), tactic=0)
    made = compile_kernel(getattr(variants, name)(**attributes), 90, PLAIN)
    assert (entry, ptx) == (made.launch.entry, made.ptx)
    assert (launch.grid_x, launch.grid_y, launch.grid_z) == grid and extra == integers
    assert launch.block_x == made.launch.threads
    assert launch.shared_mem == made.launch.shared <= PLAIN
    kinds = [one.kind for one in made.launch.arguments]
    assert kinds == ["input"] * len(operands) + ["size"] * len(integers) + ["output"]
