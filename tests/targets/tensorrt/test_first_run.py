"""`benchmarks/gpu/first_run.py`, rehearsed: the ladder with networks interpreted in TensorRT's place, and rungs that
refuse, crash and hang."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.targets.tensorrt import rehearsal
from tests.targets.tensorrt.refusing import FOURTH

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "benchmarks" / "gpu" / "first_run.py"


def climb(work, target, *arguments, wrong=""):
    """The exit code, what was printed, and the rungs of the JSON file, by name."""
    command = [sys.executable, str(SCRIPT), str(work), "--target", target, "--stand-in", rehearsal.__name__, *arguments]
    environment = {**os.environ, rehearsal.WRONG: wrong, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    found = json.loads((work / "first_run.json").read_text())
    return done.returncode, done.stdout + done.stderr, {rung["rung"]: rung for rung in found["rungs"]}


def test_the_ladder_goes_on_behind_rungs_that_crash_and_refuse(trt, tmp_path):
    code, printed, rungs = climb(
        tmp_path, "tensorrt", "--only", "product,decode-select,decode-fused",
        wrong="product=crash,decode-select=refuse",
    )  # fmt: skip
    states = {name: rung["state"] for name, rung in rungs.items()}
    assert states == {"product": "CRASHED", "decode-select": "refused", "decode-fused": "passed"}, printed
    assert code == 1 and FOURTH in rungs["decode-select"]["error"] and FOURTH in printed
    figures = rungs["decode-fused"]["figures"]
    assert figures["attention"] == "fused" and figures["share"] <= 1.1


def test_the_ladder_goes_on_behind_a_rung_that_hangs(trt, tmp_path):
    code, printed, rungs = climb(
        tmp_path, "tensorrt", "--only", "product,bindings", "--limit", "15", wrong="product=hang"
    )
    assert [rung["state"] for rung in rungs.values()] == ["TIMED OUT", "passed"], printed
    assert code == 1 and rungs["product"]["seconds"] < 30


def test_a_rung_that_is_not_there(tmp_path):
    command = [sys.executable, str(SCRIPT), str(tmp_path), "--target", "tensorrt-rtx", "--only", "wide-heads"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "no rung of tensorrt-rtx is named wide-heads" in done.stderr


@pytest.mark.nightly
@pytest.mark.parametrize("target", ["tensorrt", "tensorrt-rtx"])
def test_the_whole_ladder(trt, tmp_path, target):
    """The last rung with a tiny model in the place of a published size."""
    arguments = "--largest", "tiny-e2b", "--context", "256", "--chunk", "32"
    code, printed, _ = climb(tmp_path, target, *arguments)
    assert code == 0, printed
