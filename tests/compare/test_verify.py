"""`verify` passes on what was compiled, fails on what was changed, and says which layer changed."""

import hashlib
import json
import os
import shutil
import weakref
from types import SimpleNamespace

import msgspec
import numpy as np
import onnx
import pytest
import transformers
from typer.testing import CliRunner

from g4compile.bundle.folder import Bundle
from g4compile.cli.app import app
from g4compile.compare.dequantized import dequantized
from g4compile.compare.parity import LIMITS, Meter, Parity
from g4compile.compare.reference import Reference
from g4compile.compare.report import Report
from g4compile.compare.verify import verify as verify_bundle
from g4compile.errors import BundleError, CheckpointError, InputError
from g4compile.runtime.session import Session
from tests.compare.changed import with_negated
from tests.manifests import change, linked, replace


def verify(bundle, checkpoint, *options):
    arguments = ["verify", bundle, "--against", checkpoint.folder, "--json", *options]
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_compiled_bundle_passes(bundles, checkpoints):
    result = verify(bundles("tiny-e2b").folder, checkpoints("tiny-e2b"), "--localize", "--hashes", "--batch", "2")
    report = json.loads(result.stdout)
    assert report["verdict"].startswith("equal: every top-1 token is the same, largest difference ")
    assert result.exit_code == 0 and report["passed"] and report["first_divergent_layer"] is None
    assert set(report["parity"]) == {"prefill", "decode", "chunked_prefill"}
    for parity in report["parity"].values():
        assert 0 < parity["max_abs_difference"] <= 2e-4 and parity["top1_agreement"] == 1.0
    assert len(report["layers"]) == len(checkpoints("tiny-e2b").facts.text.layers)


@pytest.mark.parametrize("layer", [1, 4])
def test_a_changed_layer_is_found(bundles, checkpoints, tmp_path, layer):
    """Half of a projection scaled by 5% (all of it, and the norm behind would undo it): that layer is named."""
    folder = shutil.copytree(bundles("tiny-e2b").folder, tmp_path / "bundle")
    model = onnx.load(folder / "decoder.onnx", load_external_data=False)
    (tensor,) = [t for t in model.graph.initializer if f"layers.{layer}.mlp.up_proj" in t.name]
    place = {entry.key: int(entry.value) for entry in tensor.external_data if entry.key != "location"}
    data = np.memmap(folder / "weights.data", np.float32, "r+", place["offset"], (place["length"] // 4,))
    data[: data.size // 2] *= np.float32(1.05)
    data.flush()
    result = verify(folder, checkpoints("tiny-e2b"), "--localize")
    report = json.loads(result.stdout)
    assert result.exit_code == 1 and not report["passed"]
    assert report["first_divergent_layer"] == layer
    assert "max difference" in report["broken"][0]
    hashed = verify(folder, checkpoints("tiny-e2b"), "--hashes")
    assert hashed.exit_code == 2 and "weights.data is not what was compiled" in hashed.stdout


def test_a_context_too_short_for_the_steps(bundles, checkpoints):
    result = verify(bundles("tiny-31b").folder, checkpoints("tiny-31b"), "--new-tokens", "1024")
    assert result.exit_code == 2 and "leave no room for a prompt" in result.stdout


def test_a_quantised_bundle_is_compared_twice(quantized, checkpoints):
    """With what its codes stand for, within limits, and with the original weights, which it is farther from."""
    checkpoint = checkpoints("tiny-e2b")
    bundle = quantized("tiny-e2b", "int4").folder
    report = json.loads(verify(bundle, checkpoint).stdout)
    assert "dequantised weights" in report["judge"] and "not the checkpoint's original weights" in report["judge"]
    assert report["verdict"].startswith("within the limits (quantized, int8 activations): top-1 ")
    assert set(report["quantisation_cost"]) == {"prefill", "decode"}
    for name, cost in report["quantisation_cost"].items():
        assert cost["relative_difference"] > 3 * report["parity"][name]["relative_difference"]
    said = CliRunner().invoke(app, ["verify", str(bundle), "--against", str(checkpoint.folder)]).stdout.splitlines()
    assert said[-2] == report["verdict"]
    assert said[-1].startswith("what quantisation costs, against the checkpoint's original weights: top-1 ")


def test_a_wrong_layer_of_a_quantised_bundle_is_over_the_limits(quantized, checkpoints, tmp_path):
    """The limits for 8-bit activations are wide, and yet far from what a layer does whose scales have the other
    sign."""
    name = "model.language_model.layers.1.self_attn.o_proj.weight.scales"
    wrong = with_negated(quantized("tiny-e2b", "int4"), name, tmp_path / "bundle")
    limits = LIMITS["quantized, int8 activations"]
    dequantised = dequantized(quantized("tiny-e2b", "int4"))  # of the right bundle: what was meant
    reference = Reference(checkpoints("tiny-e2b").folder, dequantised)
    ids = np.random.default_rng(0).integers(238, 1024, (1, 24))
    meter = Meter()
    meter.add(reference.forward(ids), Session(wrong, threads=1).forward(ids, all_positions=True))
    assert meter.result().relative_difference > 3 * limits.relative_difference
    assert len(meter.result().broken(limits)) == 3


def test_one_module_is_in_memory_at_a_time(quantized, checkpoints, monkeypatch):
    alive, most = weakref.WeakSet(), []

    class Counted(Reference):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            alive.add(self.model)
            most.append(len(alive))

    monkeypatch.setattr("g4compile.compare.verify.Reference", Counted)
    report = verify_bundle(quantized("tiny-e2b", "int4"), checkpoints("tiny-e2b").folder, new_tokens=2)
    assert report.quantisation_cost and most == [1, 1]


def test_float_weights_have_no_cost(bundles, checkpoints):
    report = verify_bundle(bundles("tiny-e2b"), checkpoints("tiny-e2b").folder, new_tokens=2)
    assert report.quantisation_cost is None and report.cost == ""
    assert report.judge == "Hugging Face eager float32 with the checkpoint's weights"


def test_logits_that_are_no_numbers_are_said_in_json(bundles, checkpoints, tmp_path):
    """Some weights of a layer are NaN: the report holds null, and says why it failed."""
    folder = shutil.copytree(bundles("tiny-e2b").folder, tmp_path / "bundle")
    model = onnx.load(folder / "decoder.onnx", load_external_data=False)
    (tensor,) = [t for t in model.graph.initializer if "layers.1.mlp.up_proj" in t.name]
    place = {entry.key: int(entry.value) for entry in tensor.external_data if entry.key != "location"}
    data = np.memmap(folder / "weights.data", np.float32, "r+", place["offset"], (place["length"] // 4,))
    data[:4] = np.nan
    data.flush()
    result = verify(folder, checkpoints("tiny-e2b"))

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    report = json.loads(result.stdout, parse_constant=refuse)
    assert result.exit_code == 1 and report["parity"]["prefill"]["max_abs_difference"] is None
    assert report["verdict"].startswith("NOT equal: prefill: some logits are not finite numbers")


FIGURES = Parity(24, 1.2e-5, 1e-6, 1e-6, 1e-12, 1.0)


@pytest.mark.parametrize(
    ("row", "figures", "sentence"),
    [
        ("float32", {}, "equal: every top-1 token is the same, largest difference 1.2e-05"),
        (
            "stored",
            {"top1_agreement": 0.917, "relative_difference": 0.25, "kl_mean": 0.13},
            "within the limits (stored): top-1 91.70% (limit 50%), relative difference 0.25 (limit 0.6), "
            "KL 1.3e-01 (limit 3e-01)",
        ),
        ("float32", {"max_abs_difference": 1e-3}, "NOT equal: decode: max difference 0.001 > 0.0002"),
        (
            "float32",
            {"top1_agreement": 0.917},
            "NOT equal: decode: top-1 agreement 0.9170 < 1.0000",
        ),
    ],
)
def test_the_verdict_follows_the_figures(row, figures, sentence):
    """The worst of all scenarios decides: prefill is the same in all of these."""
    parity = {"prefill": FIGURES, "decode": msgspec.structs.replace(FIGURES, **figures)}
    broken = tuple(f"{name}: {text}" for name, part in parity.items() for text in part.broken(LIMITS[row]))
    assert Report("judge", parity, LIMITS[row], broken).verdict == sentence


def test_a_checkpoint_that_a_compile_refuses_is_refused_here(checkpoints, tmp_path, monkeypatch):
    """Before transformers reads it: that would wait for a pipe, and raise what it likes."""
    folder = shutil.copytree(checkpoints("tiny-31b").folder, tmp_path / "checkpoint")
    generation = folder / "generation_config.json"
    generation.unlink()
    os.mkfifo(generation)
    Reference(folder)

    def refuse(*arguments, **options):
        raise RuntimeError("a field that it does not like")

    with monkeypatch.context() as patch:
        patch.setattr(transformers.Gemma4ForConditionalGeneration, "from_pretrained", refuse)
        with pytest.raises(CheckpointError, match=r"transformers cannot load(.|\n)*a field that it does not like"):
            Reference(folder)
    (folder / "model.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        Reference(folder)


def test_a_checkpoint_of_another_model(bundles, checkpoints, monkeypatch):
    other = SimpleNamespace(vocabulary=2048)
    monkeypatch.setattr("g4compile.compare.verify.Reference", lambda *_, **__: other)
    result = verify(bundles("tiny-31b").folder, checkpoints("tiny-31b"))
    assert result.exit_code == 2 and "1,024 tokens, and the checkpoint one of 2,048" in result.stdout
    monkeypatch.undo()
    for key in ("model.layers.0.mlp.nothing.weight", "model.layers.0.mlp.up_proj.weight"):
        with pytest.raises(InputError, match=f"has a weight {key} of the shape"):
            Reference(checkpoints("tiny-31b").folder, [(key, np.zeros((2, 3), np.float32))])


# Fields of a manifest that list a weight as quantised, which the graphs do not hold so.
QUANTIZED = {
    "weights": "int8",
    "quantized": {"x": {"bits": 8, "block": 32, "symmetric": True, "shape": [64, 64], "scale": 1.0}},
    "requires": ["onnxruntime-ops"],
}


def test_codes_that_the_manifest_lists_and_the_graphs_do_not_hold(bundles, tmp_path):
    folder = linked(bundles("tiny-31b").folder, tmp_path / "bundle")
    change(folder, **QUANTIZED)
    with pytest.raises(BundleError, match=r"does not hold the codes of x[\s\S]*no codes of this name"):
        list(dequantized(Bundle.open(folder)))


@pytest.mark.parametrize(
    ("name", "value"), [("location", "../secret"), ("location", "/dev/zero"), ("offset", "-8"), ("offset", "x")]
)
def test_weights_that_a_graph_says_are_elsewhere(bundles, tmp_path, name, value):
    """Of a bundle whose hashes agree, and that no ONNX Runtime has looked at."""
    (tmp_path / "secret").write_bytes(bytes(1 << 20))
    folder = linked(bundles("tiny-31b").folder, tmp_path / "bundle")
    model = onnx.load(folder / "decoder.onnx", load_external_data=False)
    entries = [entry for tensor in model.graph.initializer for entry in tensor.external_data if entry.key == name]
    entries[0].value = value
    data = model.SerializeToString()
    replace(folder / "decoder.onnx", data)
    spec = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    change(folder, files=lambda files: {**files, "decoder.onnx": spec}, **QUANTIZED)
    with pytest.raises(BundleError, match="the weights of the graph decoder cannot be read"):
        list(dequantized(Bundle.open(folder)))
