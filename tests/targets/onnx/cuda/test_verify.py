"""`verify` of bundles for CUDA: their graphs in NumPy, every result rounded as declared, by the table of limits."""

import json

import pytest
from typer.testing import CliRunner

from g4compile.cli.app import app
from g4compile.compare.parity import LIMITS
from g4compile.compare.verify import verify
from g4compile.errors import InputError
from g4compile.targets.base import Candidates
from g4compile.targets.onnx.cuda.target import OnnxCudaTarget
from tests.targets.onnx.cuda.runner import Runner

ROWS = {"tiny-e2b": "bfloat16 activations", "tiny-26b-a4b": "bfloat16 activations, experts"}


class Rounded(Runner):
    """The graph ``model`` as `verify` asks it."""

    def __init__(self, model):
        super().__init__(model, exact=False)

    def forward(self, input_ids, *, all_positions=False):
        assert all_positions
        return super().forward(input_ids)


@pytest.fixture
def answers(monkeypatch):
    """Lets a graph answer for the bundles of the target."""

    def put(model, wrong=None):
        session = Rounded(model)
        weights = session.graph.weights
        weights.update({value: -weights[value] for value in weights if wrong is not None and wrong in str(value.name)})
        monkeypatch.setattr(OnnxCudaTarget, "candidates", lambda *arguments: Candidates(session))

    return put


@pytest.mark.parametrize("variant", ROWS)
@pytest.mark.parametrize("weights", ["bfloat16", "int8", "int4"])
def test_a_bundle_passes(variant, weights, cuda_bundle, cuda_graph, stored_narrow, answers):
    answers(cuda_graph(variant, weights=weights))
    report = verify(cuda_bundle(variant, weights), stored_narrow(variant).folder, new_tokens=8)
    assert report.passed and report.limits is LIMITS[ROWS[variant]]
    assert "keys and values rounded to bfloat16" in report.judge
    assert ("dequantised weights" in report.judge) is (weights != "bfloat16")
    assert max(one.relative_difference for one in report.parity.values()) > LIMITS["float32"].relative_difference


@pytest.mark.parametrize("variant", ROWS)
def test_a_wrong_layer_is_over_the_limits(variant, cuda_bundle, cuda_graph, stored_narrow, answers):
    """The signs of one projection are changed."""
    answers(cuda_graph(variant), wrong="layers.1.self_attn.o_proj")
    report = verify(cuda_bundle(variant), stored_narrow(variant).folder, new_tokens=8)
    for name in report.parity:
        assert len([one for one in report.broken if one.startswith(f"{name}:")]) == 3, report.broken


def test_no_layer_of_it_can_be_compared(cuda_bundle, stored_narrow):
    with pytest.raises(InputError, match="a graph for CUDA gives no layer's output"):
        verify(cuda_bundle("tiny-e2b"), stored_narrow("tiny-e2b").folder, layers=True)


def test_the_verb(cuda_bundle, cuda_graph, stored_narrow, answers):
    answers(cuda_graph("tiny-e2b"))
    arguments = [cuda_bundle("tiny-e2b").folder, "--against", stored_narrow("tiny-e2b").folder, "--json", "--hashes"]
    result = CliRunner().invoke(app, ["verify", *map(str, arguments)])
    report = json.loads(result.stdout)
    assert result.exit_code == 0 and report["verdict"].startswith("within the limits (bfloat16 activations): top-1 ")
