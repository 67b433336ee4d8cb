"""PTX of every kernel for every architecture, as an engine gets it, and what `ptxas` says to it."""

from __future__ import annotations

import re
import shutil
import subprocess
from types import SimpleNamespace

import pytest

pytest.importorskip("triton", reason="Triton is not installed: it is part of the dev extra on Linux")
from g4compile.targets.kernels.aot import ARCHITECTURES
from g4compile.targets.tensorrt import plugins
from tests.targets.kernels.recorded import Recorded

EXPERTS = {"width": 2816, "inner": 704}
CASES = {
    "expert_gate_up": [{**EXPERTS, "tile": tile, "block": block} for tile in (16, 64, 128) for block in (128, 0)],
    "expert_down": [{**EXPERTS, "tile": tile, "block": block} for tile in (16, 64, 128) for block in (64, 0)],
    "flash_attention": [{"heads": 32, "kv_heads": 4, "width": 512}, {"heads": 8, "kv_heads": 1, "width": 512}],
}
INPUTS = {"expert_gate_up": 5, "expert_down": 5, "flash_attention": 4}
PARAMETERS = {"expert_gate_up": 6, "expert_down": 6, "flash_attention": 7}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", CASES)
def test_ptx_is_what_the_assembler_takes(name, architecture, tmp_path):
    plugin = Recorded()
    plugins.register(plugin, architecture)
    shape = SimpleNamespace(shape_expr=[1, 32, 512, 512])
    for attributes in CASES[name]:
        made = plugin.aot[name](*[shape] * INPUTS[name], **attributes, outputs=(), tactic=0)
        symbol, ptx, launch, extra = made
        entry = re.search(rf"\.entry {symbol}\((.*?)\)", ptx, re.DOTALL)[1]
        assert entry.count(".param") == PARAMETERS[name] == INPUTS[name] + len(extra) + 1
        assert launch.block_x % 32 == 0 and launch.shared_mem <= 227 * 1024
        if shutil.which("ptxas"):
            file = tmp_path / "kernel.ptx"
            file.write_text(ptx)
            suffix = "a" if architecture >= 90 else ""
            command = ["ptxas", f"-arch=sm_{architecture}{suffix}", str(file), "-o", str(tmp_path / "kernel.cubin")]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
