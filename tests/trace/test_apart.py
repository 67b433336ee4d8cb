"""The trace in a process of its own: what it must not run, and how its failures are told."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import g4compile
from g4compile.errors import CheckpointError, Defect, InputError, MachineError
from g4compile.graph.text import to_text
from g4compile.trace import apart
from g4compile.trace.apart import COMMAND, trace_apart

ROOT = Path(g4compile.__file__).resolve().parent.parent
HOSTILE = "open('ran.txt', 'a').write(__name__)\nraise ImportError\n"


def instead(monkeypatch, code):
    """Another program in place of the trace."""
    monkeypatch.setattr(apart, "COMMAND", (sys.executable, "-P", "-c", code))


@pytest.mark.parametrize("path", ["", ".", f".{os.pathsep}{ROOT}", f"{os.pathsep}{ROOT}"])
def test_nothing_of_the_current_folder_runs(path, checkpoints, traced, tmp_path, monkeypatch):
    for name in ("torch", "json", "numpy", "onnx_ir", "g4compile", "sitecustomize", "usercustomize"):
        (tmp_path / f"{name}.py").write_text(HOSTILE)
    source = checkpoints("tiny-e2b")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    model = trace_apart(source)
    assert not (tmp_path / "ran.txt").exists()
    assert to_text(model) == to_text(traced("tiny-e2b"))


def test_a_part_beside_the_decoder(checkpoints, traces):
    source = checkpoints("tiny-e2b")
    assert to_text(trace_apart(source, "vision")) == to_text(traces(source.facts, "vision"))
    with pytest.raises(InputError, match="the part nothing is not traced"):
        trace_apart(source, "nothing")


def test_a_folder_as_given_is_the_one_that_is_traced(checkpoints, monkeypatch):
    """A relative path means the same in the other process."""
    seen = {}
    monkeypatch.setattr(apart.subprocess, "run", lambda command, **options: seen.update(options, command=command))
    with pytest.raises(AttributeError):  # of what the stand-in returns
        trace_apart(checkpoints("tiny-e2b"))
    assert "cwd" not in seen and seen["command"] == [*COMMAND, str(checkpoints("tiny-e2b").folder), "decoder"]
    assert "-P" in COMMAND


def test_the_error_of_the_other_process_is_raised(tmp_path):
    """`python -P -m g4compile.trace` tells it as one line of JSON."""
    done = subprocess.run([*COMMAND, tmp_path / "nothing"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stdout == ""
    said = json.loads(done.stderr.splitlines()[-1])
    assert said["kind"] in ("InputError", "CheckpointError") and "nothing" in done.stderr
    with pytest.raises(InputError) as caught:
        raise apart._failure(done.stderr, done.returncode)
    assert caught.value.as_json() == said


@pytest.mark.parametrize("arguments", [(), ("tiny-e2b", "decoder", "tiny-31b")])
def test_one_or_two_arguments_are_asked_for(arguments):
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "one or two arguments" in json.loads(done.stderr)["error"]


def test_a_trace_that_fails_is_not_run_again_here(checkpoints, monkeypatch):
    error = CheckpointError("this model cannot be traced", where="layer 3", why="it is odd", fix="another").as_json()
    instead(
        monkeypatch,
        f"import sys; print('a warning', file=sys.stderr); sys.stderr.write({json.dumps(error)!r})\nsys.exit(2)",
    )
    monkeypatch.setattr("g4compile.trace.parts.decoder.export_decoder", lambda *_: pytest.fail("traced here"))
    with pytest.raises(CheckpointError, match="cannot be traced") as caught:
        trace_apart(checkpoints("tiny-e2b"))
    assert caught.value.as_json() == error


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise ValueError('out of words')", "ValueError: out of words"),
        ("import sys; sys.exit('[1]')", r"\[1\]"),
        ("import sys; sys.exit('{}')", "{}"),
        ("raise SystemExit(9)", "nothing was printed"),
    ],
)
def test_a_trace_that_fails_without_an_error_of_ours(code, message, checkpoints, monkeypatch):
    instead(monkeypatch, code)
    with pytest.raises(Defect, match=rf"failed with exit code \d\n\s+why: {message}"):
        trace_apart(checkpoints("tiny-e2b"))


def test_a_package_that_is_missing_there_is_named(checkpoints, monkeypatch):
    said = {"kind": "ModuleNotFoundError", "error": "No module named 'torch'", "module": "torch"}
    instead(monkeypatch, f"import sys; sys.stderr.write({json.dumps(said)!r}); sys.exit(3)")
    with pytest.raises(ModuleNotFoundError) as caught:
        trace_apart(checkpoints("tiny-e2b"))
    assert caught.value.name == "torch"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT])
def test_a_trace_that_a_signal_ends_says_so(number, checkpoints, monkeypatch):
    instead(monkeypatch, f"import os; os.kill(os.getpid(), {int(number)})")
    with pytest.raises(MachineError, match=f"ended by signal {int(number)}"):
        trace_apart(checkpoints("tiny-e2b"))
