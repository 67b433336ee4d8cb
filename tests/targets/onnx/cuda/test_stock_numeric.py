"""Graphs of ONNX Runtime's own ops for CUDA, on its CPU provider in float32, against Hugging Face."""

from __future__ import annotations

import numpy as np
import pytest

from g4compile.compare.parity import LIMITS, Meter
from g4compile.compare.reference import Reference
from g4compile.weights.quantized import QuantizedTensor
from tests.conftest import VARIANTS
from tests.scenario import assert_equal, run_scenario
from tests.targets.onnx.cuda.stock import StockRunner
from tests.targets.onnx.cuda.test_numeric import ROUNDED, ROUNDED_EXPERTS


@pytest.fixture(scope="session")
def stock_graph(cuda_graph):
    def get(variant, **options):
        return cuda_graph(variant, kernels="onnxruntime", **options)

    return get


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_are_those_of_hf(variant, batch, stock_graph, expected_narrow):
    """A prompt at once and in chunks, then 120 steps, past windows and rings."""
    runner = StockRunner(stock_graph(variant))
    run_scenario(expected_narrow(variant, batch), runner.forward, runner.reset)


@pytest.mark.parametrize("weights", ["int4", "int8"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_codes_equal_hf_with_what_they_stand_for(variant, weights, stock_graph, stored_narrow, expected_narrow):
    """Experts, products, and tables that are looked up."""
    model = stock_graph(variant, weights=weights)
    tensors = [value.const_value for value in model.graph.initializers.values()]
    coded = [one for one in tensors if isinstance(one, QuantizedTensor)]
    stands_for = {one.key: one.matrix.dequantized() for one in coded if one.part == "codes"}
    assert stands_for.keys() == {one.key for one in coded if one.part == "scales"}
    reference = Reference(stored_narrow(variant).folder, stands_for.items())
    prompt, runner = expected_narrow(variant, 1).prompt, StockRunner(model)
    want = reference.forward(prompt)
    assert_equal(want, runner.forward(prompt), "prefill")
    for step in range(40):
        token = want[:, -1:].argmax(-1)
        want = reference.forward(token)
        assert_equal(want, runner.forward(token), f"step {step}")


def test_positions_with_logits(stock_graph, expected_narrow):
    """The last ones, however many; each has the logits that it has among all."""
    want, runner = expected_narrow("tiny-e2b", 3), StockRunner(stock_graph("tiny-e2b"))
    new = want.prompt.shape[1]
    positions = np.tile(np.arange(new), (3, 1))
    for count in (1, 2, new):
        runner.reset()
        logits, token = runner.step(want.prompt, positions, positions[:, new - count :])
        assert_equal(want.prefill[:, new - count :], logits, f"{count} positions")
        np.testing.assert_array_equal(token, logits[:, -1:].argmax(-1))


@pytest.mark.parametrize("variant", VARIANTS)
def test_rounding_stays_near_hf(variant, stock_graph, expected_narrow):
    """Every result that the graph declares bfloat16 is rounded."""
    want, runner, meter = expected_narrow(variant, 1), StockRunner(stock_graph(variant), rounded=True), Meter()
    meter.add(want.prefill, runner.forward(want.prompt))
    for step in range(30):
        token = slice(step, step + 1)
        meter.add(want.decode[:, token], runner.forward(want.tokens[:, token]))
    found, limits = meter.result(), ROUNDED_EXPERTS if "a4b" in variant else ROUNDED
    assert not found.broken(limits), found
    assert found.relative_difference > LIMITS["float32"].relative_difference  # something was rounded
