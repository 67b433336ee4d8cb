"""Compiling: same bytes twice, nothing left behind by a kill, weights that do not fit the config."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from g4compile.bundle.folder import Bundle
from g4compile.errors import BundleError, CheckpointError
from g4compile.program import Program, bind
from g4compile.targets.ownership import MARKER
from g4compile.targets.staging import staging
from g4compile.weights.references import lazy_initializers


@pytest.mark.parametrize("variant", ["tiny-e2b", "tiny-26b-a4b"])
def test_two_compiles_give_the_same_bytes(variant, checkpoints, bundles, tmp_path):
    """In two processes with other hash seeds, so that no order of a set gets into the bytes."""
    first = bundles(variant)
    code = "import sys; from g4compile.compiler import compile; compile(sys.argv[1], 'onnx-cpu', sys.argv[2])"
    for seed in ("1", "2"):
        subprocess.run(
            [sys.executable, "-c", code, checkpoints(variant).folder, tmp_path / seed],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
        )
        second = Bundle.open(tmp_path / seed)
        assert (first.folder / "g4.json").read_bytes() == (second.folder / "g4.json").read_bytes()
        second.check_hashes()


@pytest.mark.parametrize("when", ["trace", "scheduled: schedule-shared-tail", "weights: model.language_model.layers.4"])
def test_a_killed_compile_leaves_nothing_in_the_way(checkpoints, tmp_path, when):
    source, out = checkpoints("tiny-31b").folder, tmp_path / "out"
    code = (
        "import sys, time; from g4compile.compiler import compile\n"
        "def progress(text, done, total):\n"
        "    if sys.argv[3] in text: print('here', flush=True); time.sleep(60)\n"
        "compile(sys.argv[1], 'onnx-cpu', sys.argv[2], progress=progress)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, source, out, when], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "here\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
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
