"""The examples do what they say, on tiny models."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from g4compile.runtime.text import TextCodec

EXAMPLES = Path(__file__).parent.parent / "examples"
FIVE = ("chat", "compare_stages", "compile_with_recipe", "time_backends", "write_a_pass")
VARIANT = "tiny-e2b"


def example(name):
    """What the file defines, as by `import`."""
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


@pytest.mark.parametrize("name", FIVE)
def test_an_example_is_short_and_says_how_it_is_run(name):
    source = (EXAMPLES / f"{name}.py").read_text()
    assert len(source.splitlines()) <= 60
    assert f"python examples/{name}.py" in source.split('"""')[1]


def test_the_demo_runs(tmp_path):
    """What `make demo` does behind its installation, with a checkpoint of its own."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / "demo.py"], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "text, image, audio" in done.stdout and "equal: every top-1 token is the same" in done.stdout


def test_chat_keeps_the_earlier_turns(bundles, capsys):
    questions = ["What is the capital of France?", "And of Italy?"]
    messages = example("chat")["chat"](bundles(VARIANT).folder, questions, max_new_tokens=4)
    assert [message["role"] for message in messages] == ["user", "assistant"] * 2
    assert [message["content"] for message in messages[::2]] == questions
    kept = [int(count) for count in re.findall(r"\[(\d+) tokens kept", capsys.readouterr().out)]
    assert kept[0] == 0 and kept[1] > 10


def test_chat_gives_the_model_what_the_template_says(bundles):
    """Ids behind an answer are those of the whole conversation; with another template all is computed again."""
    own, codec = example("chat"), TextCodec(bundles(VARIANT))
    asked, answer, question = ({"role": role, "content": role} for role in ("user", "assistant", "user"))
    ids = own["between"](codec, [asked], question)
    whole = codec.encode_chat([asked, answer, question])
    assert ids and whole == [*codec.encode_chat([asked]), *codec.encode("assistant")[1:], *ids]
    codec._files.templates["default"] = "{{ messages[-1]['content'] }}"
    assert own["between"](codec, [asked], question) is None


def test_a_recipe_of_ones_own_is_compiled_and_verified(checkpoints, tmp_path, capsys):
    own = example("compile_with_recipe")
    report = own["compile_with"](own["RECIPE"], checkpoints(VARIANT).folder, tmp_path)
    assert report.passed and report.cost
    said = capsys.readouterr().out
    assert f"is the compiler right: {report.verdict}" in said and f"what the recipe costs: {report.cost}" in said


def test_a_pass_of_ones_own_changes_the_graph():
    own = example("write_a_pass")
    assert "Mul (x, one)" in own["EXAMPLE"]
    text = own["run"](own["EXAMPLE"])
    assert "Mul" not in text and "one" not in text and "g4.GeGLU (x, x)" in text


def test_every_stage_is_compared(checkpoints, traced, capsys):
    parities = example("compare_stages")["compare"](checkpoints(VARIANT), traced(VARIANT))
    assert list(parities) == ["traced", "canonical", "fused", "scheduled", "quantized", "legal:onnx-cpu"]
    assert all(0 < parity.max_abs_difference < 2e-4 and parity.top1_agreement == 1 for parity in parities.values())
    assert capsys.readouterr().out.count("largest difference") == 6


def test_two_bundles_are_timed_side_by_side(bundles, quantized, capsys):
    folders = [bundles(VARIANT).folder, quantized(VARIANT, "int4").folder]
    timings = example("time_backends")["time_both"](*folders, threads=1, repeats=1)
    assert all(np.isfinite(one.decode_tokens_per_second) for one in timings)
    said = capsys.readouterr().out
    assert "onnx-cpu, float32" in said and "onnx-cpu, int4" in said and said.count("x\n") == 4
