"""Disks that fill up, and places that cannot be written: one message, nothing left behind."""

import resource
import subprocess
import sys

import pytest

from g4compile.bundle.folder import Bundle
from g4compile.compiler import compile
from g4compile.errors import BundleError


@pytest.mark.parametrize("weights", ["float32", "int8"])
def test_a_disk_that_fills_up(weights, checkpoints, tmp_path):
    """A limit on file size stands in for a full disk: write(2) fails half-way through the weights."""
    source, out = checkpoints("tiny-31b").folder, tmp_path / "place" / "out"
    done = subprocess.run(
        [sys.executable, "-m", "g4compile", "compile", source, "--target", "onnx-cpu", "--weights", weights, "-o", out],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, 120_000)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "the disk filled up while writing" in done.stderr and "Traceback" not in done.stderr
    assert list(out.parent.iterdir()) == []
    compile(source, "onnx-cpu", out, weights=weights)
    Bundle.open(out).check_hashes()


def test_a_place_below_a_file(checkpoints, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="cannot write"):
        compile(checkpoints("tiny-31b").folder, "onnx-cpu", tmp_path / "file" / "out")


def test_force_replaces_a_bundle_and_nothing_else(checkpoints, bundles, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(BundleError, match="not a bundle, so --force will not replace it"):
        compile(checkpoints("tiny-31b").folder, "onnx-cpu", out, force=True)
    (out / "thesis.txt").unlink()
    compile(checkpoints("tiny-31b").folder, "onnx-cpu", out, force=True)
    compile(checkpoints("tiny-31b").folder, "onnx-cpu", out, force=True, context=64)
    assert Bundle.open(out).manifest.context == 64
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
