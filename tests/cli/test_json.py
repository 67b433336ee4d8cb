"""--json: always one valid JSON object on stdout and nothing else, for results and for errors of every kind."""

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from g4compile.cli.app import VERBS, app
from g4compile.cli.streams import write_json


def g4(*arguments, **options):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], **options)


def only_object(text):
    """The one JSON object of ``text``; NaN and Infinity are no JSON."""

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    found = json.loads(text, parse_constant=refuse)
    assert isinstance(found, dict) and len(text.splitlines()) == 1
    return found


@pytest.fixture(scope="module")
def graph_file(tmp_path_factory, traced):
    from g4compile.graph.text import to_text

    file = tmp_path_factory.mktemp("graph") / "graph.onnxtxt"
    file.write_text(to_text(traced("tiny-31b")))
    return file


@pytest.fixture
def arguments(bundles, checkpoints, tmp_path, graph_file):
    """Arguments with which each verb ends well."""
    bundle, checkpoint = bundles("tiny-31b").folder, checkpoints("tiny-31b").folder
    return {
        "synth": ["tiny-31b", "-o", tmp_path / "checkpoint"],
        "plan": ["tiny-31b", "--target", "onnx-cpu"],
        "compile": [checkpoint, "--target", "onnx-cpu", "-o", tmp_path / "bundle"],
        "embed": [bundle, "-o", tmp_path / "app", "--platform", "ios"],
        "inspect": [bundle],
        "run": [bundle, "--ids", "2,5", "--max-new-tokens", 2],
        "verify": [bundle, "--against", checkpoint, "--prompt-tokens", 4, "--new-tokens", 1],
        "bench": [bundle, "--prompt-tokens", 2, "--new-tokens", 1, "--repeats", 1],
        "opt": [graph_file, "-p", "canonicalize-dead-code"],
        "doctor": [],
    }


@pytest.mark.parametrize("verb", VERBS)
def test_a_result_is_one_object(verb, arguments):
    result = g4(verb, *arguments[verb], "--json")
    assert result.exit_code == 0, result.output
    assert only_object(result.stdout)


@pytest.mark.parametrize("verb", VERBS)
def test_an_unknown_option_is_one_object(verb, arguments):
    result = g4(verb, *arguments[verb], "--no-such-option", "--json")
    found = only_object(result.stdout)
    assert found["exit_code"] == result.exit_code == 2 and found["kind"] == "InputError"
    assert "--no-such-option" in found["error"] and "--help" in found["try"]


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "doctor"])
def test_a_missing_argument_is_one_object(verb):
    result = g4(verb, "--json")
    assert only_object(result.stdout)["exit_code"] == result.exit_code == 2


@pytest.mark.parametrize(
    "given",
    [
        ["run", "bundle", "--ids", "1", "--max-new-tokens", "many"],
        ["run", "bundle", "--ids", "1", "--top-p", "2"],
        ["run", "bundle", "--ids"],
        ["plan", "e2b", "--target", "onnx-cpu", "--context", "long"],
        ["no-such-verb"],
        ["--no-such-option"],
        [],
    ],
    ids=lambda given: " ".join(given) or "no verb",
)
def test_bad_usage_is_one_object(given):
    result = g4(*given[:1], "--json", *given[1:])
    assert only_object(result.stdout)["exit_code"] == result.exit_code == 2
    assert not result.stderr


def test_without_a_verb_the_verbs_are_named():
    assert "synth" in only_object(g4("--json").stdout)["try"]


def test_usage_errors_for_people_stay_on_stderr():
    result = g4("run", "--no-such-option")
    assert result.exit_code == 2 and not result.stdout and "--no-such-option" in result.stderr


@pytest.mark.parametrize("given", [["--help"], ["run", "--help"]], ids=" ".join)
def test_help_is_one_object(given):
    result = g4(*given, "--json")
    assert result.exit_code == 0 and "Usage" in only_object(result.stdout)["text"]


def test_an_option_value_that_reads_json_is_no_option(bundles):
    shown = g4("run", bundles("tiny-31b").folder, "--prompt", "--json", "--max-new-tokens", 1)
    assert shown.exit_code == 0, shown.output


@pytest.mark.parametrize("verb", ["compile", "verify", "run", "bench", "inspect"])
def test_an_error_is_one_object(verb, arguments, tmp_path):
    given = [tmp_path / "nowhere", *arguments[verb][1:], "--json"]
    result = g4(verb, *given)
    assert only_object(result.stdout)["exit_code"] == result.exit_code == 2


def test_numbers_that_are_not_finite_become_null(capsys):
    write_json({"a": float("inf"), "b": [float("nan"), 1.5], "c": {"d": -float("inf")}}, sys.stdout)
    assert only_object(capsys.readouterr().out) == {"a": None, "b": [None, 1.5], "c": {"d": None}}


def test_a_verify_that_fails_is_one_object(arguments, monkeypatch):
    """NaN logits: the check fails, the object is whole, and the exit code is 1."""
    import numpy as np

    from g4compile.runtime.session import Session

    forward = Session.forward
    monkeypatch.setattr(Session, "forward", lambda *given, **options: forward(*given, **options) * np.nan)
    result = g4("verify", *arguments["verify"], "--json")
    found = only_object(result.stdout)
    assert result.exit_code == 1 and not found["passed"]
    assert found["parity"]["prefill"]["max_abs_difference"] is None


PRINTS = """
import ctypes, os, sys
import g4compile.runtime.session as session
load = session.load
def noisy(*arguments, **options):
    print("*************** EP Error ***************")
    os.write(1, b"from the descriptor\\n")
    ctypes.CDLL(None).puts(b"from C")
    return load(*arguments, **options)
session.load = noisy
from g4compile.cli.app import app
app(sys.argv[1:])
"""


@pytest.mark.parametrize("ids", ["2,5", "2,x"], ids=["result", "error"])
def test_what_libraries_print_goes_to_stderr(bundles, ids):
    given = ["run", str(bundles("tiny-31b").folder), "--ids", ids, "--max-new-tokens", "2", "--json"]
    done = subprocess.run([sys.executable, "-c", PRINTS, *given], capture_output=True, text=True, check=False)
    assert only_object(done.stdout)
    for printed in ("EP Error", "from the descriptor", "from C"):
        assert printed in done.stderr


def test_the_descriptor_is_given_back(bundles, capfd):
    g4("run", bundles("tiny-31b").folder, "--ids", "2", "--max-new-tokens", "1", "--json")
    os.write(1, b"still stdout")
    assert capfd.readouterr().out == "still stdout"
