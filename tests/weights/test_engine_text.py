"""The legal graph of an engine prints and parses: codes of every form are references in its text."""

import pytest

from g4compile.graph.stage import set_stage, stage_of
from g4compile.graph.text import to_text
from g4compile.program import Program
from g4compile.targets.lower import lower
from g4compile.targets.tensorrt.target import TENSORRT
from g4compile.weights.coded import CodedTensor
from g4compile.weights.text import parse_graph


@pytest.mark.parametrize(
    ("variant", "weights", "words"),
    [
        ("tiny-26b-a4b", "int4", {"codes=int4:128:symmetric:nearest:64:bfloat16 narrow"}),
        ("tiny-e2b", "fp8", {"engine-codes=fp8"}),
        ("tiny-e2b", "bfloat16", set()),
    ],
)
def test_the_legal_graph_of_an_engine_round_trips(variant, weights, words, traced, checkpoints):
    program = Program.decoder(traced(variant), checkpoints(variant).facts)
    options = TENSORRT.options(weights=weights, context=64, chunk=16)
    model = next(one.model for one in lower(program, TENSORRT, options) if one.variant.name == "prefill")
    text = to_text(model)
    again = parse_graph(text)
    set_stage(again, stage_of(model))
    assert to_text(again) == text
    assert all(f'{word}"' in text for word in words)
    coded = [value.const_value for value in again.graph.initializers.values()]
    matrices = {id(tensor.matrix) for tensor in coded if isinstance(tensor, CodedTensor)}
    assert 2 * len(matrices) == sum(isinstance(tensor, CodedTensor) for tensor in coded)  # codes and scales share one
    assert bool(matrices) == bool(words)
