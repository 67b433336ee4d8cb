"""Whether a builder can be made, asked in a process of its own: what that process may do is told, whatever it is."""

from __future__ import annotations

import json
import sys

import pytest
from typer.testing import CliRunner

from g4compile.cli.app import app
from g4compile.targets.tensorrt import probe
from g4compile.targets.tensorrt.edition import FULL, RTX

LACKING = {
    "error": "TensorRT 11.2.1.2 makes no builder here",
    "why": "Unable to load library: libnvinfer_builder_resource_sm90.so.11.2.1",
    "try": "install",
}


def answering(monkeypatch, code):
    monkeypatch.setattr(probe, "COMMAND", (sys.executable, "-c", code))


def test_tensorrt_rtx_makes_a_builder_here(trt):
    assert probe.try_builder(RTX) == {"found": f"TensorRT-RTX {trt.__version__} makes a builder"}


def test_what_the_process_says_is_told(monkeypatch):
    answering(monkeypatch, f"print('a word of the library'); print({json.dumps(LACKING)!r})")
    assert probe.try_builder(FULL) == LACKING


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("import os; os.abort()", "TensorRT ended its process by signal 6"),
        ("import sys; print('broken', file=sys.stderr); sys.exit(5)", "TensorRT made no builder: exit code 5"),
        ("import time; time.sleep(60)", "TensorRT made no builder in 1 seconds"),
        ("print('no object')", "TensorRT made no builder: exit code 0"),
    ],
)
def test_a_process_that_gives_no_answer(code, error, monkeypatch):
    answering(monkeypatch, code)
    found = probe.try_builder(FULL, seconds=1 if "sleep" in code else 60)
    assert found["error"] == error and "libraries" in found["try"]
    assert found.get("why", "") == ("broken" if "broken" in code else "")


def test_an_error_of_the_product_is_the_answer(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = probe._answer(FULL)
    assert found == {"error": "TensorRT is not installed", "try": FULL.install}


def test_doctor_shows_it(monkeypatch):
    """And a target whose builder cannot be made does not compile here."""
    monkeypatch.setattr(probe, "builders", lambda: {"tensorrt-rtx": LACKING, "tensorrt": {"found": "it does"}})
    found = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)
    assert found["builders"]["tensorrt-rtx"] == LACKING and not found["targets"]["tensorrt-rtx"]
    shown = CliRunner().invoke(app, ["doctor"]).stdout
    assert "libnvinfer_builder_resource_sm90.so.11.2.1" in shown and "it does" in shown
