"""Behind the last KV producer, only positions whose logits are asked for are computed."""

import re

import pytest

from g4compile.model.config import load_config, model_facts
from g4compile.program import Program
from g4compile.targets.lower import lower
from g4compile.targets.onnx.target import ONNX_CPU
from g4compile.trace.trace import trace

PRODUCTS = {"MatMul", "Gemm", "Attention"}
TOKENS = {"new", "kept"}  # sizes that count tokens


def check_tail(model, facts):
    """Every product of a layer behind the last producer, and lm_head, reads the kept positions only."""
    checked = 0
    for node in model.graph.all_nodes():
        layer = re.match(r"layers\.(\d+)[./]", node.name)
        behind = int(layer[1]) > facts.last_producer if layer else node.name.startswith("lm_head")
        if not behind or node.op_type not in PRODUCTS:
            continue
        read = node.inputs[0]
        while not TOKENS & {str(size) for size in read.shape}:  # reshaped to sizes that are not known
            read = read.producer().inputs[0]
        sizes = [str(size) for size in read.shape]
        assert "kept" in sizes and "new" not in sizes, f"{node.name} reads {sizes}"
        checked += 1
    return checked


def products(facts):
    """q, o, gate, up, down, per-layer gate and projection, attention of each shared layer; lm_head."""
    return (len(facts.layers) - 1 - facts.last_producer) * (6 + 2 * bool(facts.ple_dim)) + 1


@pytest.mark.parametrize("variant", ["tiny-e2b", "tiny-e4b"])
def test_shared_layers_see_only_the_kept_positions(variant, legal, checkpoints):
    facts = checkpoints(variant).facts.text
    assert facts.last_producer < len(facts.layers) - 1
    assert check_tail(legal(variant), facts) == products(facts)


def test_without_the_pass_the_check_fails(traced, checkpoints):
    facts = checkpoints("tiny-e2b").facts
    model = traced("tiny-e2b")
    (lowered,) = lower(Program.decoder(model, facts), ONNX_CPU, ONNX_CPU.options(shared_tail=False))
    with pytest.raises(AssertionError, match="reads"):
        check_tail(lowered.model, facts.text)


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["e2b", "e4b"])
def test_published_shared_layers_see_only_the_kept_positions(name):
    facts = model_facts(load_config(name))
    model = trace(facts)
    (lowered,) = lower(Program.decoder(model, facts), ONNX_CPU, ONNX_CPU.options())
    assert check_tail(lowered.model, facts.text) == products(facts.text)
