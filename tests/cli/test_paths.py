"""Paths with spaces and letters of other scripts, folders that may not be written, and no home."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from g4compile.cli.app import app

NOBODY = 65534


def g4(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_paths_in_other_scripts_and_with_spaces(checkpoints, tmp_path, monkeypatch):
    root = tmp_path / "a folder, модели 模型 é 'quoted' %s {x} #1"
    shutil.copytree(checkpoints("tiny-31b").folder, root / "check point")
    recipe = root / "ré cette.txt"
    recipe.write_text("embed_tokens int4 32 symmetric float32 nearest\n* float32\n", encoding="utf-8")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.chdir(root)
    made = ["--target", "onnx-cpu", "--weights", recipe, "--dump-dir", root / "dümp", "-o", "the bündle"]
    for line in (
        ["inspect", "check point"],
        ["plan", "check point", "--target", "onnx-cpu", "--weights", recipe],
        ["compile", root / "check point", *made],
        ["inspect", "the bündle"],
        ["inspect", "the bündle", "--graph", "legal:onnx-cpu"],
        ["run", root / "the bündle", "--ids", "2,5", "--max-new-tokens", 1],
        ["bench", "the bündle", "--prompt-tokens", 2, "--new-tokens", 1, "--repeats", 1, "--cache", root / "ca che é"],
        ["opt", "dümp/01-canonicalize-constants.onnxtxt", "-p", "canonicalize-dead-code"],
    ):
        result = g4(*line)
        assert result.exit_code == 0, f"{line}: {result.output}"


@pytest.mark.parametrize(
    "line",
    [
        ["synth", "tiny-31b", "-o", b"a\xff"],
        ["compile", b"a\xff", "--target", "onnx-cpu", "-o", "b"],
        ["run", b"a\xff", "--ids", "2"],
        ["run", "b", "--prompt", b"\xc3"],
        ["opt", b"a\xff", "-p", "canonicalize-dead-code"],
    ],
)
def test_what_is_not_utf8_is_refused(tmp_path, line):
    given = [sys.executable, "-P", "-m", "g4compile", *line]
    done = subprocess.run(given, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "is not UTF-8" in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())


def test_without_a_home():
    given = [sys.executable, "-P", "-m", "g4compile", "inspect", "tiny-e2b", "--json"]
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "PYTHONPATH")}
    assert subprocess.run(given, env=environment, capture_output=True, check=False).returncode == 0


def _as_nobody(*line):
    """The exit code and the output of a verb that a user without rights runs, in a fork of this process."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        result = g4(*line)
        os.write(write, f"{result.exit_code} {result.output or result.exception!r}"[:4000].encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as said:
        code, _, output = said.read().partition(" ")
    os.waitpid(child, 0)
    return int(code), output


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_what_a_user_may_not_read_or_write(checkpoints, bundles, tmp_path):
    root = Path(tempfile.mkdtemp(prefix="g4compile-test-"))  # pytest's own folders are closed to others
    try:
        root.chmod(0o755)
        shutil.copytree(checkpoints("tiny-31b").folder, root / "checkpoint")
        shutil.copytree(bundles("tiny-31b").folder, root / "bundle")
        for folder in (root / "checkpoint", root / "bundle"):
            folder.chmod(0o555)
            for file in folder.iterdir():  # safetensors writes its own for the owner alone
                file.chmod(0o444)
        secret = root / "secret.txt"
        secret.write_text("* float32\n")
        secret.chmod(0o600)
        before = sorted(root.rglob("*"))
        target = ("--target", "onnx-cpu")
        g4("compile", root / "checkpoint", *target, "-o", tmp_path / "out")  # what it imports may be closed to others
        for folder in (root / "checkpoint", root / "bundle"):
            assert g4("inspect", folder).exit_code == 0
            code, output = _as_nobody("inspect", folder)
            assert code == 0, output
        for line in (
            ("compile", root / "checkpoint", *target, "-o", root / "out"),
            ("compile", root / "checkpoint", *target, "-o", root / "bundle", "--force"),
            ("compile", root / "checkpoint", *target, "-o", root / "checkpoint" / "out"),
            ("plan", root / "checkpoint", *target, "--weights", secret),
            ("opt", secret, "-p", "canonicalize-dead-code"),
            ("synth", "tiny-31b", "-o", root / "made"),
        ):
            code, output = _as_nobody(*line)
            assert code == 2 and ("Permission denied" in output or "not readable" in output), f"{line}: {code} {output}"
        assert sorted(root.rglob("*")) == before
    finally:
        shutil.rmtree(root)
