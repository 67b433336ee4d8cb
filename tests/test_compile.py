"""Compiling: same bytes twice, nothing left behind by a kill, weights that do not fit the config."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from g4compile.bundle.folder import Bundle
from g4compile.compiler import compile
from g4compile.errors import BundleError, CheckpointError, InputError
from g4compile.program import Program, bind
from g4compile.targets.ownership import MARKER
from g4compile.targets.staging import staging
from g4compile.weights.references import lazy_initializers
from tests.conftest import once
from tests.processes import killed_compile

SAME = ("tiny-e2b", "tiny-26b-a4b")


@pytest.fixture(scope="module")
def compiled_again(checkpoints, shared):
    """Folders of bundles by hash seed and preset: per seed, one process traces and compiles all of SAME."""
    code = (
        "import sys; from pathlib import Path; from g4compile.compiler import compile\n"
        "for source in sys.argv[2:]: compile(source, 'onnx-cpu', Path(sys.argv[1], Path(source).name))"
    )
    sources = {variant: checkpoints(variant).folder for variant in SAME}

    def make(seed, path):
        command = [sys.executable, "-c", code, path, *sources.values()]
        subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": seed}, check=True)

    def get(seed, variant):
        return once(shared, f"compiled-again-{seed}", lambda path: make(seed, path)) / sources[variant].name

    return get


@pytest.mark.parametrize("variant", SAME)
@pytest.mark.parametrize("seed", ["1", "2"])
def test_two_compiles_give_the_same_bytes(variant, seed, seeing, hearing, compiled_again):
    """With all encoders, in two processes with other hash seeds, so that no order of a set gets into the bytes."""
    whole = hearing if variant == "tiny-e2b" else seeing
    first, second = whole(variant), Bundle.open(compiled_again(seed, variant))
    assert (first.folder / "g4.json").read_bytes() == (second.folder / "g4.json").read_bytes()
    second.check_hashes()


@pytest.mark.parametrize(
    ("target", "name", "options"),
    [("onnx-cpu", "trace", {}), ("tensorrt-rtx", "trace_apart", {"compute_capabilities": (89,)})],
)
def test_a_target_says_where_it_is_traced(target, name, options, trt, checkpoints, tmp_path, monkeypatch):
    class Traced(Exception):
        pass

    def traced(*_, **__):
        raise Traced

    monkeypatch.setattr(f"g4compile.compiler.{name}", traced)
    with pytest.raises(Traced):
        compile(checkpoints("tiny-e2b"), target, tmp_path / "out", **options)


def test_modalities_are_no_text(checkpoints, tmp_path):
    with pytest.raises(InputError, match="modalities are a tuple of names"):
        compile(checkpoints("tiny-e2b"), "onnx-cpu", tmp_path / "out", modalities="text,image")


@pytest.mark.parametrize("when", ["trace", "scheduled: schedule-shared-tail", "weights: model.language_model.layers.4"])
def test_a_killed_compile_leaves_nothing_in_the_way(checkpoints, tmp_path, when):
    out = tmp_path / "out"
    killed_compile(checkpoints("tiny-31b").folder, out, when)
    with pytest.raises(BundleError, match="there is no bundle"):
        Bundle.open(out)
    with staging(out, force=False) as folder:
        assert [path.name for path in folder.iterdir()] == [MARKER]
    assert [path.name for path in tmp_path.iterdir()] == []


def test_weights_that_do_not_fit(checkpoints, traced):
    checkpoint = checkpoints("tiny-e2b")
    model = traced("tiny-e2b")
    program = Program.decoder(model, checkpoint.facts)
    key = next(tensor.key for tensor in lazy_initializers(model).values() if "layers.1.mlp.up_proj" in tensor.key)
    stored = checkpoint.tensors[key]
    without = {name: tensor for name, tensor in checkpoint.tensors.items() if name != key}
    with pytest.raises(CheckpointError, match=f"has no tensor {key}"):
        bind(program, replace(checkpoint, tensors=without))
    with pytest.raises(CheckpointError, match=r"has shape \[3, 5\], the config asks for \[128, 64\]"):
        bind(program, replace(checkpoint, tensors={**without, key: replace(stored, shape=(3, 5))}))
    with pytest.raises(CheckpointError, match=r"unexpected tensor model.language_model.extra"):
        bind(program, replace(checkpoint, tensors={**checkpoint.tensors, "model.language_model.extra": stored}))
    assert any("layers.3.self_attn.k_proj" in name for name in checkpoint.tensors)
    bind(program, checkpoint)  # the stale K and V tensors of shared layers are no error
