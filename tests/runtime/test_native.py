"""The library libg4ops: found, refused by name when it is absent or another, and what a session does with it."""

import ctypes.util
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from g4compile.cli.app import app
from g4compile.cli.render.installs import kernels_row
from g4compile.compiler import compile
from g4compile.errors import InputError, MachineError
from g4compile.runtime import native
from g4compile.runtime.session import load
from g4compile.targets import TARGETS


@pytest.fixture
def nothing(monkeypatch):
    """No library is named; that of the package is hidden from all tests."""
    monkeypatch.delenv("G4OPS_LIBRARY", raising=False)


def test_none_is_here(nothing):
    assert native.find_library() is None
    with pytest.raises(MachineError, match="this bundle needs the library libg4ops") as refused:
        native.require_library("this bundle")
    assert "C++20 compiler" in refused.value.fix


@pytest.mark.parametrize("name", ["text", "absent", "libc"])
def test_a_file_that_is_another(name, nothing, monkeypatch, tmp_path):
    """One that is there and cannot be used is an error, never the same as none."""
    file = Path(ctypes.util.find_library("c") or "libc.so.6") if name == "libc" else tmp_path / "libg4ops.so"
    if name == "text":
        file.write_text("no library")
    if name == "libc":
        library = ctypes.CDLL(str(file))
        monkeypatch.setattr(native.ctypes, "CDLL", lambda path: library)
    monkeypatch.setenv("G4OPS_LIBRARY", str(file))
    with pytest.raises(MachineError, match="libg4ops cannot be loaded") as refused:
        native.find_library()
    assert "G4OPS_LIBRARY" in refused.value.fix and refused.value.code == 3


def test_another_layout_is_refused(g4ops, monkeypatch):
    assert native.find_library().file == g4ops
    monkeypatch.setattr(native, "PANELS", "panels-2")
    with pytest.raises(MachineError, match="in the layout panels-1, this g4compile writes panels-2"):
        native.find_library()


def test_what_a_compile_takes(nothing, monkeypatch):
    cpu = TARGETS["onnx-cpu"]
    assert cpu.options(weights="int4").kernels == cpu.options().kernels == "onnxruntime"
    asked = cpu.options(weights="int4", kernels="g4ops")
    with pytest.raises(MachineError, match="a compile with --kernels g4ops needs the library"):
        cpu.check(None, asked)
    with pytest.raises(InputError, match="float32 weights have none"):
        cpu.options(kernels="g4ops")
    with pytest.raises(InputError, match="there are no kernels fast"):
        cpu.options(weights="int4", kernels="fast")
    with pytest.raises(MachineError, match="a compile with --kv bfloat16 needs the library"):
        cpu.check(None, cpu.options(weights="int4", kv="bfloat16"))
    with pytest.raises(InputError, match="--kernels is no option of the target tensorrt-rtx"):
        TARGETS["tensorrt-rtx"].options(kernels="g4ops")


def test_the_library_is_taken_where_it_is(g4ops):
    cpu = TARGETS["onnx-cpu"]
    assert cpu.options(weights="int4").kernels == "g4ops"
    assert cpu.options(weights="int4", kernels="onnxruntime").kernels == cpu.options().kernels == "onnxruntime"


def test_a_bundle_is_refused_without_its_library(quantized, g4ops, nothing):
    folder = _with(g4ops, quantized)
    result = CliRunner().invoke(app, ["run", str(folder), "--prompt", "Hi"])
    assert result.exit_code == 3 and "this bundle needs the library libg4ops, which is not here" in result.stderr
    shown = CliRunner().invoke(app, ["inspect", str(folder), "--json"])
    assert shown.exit_code == 0 and '"g4ops"' in shown.stdout


def _with(library, quantized):
    """The folder of a bundle that needs ``library``, compiled with it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("G4OPS_LIBRARY", str(library))
        return quantized("tiny-e2b", "mobile", "g4ops").folder


def test_panels_need_no_cache(quantized, g4ops, tmp_path):
    """They are read where they are mapped: nothing is written, and the logits are the same."""
    folder = quantized("tiny-e2b", "mobile", "g4ops").folder
    plain = load(folder, threads=1).forward([2, 5, 6])
    cached = load(folder, threads=2, cache=tmp_path / "cache").forward([2, 5, 6])
    np.testing.assert_array_equal(plain, cached)
    assert not (tmp_path / "cache").exists()


def test_two_compiles_with_panels_give_the_same_bytes(quantized, checkpoints, g4ops, tmp_path):
    again = compile(
        checkpoints("tiny-e2b").folder, "onnx-cpu", tmp_path / "again", weights="mobile", modalities=("text",),
        max_memory=1 << 20,
    )  # fmt: skip
    assert again.manifest == quantized("tiny-e2b", "mobile", "g4ops").manifest  # the hash of each file stands there


def test_doctor_and_compile_say_which(g4ops):
    assert str(g4ops) in CliRunner().invoke(app, ["doctor"]).stdout.replace("\n", "")
    assert "make native" not in kernels_row("onnxruntime")  # it was chosen, not fallen back to


def test_doctor_and_compile_say_what_is_missing(nothing):
    assert "make native" in CliRunner().invoke(app, ["doctor"]).stdout
    assert "libg4ops is not here" in kernels_row("onnxruntime")


def test_doctor_shows_a_library_that_cannot_be_used(monkeypatch, tmp_path):
    monkeypatch.setenv("G4OPS_LIBRARY", str(tmp_path / "absent.so"))
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0 and "cannot be used" in result.stdout
