"""What `plan` says from a config alone is what `compile` then writes, to the byte."""

import json
import math
from pathlib import Path

import onnx
import pytest
from typer.testing import CliRunner

from g4compile.cli.app import app
from g4compile.model import presets
from g4compile.model.config import load_config, model_facts
from g4compile.model.inventory import inventory
from g4compile.model.keys import module_of_key
from g4compile.planning.caches import kv_bytes
from g4compile.planning.plan import plan
from g4compile.runtime.session import Session
from g4compile.weights.references import lazy_initializers
from tests.conftest import VARIANTS, exact_recipe

TEXT = ("text",)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_inventory_lists_the_weights_of_the_graph(variant, traced, checkpoints):
    facts = checkpoints(variant).facts.text
    found = {weight.module: weight.shape for weight in inventory(facts)}
    assert len(found) == len(inventory(facts))
    graph = {module_of_key(tensor.key): tuple(tensor.shape) for tensor in lazy_initializers(traced(variant)).values()}
    assert found == graph


@pytest.mark.parametrize("variant", VARIANTS)
def test_float32_sizes_are_exact(variant, bundles, checkpoints):
    planned = plan(checkpoints(variant).folder, modalities=TEXT)
    assert planned.data_bytes == bundles(variant).manifest.files["weights.data"].bytes


@pytest.mark.parametrize("recipe", ["int8", "int4", "int2", "mobile"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_quantised_sizes_are_exact(variant, recipe, quantized, checkpoints):
    planned = plan(checkpoints(variant).folder, weights=recipe, kernels="onnxruntime", modalities=TEXT)
    bundle = quantized(variant, recipe)
    assert planned.data_bytes == bundle.manifest.files["weights.data"].bytes
    assert planned.recipe == bundle.manifest.recipe


@pytest.mark.parametrize(
    ("variant", "recipe"),
    [("tiny-31b", "int4"), ("tiny-26b-a4b", "exact"), ("tiny-e2b", "mobile"), ("tiny-e2b", "int2")],
)
def test_sizes_of_panels_are_exact(variant, recipe, quantized, checkpoints, g4ops, tmp_path):
    text = checkpoints(variant).facts.text
    weights = exact_recipe(text, tmp_path) if recipe == "exact" else recipe
    planned = plan(checkpoints(variant).folder, weights=weights, kernels="g4ops", modalities=TEXT)
    bundle = quantized(variant, recipe, "g4ops")
    assert planned.data_bytes == bundle.manifest.files["weights.data"].bytes and planned.kernels == "g4ops"


def test_kernels_that_are_planned_need_not_be_here():
    """Panels are used where they are mapped: a load reads no weight, and nothing is kept twice."""
    stock, panels = plan("e2b", weights="int4"), plan("e2b", weights="int4", kernels="g4ops")
    assert (stock.kernels, panels.kernels) == ("onnxruntime", "g4ops")
    assert panels.decode_read_bytes < stock.decode_read_bytes  # scales in two bytes
    assert panels.memory.load_bytes < 0.1 * stock.memory.load_bytes
    assert panels.memory.steady_bytes == panels.memory.cached_steady_bytes < stock.memory.steady_bytes


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("tokens", [5, 40, 600])
def test_kv_bytes_are_those_of_a_session(variant, tokens, bundles, checkpoints):
    session = Session(bundles(variant), threads=1)
    session.forward([7] * tokens)
    assert session.kv_bytes == kv_bytes(checkpoints(variant).facts.text, tokens)


# Parameters of the published checkpoints' text models, and their decoder products (with lm_head) in billions.
PUBLISHED = {"e2b": 4.628, "e4b": 7.463, "31b": 30.697}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes(name):
    assert plan(name).parameters / 1e9 == pytest.approx(PUBLISHED[name], rel=0.01)


@pytest.mark.parametrize(
    ("name", "gflop"), [("e2b", 4.559), ("e4b", 9.288), ("12b", 23.813), ("26b-a4b", 7.644), ("31b", 61.392)]
)
def test_operations_of_a_decoded_token(name, gflop):
    """Two for each weight that a token meets, lm_head included."""
    assert plan(name).decode_operations / 1e9 == pytest.approx(gflop, rel=0.01)


def test_a_prefilled_token_skips_the_shared_tail():
    facts = model_facts(load_config("e2b")).text
    planned = plan("e2b")
    behind = sum(2 * weight.elements for weight in inventory(facts) if weight.tail and weight.use == "product")
    assert planned.decode_operations - planned.prefill_operations == behind
    assert behind > 0.6 * planned.decode_operations


@pytest.mark.parametrize("variant", ["tiny-e2b", "tiny-31b"])
def test_operations_are_those_that_run(variant, quantized, checkpoints, tmp_path):
    """Products of a prompt, as ONNX Runtime ran them: all positions, and the shared tail once."""
    bundle, tokens = quantized(variant, "int4"), 40
    session = Session(bundle, threads=1, profile=tmp_path / "profile")
    session.forward([7] * tokens)
    events = json.loads(Path(session.end_profiling()).read_text())
    nodes = {node.name: node for node in onnx.load(bundle.folder / "decoder.onnx", load_external_data=False).graph.node}
    ran = 0
    for event in events:
        if event["name"].endswith("_kernel_time") and event["args"]["op_name"] == "MatMulNBits":
            sizes = {one.name: one.i for one in nodes[event["name"].removesuffix("_kernel_time")].attribute}
            *rows, _ = event["args"]["output_type_shape"][0]["float"]
            ran += 2 * math.prod(rows) * sizes["K"] * sizes["N"]
    planned = plan(checkpoints(variant).folder, weights="int4", kernels="onnxruntime")
    assert ran == planned.prefill_operations * tokens + planned.decode_operations - planned.prefill_operations


def test_bfloat16_halves_what_is_kept_and_read():
    """All other bytes are those of a plan for the same kernels, which follow from it."""
    wide, narrow = (plan("e2b", weights="int4", kernels="g4ops", kv=kv, context=2048) for kv in ("float32", "bfloat16"))
    for field in ("kv_bytes", "kv_bytes_per_token", "kv_window_bytes", "decode_kv_bytes"):
        assert getattr(wide, field) == 2 * getattr(narrow, field) > 0
    assert narrow.data_bytes == wide.data_bytes
    assert narrow.decode_read_bytes - narrow.decode_kv_bytes == wide.decode_read_bytes - wide.decode_kv_bytes
    assert narrow == plan("e2b", weights="int4", kv="bfloat16", context=2048)


def test_bytes_of_caches_are_told_apart():
    """What a token reads of weights does not depend on the context; what it reads of full layers' caches grows."""
    short, long = plan("e2b", weights="int4", context=1024), plan("e2b", weights="int4", context=2048)
    assert short.decode_read_bytes - short.decode_kv_bytes == long.decode_read_bytes - long.decode_kv_bytes
    text = model_facts(load_config("e2b")).text
    token = sum(2 * 4 * layer.kv_heads * layer.head_dim for layer in text.layers if layer.window is None)
    assert long.decode_kv_bytes - short.decode_kv_bytes == 1024 * token


def test_the_mobile_layout_of_e2b_is_small():
    """All of the text model but the per-layer table, which stays on disk: at most 0.85 GB."""
    planned = plan("e2b", weights="mobile", modalities=TEXT)
    assert planned.data_bytes - planned.bytes_by_part["per_layer_embedding"] <= 0.85e9


def test_memory_grows_with_what_it_holds():
    """More bits, more rearranged weights; a longer prompt, more activations; a cache, less that is anonymous."""
    small, large = (plan("e2b", weights=weights, context=4096).memory for weights in ("mobile", "int8"))
    short = plan("e2b", weights="int8", context=64).memory
    assert small.load_bytes < large.load_bytes and small.cached_steady_bytes < large.cached_steady_bytes
    assert short.steady_bytes < large.steady_bytes
    assert large.cached_anonymous_bytes < large.cached_steady_bytes < large.steady_bytes
    assert short.embedded_anonymous_bytes < large.embedded_anonymous_bytes < large.cached_anonymous_bytes
    assert plan("31b").memory.compile_peak_bytes > plan("31b", weights="int4").memory.compile_peak_bytes


@pytest.mark.parametrize("name", presets.NAMES)
def test_every_preset_can_be_planned(name):
    result = CliRunner().invoke(app, ["plan", name, "--target", "onnx-cpu", "--weights", "int4", "--json"])
    found = json.loads(result.stdout)
    assert found["data_bytes"] > 0 and found["decode_tokens_per_second"] > 0 and found["kv_bytes"] > 0


def test_the_table_for_people():
    shown = CliRunner().invoke(app, ["plan", "e2b", "--target", "onnx-cpu", "--weights", "mobile"]).stdout
    for text in ("data file", "KV at 4,096 tokens", "decode", "layers.1[5-9].mlp.* int2 row"):
        assert text in shown


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["e2b", "--target", "webgpu"], "no target webgpu"),
        (
            ["e2b", "--target", "tensorrt-rtx", "--kernels", "g4ops"],
            "--kernels is no option of the target tensorrt-rtx",
        ),
        (["e2b", "--target", "onnx-cpu", "--weights", "int5"], "no recipe int5"),
        (["e2b", "--target", "onnx-cpu", "--context", "9999999"], "context of 9999999"),
        (["e3b", "--target", "onnx-cpu"], "no config found"),
        (["e2b", "--target", "onnx-cpu", "--device", "abacus"], "no device abacus"),
    ],
)
def test_bad_plans(arguments, text):
    result = CliRunner().invoke(app, ["plan", *arguments])
    assert result.exit_code == 2 and text in result.stderr
