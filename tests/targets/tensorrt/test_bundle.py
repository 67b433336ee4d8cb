"""Engine bundles of the five tiny variants, built for three GPUs that are not here; and what is refused before a
builder."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import onnx_ir as ir
import pytest
from typer.testing import CliRunner

from g4compile.bundle.folder import Bundle
from g4compile.cli.app import app
from g4compile.cli.render.bundles import compiled_rows
from g4compile.compare.verify import verify
from g4compile.compiler import compile
from g4compile.planning.describe import describe_compiled
from g4compile.planning.plan import plan
from g4compile.targets.tensorrt.build import EngineBuilder
from g4compile.targets.tensorrt.edition import FULL, RTX
from g4compile.targets.tensorrt.interpreter.plugged import PLUGIN, PluggedBuilder
from g4compile.targets.tensorrt.interpreter.plugged import stand_in as plugin_call
from g4compile.targets.tensorrt.steps import Capacities
from tests.conftest import VARIANTS, once

GPUS, SEEING = (80, 89, 120), ("text", "image")


@pytest.fixture(scope="session")
def engines(trt, shared, checkpoints):
    """Engine bundles, by preset name. Tests must not change them."""

    def get(variant: str) -> Bundle:
        def make(path: Path) -> None:
            compile(checkpoints(variant).folder, "tensorrt-rtx", path, context=256, compute_capabilities=GPUS)

        return Bundle.open(once(shared, f"{variant}-engines", make))

    return get


@pytest.fixture
def full_engines(trt, checkpoints, tmp_path, monkeypatch):
    """Makes bundles of full TensorRT with all but the plans, which it builds on a GPU."""
    monkeypatch.setattr("g4compile.targets.tensorrt.edition.gpu_capability", lambda: 90)
    monkeypatch.setattr(type(FULL), "load", lambda self: trt)
    monkeypatch.setattr(type(FULL), "load_plugins", lambda self: plugin_call)

    class Plugged(EngineBuilder):
        def __init__(self, edition, trt=None, plugins=None):
            super().__init__(edition, trt, plugins)
            self.builder = PluggedBuilder(self.builder)

        def plan(self, emitted, name, profiles, capabilities=()):
            return b"no plan"

    monkeypatch.setattr("g4compile.targets.tensorrt.bundle.EngineBuilder", Plugged)

    def make(variant: str, weights: str, **changes) -> Bundle:
        return compile(checkpoints(variant).folder, "tensorrt", tmp_path / "full", weights=weights, **changes)

    return make


@pytest.mark.parametrize("variant", VARIANTS)
def test_plans_are_built_for_three_gpus(variant, engines, checkpoints, bundles):
    bundle = engines(variant)
    manifest = bundle.manifest
    engine = manifest.engine
    assert engine is not None and engine.compute_capabilities == GPUS
    assert [(step.name, step.tokens) for step in engine.steps] == [("decode", 1), ("verify", 8), ("prefill", 128)]
    assert not any(
        isinstance(size, str) for graph in manifest.graphs.values() for one in graph.inputs for size in one.shape
    )
    for name, graph in manifest.graphs.items():
        plan = bundle.folder / graph.file
        assert plan.name == f"{name}.plan" and 10_000 < plan.stat().st_size < 20e6
        inputs = {value.name for value in graph.inputs}
        onnx = bundles(variant).manifest.graphs["decoder"]
        index = {"logit_index"} if name == "prefill" else set()
        assert inputs == {value.name for value in onnx.inputs} - {"num_logits_to_keep"} | index
        chosen = {"top_logits", "top_tokens"}
        assert {value.name for value in graph.outputs} == {value.name for value in onnx.outputs} | chosen
    assert engine.ring % engine.chunk == 0
    stored = checkpoints(variant).tensors
    assert {weight.key for weight in engine.weights} <= set(stored)
    parameters = sum(2 * math.prod(weight.shape) for weight in engine.weights)
    assert engine.weight_bytes == parameters
    assert all(step.activation_bytes > 0 for step in engine.steps)
    assert not any(path.suffix in (".data", ".safetensors") for path in bundle.folder.iterdir())


def test_a_long_chunk_has_a_shorter_step_beside_it(trt, checkpoints, tmp_path):
    """All four plans of a batch are built for stream capture; `verify` runs their networks, each with its tokens."""
    folder = checkpoints("tiny-e2b").folder
    bundle = compile(
        folder, "tensorrt-rtx", tmp_path / "out", context=1024, chunk=512, batch=2, compute_capabilities=(89,)
    )
    steps = {step.name: (step.tokens, step.keep) for step in bundle.manifest.engine.steps}
    assert steps == {
        "decode": (1, "all"), "verify": (8, "all"), "prefill-short": (128, "one"), "prefill": (512, "one")
    }  # fmt: skip
    assert list(bundle.manifest.graphs) == list(steps)
    report = verify(bundle, folder, prompt_tokens=700, new_tokens=2)
    assert report.passed, report.broken


def test_kv_bytes_are_rings_and_full_buffers(engines):
    manifest = engines("tiny-e2b").manifest
    engine = manifest.engine
    slots = {layer.layer: layer.keep or manifest.context for layer in manifest.kv.layers}
    assert engine.kv_bytes == sum(
        2 * 2 * layer.heads * layer.head_dim * slots[layer.layer] for layer in manifest.kv.layers
    )


def test_what_stands_around_the_kernels_is_built(trt, emit):
    """Attention, norms, the dense MLP and all else of a step with kernels: by TensorRT-RTX, to which their results are
    inputs."""
    capacities = Capacities(context=256, batch=2, chunk=16)
    made = emit("tiny-26b-a4b", capacities, edition=FULL, fused_head=16)
    one = made.networks["prefill"][0]
    inner = one.network._network
    kernels = [
        layer for index in range(one.network.num_layers) if (layer := one.network.get_layer(index)).type is PLUGIN
    ]
    # The router's norms, its product, three that sort, both products and the sum of every layer; and the attention of
    # one of two full layers: the other is the last, of which one query is kept.
    assert len(kernels) == 9 * 6 + 1
    results = [layer.get_output(index) for layer in kernels for index in range(layer.num_outputs)]
    names = {one.name for one in results}
    kept = {inner.get_output(index).name for index in range(inner.num_outputs)}
    for layer in kernels:
        for operand in layer.call.operands:  # else nothing would read it, and it would not be built
            if operand.name not in kept | names and not operand.is_network_input:
                kept.add(operand.name)
                inner.mark_output(operand)
    inputs = [*one.graph.inputs, *map(stand_in, results)]
    around = replace(one, network=inner, graph=SimpleNamespace(inputs=inputs))
    plan = EngineBuilder(RTX).plan(around, "prefill", [made.steps["prefill"].sizes(2)], (89,))
    assert len(plan) > 10_000


def stand_in(tensor):
    """The input that a kernel's result is to TensorRT-RTX, with its dynamic sizes named: the batch, then tokens."""
    names = ["batch" if axis == 0 else "new" for axis in range(len(tensor.shape))]
    sizes = [name if size == -1 else size for name, size in zip(names, tensor.shape, strict=True)]
    return ir.Value(name=tensor.name, shape=ir.Shape(sizes))


@pytest.mark.parametrize("weights", ["bfloat16", "int4"])
@pytest.mark.parametrize("variant", ["tiny-26b-a4b", "tiny-31b"])
def test_a_bundle_of_full_tensorrt(variant, weights, full_engines, checkpoints):
    """Its networks with kernels of ours, interpreted, are the model."""
    bundle = full_engines(variant, weights, context=128, chunk=16)
    dtypes = {weight.dtype for weight in bundle.manifest.engine.weights}
    assert dtypes == {"bfloat16", *(("uint8",) if weights == "int4" else ())}
    report = verify(bundle, checkpoints(variant).folder, prompt_tokens=40, new_tokens=4)
    assert report.passed, report.broken


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_bundle_that_takes_images(variant, seeing_engines, checkpoints):
    """A plan of vision beside those of the steps; its weights stand once among the others, in bfloat16 however the
    decoder's are coded; and `verify` judges the decoder with the masks that it has."""
    bundle = seeing_engines(variant)
    engine = bundle.manifest.engine
    (encoder,) = engine.encoders
    assert encoder.part == "vision" and len(encoder.profiles) == 5 and encoder.activation_bytes > 0
    assert list(bundle.manifest.graphs) == ["decode", "verify", "prefill", "vision"]
    stored = {name for name in checkpoints(variant).tensors if "vision" in name}
    assert {weight.key for weight in engine.weights if "vision" in weight.key} == stored
    report = verify(bundle, checkpoints(variant).folder, prompt_tokens=150, new_tokens=4)
    assert report.passed, report.broken
    rows = compiled_rows(bundle, {**describe_compiled(bundle, checkpoints(variant).facts), "compile_s": 1.0})
    small = "image-blocks" in bundle.manifest.requires  # and chunks that hold no image of the default budget
    assert engine.chunk < 280 and ("--chunk 280" in rows.get("images", "")) == small


@pytest.mark.parametrize("variant", ["tiny-e2b", "tiny-12b"])
def test_a_bundle_that_takes_images_and_sounds(variant, hearing_engines, checkpoints):
    """A plan of each encoder; weights of sounds stand once, in bfloat16."""
    bundle = hearing_engines(variant)
    vision, audio = bundle.manifest.engine.encoders
    assert (vision.part, audio.part) == ("vision", "audio") and audio.activation_bytes > 0
    assert list(bundle.manifest.graphs) == ["decode", "verify", "prefill", "vision", "audio"]
    weights = [weight for weight in bundle.manifest.engine.weights if "audio" in weight.key]
    assert {weight.key for weight in weights} == {name for name in checkpoints(variant).tensors if "audio" in name}
    assert {weight.dtype for weight in weights} == {"bfloat16"}
    report = verify(bundle, checkpoints(variant).folder, prompt_tokens=150, new_tokens=4)
    assert report.passed, report.broken


def test_codes_leave_the_encoder_as_it_is(trt, checkpoints, tmp_path):
    folder = checkpoints("tiny-e2b").folder
    bundle = compile(
        folder, "tensorrt-rtx", tmp_path / "out", weights="int4", context=128, chunk=16, compute_capabilities=(89,),
        modalities=SEEING,
    )  # fmt: skip
    weights = bundle.manifest.engine.weights
    assert {weight.dtype for weight in weights if "vision" in weight.key} == {"bfloat16"}
    assert any(weight.offset is not None for weight in weights)


def test_image_blocks_and_kernels_whose_mask_is_causal(emit, trt):
    """Full TensorRT's kernel of wide heads goes with 31B, whose full layers are causal, and not with 12B."""
    capacities = Capacities(context=256, batch=1, chunk=128, images=True)
    for variant, plugins in (("tiny-31b", True), ("tiny-12b", False)):
        one = emit(variant, capacities, edition=FULL, fused_head=16).networks["prefill"][0]
        kinds = [one.network.get_layer(index).type for index in range(one.network.num_layers)]
        assert (PLUGIN in kinds) == plugins


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--sm", "90"], 2, "builds nothing for sm90"),
        (["--sm", "eighty"], 2, "is not a list of compute capabilities"),
        (["--sm", "89", "--weights", "int8"], 2, "takes no int8 weights"),
        (["--sm", "89", "--kv", "int8"], 2, "has no KV cache of int8"),
        ([], 2, "must know which GPUs"),
    ],
)
def test_command_line_refuses(trt, arguments, code, message, checkpoints, tmp_path):
    folder = str(checkpoints("tiny-e2b").folder)
    command = ["compile", folder, "--target", "tensorrt-rtx", "-o", str(tmp_path / "out"), *arguments]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == code, result.output
    assert message in result.output + result.stderr and "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("verb", ["run", "bench"])
def test_what_cannot_run_here_says_so(verb, engines, checkpoints):
    arguments = {"run": ["--ids", "1,2"], "bench": []}[verb]
    folder, source = str(engines("tiny-e2b").folder), str(checkpoints("tiny-e2b").folder)
    result = CliRunner().invoke(app, [verb, folder, *arguments])
    assert result.exit_code == 2 and "holds no weights" in result.stderr
    result = CliRunner().invoke(app, [verb, folder, *arguments, "--checkpoint", source])
    assert result.exit_code == 3, result.output
    assert "TensorRT" in result.stderr and "Traceback" not in result.output


def test_inspect_shows_an_engine_bundle(engines):
    result = CliRunner().invoke(app, ["inspect", str(engines("tiny-e2b").folder)])
    assert result.exit_code == 0 and "decode.plan" in result.stdout
    result = CliRunner().invoke(app, ["inspect", str(engines("tiny-e2b").folder), "--graph", "legal:tensorrt-rtx"])
    assert result.exit_code == 2 and "holds plans, and no graph" in result.stderr


def test_verify_runs_the_networks_and_says_so(engines, checkpoints, tmp_path):
    folder, source = str(engines("tiny-31b").folder), str(checkpoints("tiny-31b").folder)
    result = CliRunner().invoke(app, ["verify", folder, "--against", source])
    assert result.exit_code == 0, result.output
    assert "no engine was run" in result.stdout and "equal: every top-1 token is the same" in result.stdout
    result = CliRunner().invoke(app, ["verify", folder, "--against", str(checkpoints("tiny-12b").folder)])
    assert result.exit_code == 2 and "was not compiled from this checkpoint" in result.stderr


@pytest.mark.nightly
@pytest.mark.parametrize("preset", ["31b", "26b-a4b"])
@pytest.mark.parametrize("step", ["decode", "verify", "prefill"])
def test_real_size_is_built_in_little_memory(trt, preset, step, capsys):
    script = Path(__file__).with_name("real_sizes.py")
    command = [sys.executable, str(script), preset, step]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    made = found["steps"][step]
    with capsys.disabled():
        print(
            f"\n{preset} {step}: {made['layers']} layers, emitted in {made['emit_s']:.0f} s "
            f"and built in {made['build_s']:.0f},"
            f" plan {made['plan_bytes'] / 1e6:.1f} MB, peak {found['peak_bytes'] / 1e9:.2f} GB"
        )
    assert found["trace_s"] + made["emit_s"] + made["build_s"] < 150
    assert found["peak_bytes"] < 1e9
    assert made["plan_bytes"] < 20e6


PLANNED, PLANNED_WITH = ("tiny-e2b", "tiny-12b", "tiny-26b-a4b"), {"context": 256, "modalities": ("text",)}


@pytest.mark.parametrize("weights", ["bfloat16", "int4", "fp8"])
@pytest.mark.parametrize("variant", PLANNED)
def test_planned_bytes_are_those_of_a_bundle(variant, weights, engines, trt, checkpoints, tmp_path):
    """Weights and caches on the device to the byte, whose builder is not asked."""
    bundle = engines(variant) if weights == "bfloat16" else compile(
        checkpoints(variant).folder, "tensorrt-rtx", tmp_path / "out", weights=weights, compute_capabilities=(89,),
        **PLANNED_WITH,
    )  # fmt: skip
    check_plan(bundle, checkpoints(variant), "tensorrt-rtx", weights)


@pytest.mark.parametrize("weights", ["bfloat16", "int4"])
@pytest.mark.parametrize("variant", PLANNED)
def test_planned_bytes_are_those_of_a_bundle_of_full_tensorrt(variant, weights, full_engines, checkpoints):
    """Whose kernels read other codes than TensorRT does, and keep no numbers of codes in memory."""
    check_plan(full_engines(variant, weights, **PLANNED_WITH), checkpoints(variant), "tensorrt", weights)
    coded, plain = (plan(checkpoints(variant).folder, "tensorrt", one, **PLANNED_WITH) for one in (weights, "bfloat16"))
    assert coded.gpu.activation_bytes == plain.gpu.activation_bytes


def check_plan(bundle, checkpoint, target, weights):
    made, engine = plan(checkpoint.folder, target, weights, **PLANNED_WITH), bundle.manifest.engine
    assert (made.data_bytes, made.kv_bytes) == (engine.weight_bytes, engine.kv_bytes)
    assert made.gpu.load_bytes == made.data_bytes and made.gpu.activation_bytes > 0 and made.memory is None
    keys = {table.key for table in engine.host.tables}
    assert made.mapped_table_bytes == sum(2 * math.prod(checkpoint.tensors[key].shape) for key in keys)


def test_a_plan_of_engines_for_people():
    result = CliRunner().invoke(app, ["plan", "31b", "--target", "tensorrt", "--weights", "int4"])
    assert result.exit_code == 0, result.output
    for text in ("on the device", "tables on the host", "GPU memory once loaded", "in a run of 128 tokens"):
        assert text in result.stdout
