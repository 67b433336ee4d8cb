"""`verify` passes on what was compiled, fails on what was changed, and says which layer changed."""

import json
import shutil

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from g4compile.cli.app import app
from g4compile.compare.parity import LIMITS, Meter


def verify(bundle, checkpoint, *options):
    arguments = ["verify", bundle, "--against", checkpoint.folder, "--json", *options]
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_compiled_bundle_passes(bundles, checkpoints):
    result = verify(bundles("tiny-e2b").folder, checkpoints("tiny-e2b"), "--localize", "--hashes", "--batch", "2")
    report = json.loads(result.stdout)
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


def test_the_meter_adds_up_pieces():
    random = np.random.default_rng(0)
    ours, theirs = random.normal(size=(2, 3, 8, 50)).astype(np.float32)
    whole, pieces = Meter(), Meter()
    whole.add(theirs, ours)
    for index in range(8):
        pieces.add(theirs[:, index], ours[:, index])
    for name in ("positions", "max_abs_difference", "mean_abs_difference", "kl_mean", "top1_agreement"):
        assert getattr(whole.result(), name) == pytest.approx(getattr(pieces.result(), name), rel=1e-6)
    assert len(whole.result().broken(LIMITS["float32"])) == 3


def test_kl_is_that_of_the_definition():
    reference, ours = np.log(np.array([[0.5, 0.5]])), np.log(np.array([[0.25, 0.75]]))
    meter = Meter()
    meter.add(reference, ours)
    assert meter.result().kl_mean == pytest.approx(0.5 * np.log(2) + 0.5 * np.log(2 / 3))
