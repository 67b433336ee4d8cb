"""Facts of the published sizes that other ports got wrong, read off the graph or the manifest."""

import numpy as np
import pytest

from g4compile.bundle.weight_steps import Scale
from g4compile.graph.edit import constant_array
from g4compile.model.config import FULL, SLIDING, load_config, model_facts
from g4compile.pipeline import run
from g4compile.targets.phases import canonical, fused
from g4compile.trace.trace import trace
from g4compile.weights.references import lazy_initializers
from tests.conftest import VARIANTS


def constants(model):
    for value in model.graph.initializers.values():
        array = constant_array(value)
        if array is not None:
            yield value.name, array.astype(np.float64)


def test_proportional_rope_turns_dims_of_both_halves():
    """31B's global heads: 64 of 256 pairs turn, exponents over 512; local heads turn all of 256 at 1e4."""
    config = load_config("31b")
    config["text_config"].update(num_hidden_layers=6, layer_types=config["text_config"]["layer_types"][:6])
    tables = {array.size: array.ravel() for name, array in constants(trace(model_facts(config))) if "inv_freq" in name}
    pairs = np.arange(0, 512, 2)
    want = np.where(pairs < 128, 1e6 ** -(pairs / 512), 0)
    np.testing.assert_allclose(tables[256], want, rtol=1e-5)
    np.testing.assert_allclose(tables[128], 1e4 ** -(np.arange(0, 256, 2) / 256), rtol=1e-5)


def test_the_embedding_scale_is_rounded_in_the_weights_dtype():
    """sqrt(1536) = 39.19 is 39.25 in bfloat16; per-layer embeddings are scaled by 16."""
    config = load_config("e2b")
    kinds = [SLIDING, FULL, SLIDING, FULL]
    config["text_config"].update(num_hidden_layers=4, layer_types=kinds, num_kv_shared_layers=2)
    facts = model_facts(config)
    for dtype, scale in (("float32", np.sqrt(np.float32(1536))), ("bfloat16", 39.25)):
        model = trace(facts, dtype)
        run(model, (canonical(facts.text),))
        scales = [
            float(constant_array(operand))
            for node in model.graph
            if node.op_type == "Mul" and node.inputs[0].producer() and node.inputs[0].producer().op_type == "Gather"
            for operand in node.inputs[1:]
            if constant_array(operand) is not None and constant_array(operand).size == 1
        ]
        assert scales == pytest.approx([float(scale)], abs=0)
        (table,) = [t for t in lazy_initializers(model).values() if t.key.endswith("embed_tokens_per_layer.weight")]
        assert table.steps == (Scale(16.0),)


@pytest.mark.parametrize("variant", VARIANTS)
def test_only_owners_have_kv_inputs_and_outputs(variant, legal, checkpoints):
    facts = checkpoints(variant).facts.text
    owners = [str(layer.index) for layer in facts.kv_layers]
    graph = legal(variant).graph
    for values, prefix in ((graph.inputs, "past_key_values"), (graph.outputs, "present")):
        names = [value.name.split(".") for value in values if value.name.startswith(prefix)]
        assert [name[1] for name in names if name[2] == "key"] == owners
        assert [name[1] for name in names if name[2] == "value"] == owners
    for layer in facts.kv_layers:
        shape = next(v.shape for v in graph.inputs if v.name == f"past_key_values.{layer.index}.key")
        assert (shape[1], shape[3]) == (layer.kv_heads, layer.head_dim)


def test_key_is_value_layers_have_one_projection(checkpoints, traced):
    """V is the un-normed K projection: one product, read by both operands."""
    facts = checkpoints("tiny-31b").facts.text
    model = traced("tiny-31b")
    run(model, (canonical(facts), fused(facts)))
    both = [node for node in model.graph if node.op_type == "RopeKeyValue"]
    assert len(both) == len(facts.layers)
    for node, layer in zip(both, facts.layers, strict=True):
        assert (node.inputs[0] is node.inputs[1]) == (layer.kind == FULL)


def test_stop_tokens_come_from_the_generation_config(bundles):
    stops = bundles("tiny-e2b").manifest.stop_token_ids
    assert {1, 106, 50} <= set(stops)
