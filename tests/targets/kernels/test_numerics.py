"""The Triton kernels in Triton's interpreter on the CPU, against float64. A process of its own: the interpreter is
chosen when Triton is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton is not installed: it is part of the dev extra on Linux")
CASES = ["gate_up_down", "ragged", "int4", "attention_full", "attention_window", "attention_ring"]


@pytest.mark.parametrize("case", CASES)
def test_kernel_is_the_reference(case):
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    script = Path(__file__).with_name("interpreted.py")
    root = script.parents[3]
    done = subprocess.run(
        [sys.executable, str(script), case], capture_output=True, text=True, env=environment, cwd=root, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
