"""Checkpoints that hold codes against transformers running the same files."""

import shutil

import numpy as np
import pytest

from g4compile import pipeline
from g4compile.bundle.folder import Bundle
from g4compile.compare.parity import LIMITS, Meter
from g4compile.compare.reference import Reference
from g4compile.compare.stages import StageRunner
from g4compile.compare.verify import verify
from g4compile.compiler import compile
from g4compile.errors import Defect
from g4compile.planning.plan import plan
from g4compile.program import Program, bind
from g4compile.targets.base import REWIND
from g4compile.targets.phases import frontend
from g4compile.trace.trace import trace
from g4compile.weights.bundle_weights import initializers
from g4compile.weights.identity import compare_codes
from g4compile.weights.stored import read_stored
from tests.compare.changed import with_negated
from tests.conftest import once
from tests.scenario import window_of

VARIANTS = ("tiny-e2b", "tiny-e4b")


@pytest.fixture
def bundle_of(shared, coded):
    def get(variant):
        return Bundle.open(
            once(
                shared,
                f"{variant}-stored-bundle",
                lambda path: compile(coded(variant), "onnx-cpu", path, modalities=("text",)) and None,
            )
        )

    return get


@pytest.mark.parametrize("variant", VARIANTS)
def test_graph_equals_transformers_on_the_same_file(variant, coded):
    """With exact products, activations rounded as calibrated: a single rounding that went the other way would show."""
    checkpoint = coded(variant)
    model = trace(checkpoint.facts)
    bind(Program.decoder(model, checkpoint.facts), checkpoint)
    pipeline.run(model, frontend(checkpoint.facts.text, REWIND, weights="stored"))
    steps = [node.attributes["scale"].as_float() for node in model.graph if node.op_type == "RoundActivations"]
    written = [
        key for key in decoders(checkpoint) if key.endswith("activation_scale") and float(checkpoint.read(key)) != 0
    ]
    stale = [
        key
        for key in written
        if any(
            f"layers.{layer.index}.self_attn.{part}_proj" in key for part in "kv" for layer in shared_layers(checkpoint)
        )
    ]
    assert len(steps) == len(written) - len(stale) > 20
    reference, runner = Reference(checkpoint.folder), StageRunner(model, checkpoint.facts)
    ids = np.random.default_rng(2).integers(0, checkpoint.facts.text.vocab_size, (2, 3 * window_of(checkpoint)))
    meter = Meter()
    want = reference.forward(ids)
    meter.add(want, runner.forward(ids))
    for _ in range(20):
        token = want[:, -1:].argmax(-1)
        want = reference.forward(token)
        meter.add(want, runner.forward(token))
    assert not meter.result().broken(LIMITS["quantized, float32 activations"]), meter.result()


def decoders(checkpoint):
    """Keys of the decoder."""
    return [key for key in checkpoint.tensors if not key.startswith(("model.vision", "model.audio", "model.embed_"))]


def shared_layers(checkpoint):
    return [layer for layer in checkpoint.facts.text.layers if not layer.owns_kv]


@pytest.mark.parametrize("variant", VARIANTS)
def test_bundle_keeps_every_code(variant, coded, bundle_of):
    bundle, checkpoint = bundle_of(variant), coded(variant)
    found = compare_codes(bundle, checkpoint)
    scales = [key for key in decoders(checkpoint) if key.endswith((".weight_scale", ".embedding_scale"))]
    stale = 2 * len(shared_layers(checkpoint))
    assert found.different == ()
    assert found.tensors == len(scales) - stale
    report = verify(bundle, checkpoint.folder)
    assert report.passed, report
    assert report.codes == f"{found.tensors} of {found.tensors} tensors code-identical"
    data = bundle.manifest.files["weights.data"].bytes
    assert data == plan(checkpoint.folder, modalities=("text",)).data_bytes


def test_panels_keep_every_code(coded, g4ops, tmp_path):
    """Codes and scales in panels are the checkpoint's; a changed one is found, and `plan` knows the bytes."""
    checkpoint = coded("tiny-e2b")
    bundle = compile(checkpoint, "onnx-cpu", tmp_path / "bundle", kernels="g4ops", modalities=("text",))
    assert bundle.manifest.layouts == {"blocks", "panels-1"}  # tables that are only looked up stay rows
    found = compare_codes(bundle, checkpoint)
    assert found.different == () and found.tensors > 40
    data = bundle.folder / "weights.data"
    assert data.stat().st_size == plan(checkpoint.folder, kernels="g4ops", modalities=("text",)).data_bytes
    report = verify(bundle, checkpoint.folder, layers=True)
    assert report.passed and report.first_divergence is None, report
    key = next(key for key, spec in bundle.manifest.quantized.items() if spec.layout == "panels-1")
    held = initializers(bundle)
    for part in ("codes", "scales"):
        offset = held[f"{key}.{part}"].offset
        whole = data.read_bytes()
        data.write_bytes(whole[:offset] + bytes([whole[offset] ^ 1]) + whole[offset + 1 :])
        assert compare_codes(bundle, checkpoint).different == (key,)
        data.write_bytes(whole)


def test_a_wrong_layer_is_named(coded, bundle_of, tmp_path):
    """The scales of one layer's o_proj negated: the layer is named, whatever rounding does to those behind it."""
    name = "model.language_model.layers.1.self_attn.o_proj.weight.scales"
    bundle = with_negated(bundle_of("tiny-e2b"), name, tmp_path / "bundle")
    report = verify(bundle, coded("tiny-e2b").folder, layers=True)
    assert report.first_divergence.layer == 1, report.layers
    for scenario in report.parity:
        assert any(line.startswith(f"{scenario}: relative difference") for line in report.broken), report.parity


def test_a_code_that_comes_out_changed_stops_the_compile(coded, tmp_path, monkeypatch):
    """One bit of one code wrong on its way to disk: no bundle is left, and the message names the tensor."""
    key = "model.language_model.layers.1.self_attn.o_proj.weight"

    def wrong(checkpoint, stored, format, rows):
        found = read_stored(checkpoint, stored, format, rows)
        if stored.codes_key == key:
            found.codes.flat[0] ^= 1
        return found

    monkeypatch.setattr("g4compile.weights.quantized.read_stored", wrong)
    with pytest.raises(Defect, match=f"tensors code-identical; not {key}"):
        compile(coded("tiny-e2b"), "onnx-cpu", tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_a_changed_code_is_found(coded, bundle_of, tmp_path):
    shutil.copytree(bundle_of("tiny-e2b").folder, tmp_path / "bundle")
    data = tmp_path / "bundle" / "weights.data"
    changed = bytearray(data.read_bytes())
    changed[0] ^= 1  # the first tensor starts here
    data.write_bytes(changed)
    bundle = Bundle.open(tmp_path / "bundle")
    found = compare_codes(bundle, coded("tiny-e2b"))
    assert len(found.different) == 1
    assert str(found).startswith(f"{found.tensors - 1} of {found.tensors} tensors code-identical; not model.")
    report = verify(bundle, coded("tiny-e2b").folder)
    assert not report.passed
    assert any("code-identical" in line for line in report.broken)
