"""Weights are streamed: memory has a bound, and a killed compile goes on where it stopped."""

import json
import shutil

import pytest

from g4compile.bundle.folder import Bundle
from g4compile.compiler import compile
from g4compile.errors import MachineError
from g4compile.model import presets
from g4compile.synth.checkpoint import synthesize
from g4compile.weights.journal import Journal
from tests.conftest import once
from tests.processes import compile_limited, killed_compile, run


@pytest.fixture
def killed(shared, checkpoints, tmp_path):
    """What an int4 compile of tiny-31b left that was killed at layer 4, and where its output would be."""
    layer = "weights: model.language_model.layers.4"

    def make(path):
        path.mkdir()
        killed_compile(checkpoints("tiny-31b").folder, path / "out", layer, weights="int4", kernels="onnxruntime")

    left = once(shared, "tiny-31b-int4-killed", make) / ".out.g4partial"
    return shutil.copytree(left, tmp_path / ".out.g4partial"), tmp_path / "out"


def _compile(source, out, **options):
    messages = []
    bundle = compile(
        source,
        "onnx-cpu",
        out,
        modalities=("text",),
        progress=lambda text, done, total: messages.append(text),
        **options,
    )
    return bundle, messages


def test_a_killed_compile_is_taken_up(killed, checkpoints, tmp_path, monkeypatch):
    partial, out = killed
    kept = len((partial / Journal.NAME).read_text().splitlines()) - 1
    assert kept > 20
    made = []
    put = "g4compile.weights.writer._put"
    original = __import__("g4compile.weights.writer", fromlist=["_put"])._put
    monkeypatch.setattr(put, lambda descriptor, job, rows: made.append(job.name) or original(descriptor, job, rows))
    source = checkpoints("tiny-31b").folder
    whole, _ = _compile(source, tmp_path / "whole", weights="int4")
    all_of_them = len(set(made))
    made.clear()
    again, _ = _compile(source, out, weights="int4")
    assert len(set(made)) == all_of_them - kept
    assert (again.folder / "g4.json").read_bytes() == (whole.folder / "g4.json").read_bytes()
    again.check_hashes()
    assert not partial.exists()


def test_what_was_damaged_meanwhile_is_made_again(killed, checkpoints, quantized):
    partial, out = killed
    with (partial / "weights.data").open("r+b") as data:
        data.write(b"damaged")
    source = checkpoints("tiny-31b").folder
    again, _ = _compile(source, out, weights="int4")
    assert again.manifest == quantized("tiny-31b", "int4").manifest
    again.check_hashes()


def test_other_weights_start_afresh(killed, checkpoints, quantized):
    _, out = killed
    source = checkpoints("tiny-31b").folder
    again, _ = _compile(source, out, weights="int8")
    assert again.manifest == quantized("tiny-31b", "int8").manifest


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A checkpoint whose embedding alone is 268 MB in float32, stored in bfloat16."""
    folder = tmp_path_factory.mktemp("wide")
    config = presets.config("tiny-31b")
    config["text_config"].update(vocab_size=131_072, hidden_size=512, num_hidden_layers=2)
    config["text_config"]["layer_types"] = ["sliding_attention", "full_attention"]
    (folder / "config.json").write_text(json.dumps(config))
    synthesize(folder / "config.json", folder / "checkpoint", dtype="bfloat16", modalities=("text",))
    return folder / "checkpoint"


@pytest.mark.parametrize("weights", ["int4", "float32"])
def test_memory_is_bounded(wide, tmp_path, weights):
    """The process may take 160 MB of private memory more than it has when the passes begin."""
    said = tmp_path / "said.txt"
    code = run(compile_limited, wide, tmp_path / "out", weights, 160 << 20, said=said)
    assert code == 0, said.read_text()
    bundle = Bundle.open(tmp_path / "out")
    assert bundle.size > (268e6 if weights == "float32" else 33e6)


def test_a_weight_that_does_not_fit_is_refused(checkpoints, tmp_path):
    with pytest.raises(MachineError, match=r"needs [\d,]+ bytes of memory, 1,000 are allowed"):
        compile(checkpoints("tiny-31b").folder, "onnx-cpu", tmp_path / "out", max_memory=1000)
    assert not (tmp_path / "out").exists()
