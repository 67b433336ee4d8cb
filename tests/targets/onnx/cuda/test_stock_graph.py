"""What stands in graphs of ONNX Runtime's own ops for CUDA: what its CUDA provider has, in the dtypes it has."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from g4compile.graph.stage import op_name
from g4compile.runtime.feeds import past_of
from g4compile.targets.onnx.cuda.legal import STOCK
from tests.conftest import VARIANTS

_NEVER = {"ArgMax", "Round", "ReduceMax", "NonZero", "Unique", "Loop", "Clip"}


@pytest.mark.parametrize("weights", ["bfloat16", "int4"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_result_is_of_a_dtype_that_the_provider_computes(variant, weights, cuda_graph):
    model = cuda_graph(variant, weights=weights, kernels="onnxruntime")
    for node in model.graph:
        for value in node.outputs:
            assert value.dtype in STOCK[op_name(node)], f"{node.name} gives {value.dtype}"
    assert not {node.op_type for node in model.graph} & _NEVER


@pytest.mark.parametrize("variant", VARIANTS)
def test_operands_of_one_node_agree(variant, cuda_graph):
    """ONNX's rules, which types of values here follow only where passes say so."""
    for node in cuda_graph(variant, weights="int4", kernels="onnxruntime").graph:
        floats = {value.dtype for value in node.inputs if value is not None and value.dtype.is_floating_point()}
        assert len(floats) <= 1, f"{node.name} reads {floats}"
        if floats and node.op_type != "Cast":
            made = {value.dtype for value in node.outputs if value.dtype.is_floating_point()}
            assert made <= floats, f"{node.name} reads {floats} and gives {made}"


@pytest.mark.parametrize("variant", VARIANTS)
def test_sizes_are_computed_on_the_host_for_experts_alone(variant, cuda_graph):
    graph = cuda_graph(variant, kernels="onnxruntime").graph
    assert ("Shape" in {node.op_type for node in graph}) == (variant == "tiny-26b-a4b")


def test_inputs_and_outputs(cuda_graph):
    """Those of a graph of kernels; and the caches, which a session binds to the inputs' memory."""
    stock, fused = (cuda_graph("tiny-e2b", kernels=kernels).graph for kernels in ("onnxruntime", "g4cuda"))

    def described(values):
        return {value.name: (value.dtype, list(map(str, value.shape))) for value in values}

    inputs, others = described(stock.inputs), described(fused.inputs)
    assert inputs.keys() == others.keys()
    assert all(inputs[name] == others[name] for name in inputs if not name.startswith("past"))
    outputs = described(stock.outputs)
    names = [name for name in outputs if name.startswith("present")]
    presents = {past_of(name): outputs.pop(name) for name in names}
    assert outputs == described(fused.outputs)
    assert presents == {name: one for name, one in inputs.items() if name.startswith("past")}
    assert {value.dtype for value in stock.inputs if value.name.startswith("past")} == {ir.DataType.BFLOAT16}


def test_rings_have_a_multiple_of_16_slots(cuda_graph):
    graph = cuda_graph("tiny-e2b", kernels="onnxruntime").graph
    slots = {value.shape[2] for value in graph.inputs if value.name.startswith("past")}
    assert slots == {48, 256}


def test_a_tied_table_has_one_copy(cuda_graph):
    graph = cuda_graph("tiny-e2b", kernels="onnxruntime").graph
    table = next(value for name, value in graph.initializers.items() if name.endswith("embed_tokens.weight"))
    assert sorted(op_name(node) for node, _ in table.uses()) == ["Gather", "com.microsoft.FusedMatMul"]
    assert table.const_value.steps == ()
