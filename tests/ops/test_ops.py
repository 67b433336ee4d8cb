"""Every op, on drawn inputs: reference = body = what the target lowers it to; inferred = real shapes."""

from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from g4compile.graph.edit import name_uniquely
from g4compile.graph.stage import set_stage
from g4compile.graph.text import renumber
from g4compile.ops.registry import all_ops, attach_bodies
from g4compile.ops.schema import DOMAIN, OPSET, VERSION
from g4compile.passes.legalize import Legalize
from g4compile.passes.lower_moe_to_gather_scatter import LowerMoEToGatherScatter
from g4compile.targets import TARGETS
from g4compile.targets.lowering.fixed_caches import MASKED
from g4compile.targets.tensorrt.attention_forms import FORMS
from g4compile.targets.tensorrt.edition import RTX
from g4compile.targets.tensorrt.legal import DTYPES
from g4compile.targets.tensorrt.lowerings import lowerings
from tests.ops.cases import CASES

OPS = all_ops()


def one_node(name, arrays, attributes):
    """A model of one op; its inputs are graph inputs."""
    op = OPS[name]
    inputs = [
        ir.Value(name=f"in{i}", shape=ir.Shape(array.shape), type=ir.TensorType(ir.DataType.from_numpy(array.dtype)))
        for i, array in enumerate(arrays)
    ]
    node = op.create(*inputs, **attributes)
    node.name = "layers.0/it"
    op(node).infer()
    for i, value in enumerate(node.outputs):
        value.name = f"out{i}"
    graph = ir.Graph(inputs, node.outputs, nodes=[node], opset_imports={"": OPSET, DOMAIN: VERSION}, name="one")
    model = ir.Model(graph, ir_version=11)
    set_stage(model, "quantized")
    attach_bodies(model)
    return model


def run(model, arrays):
    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    proto = ir.serde.serialize_model(model)
    onnx.checker.check_model(proto)
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {f"in{i}": array for i, array in enumerate(arrays)})


def reference(name, arrays, attributes):
    out = OPS[name].reference(*arrays, **attributes)
    return list(out) if isinstance(out, tuple) else [out]


def assert_close(wanted, found):
    for left, right in zip(wanted, found, strict=True):
        assert left.shape == right.shape
        np.testing.assert_allclose(
            right, left, rtol=2e-5, atol=2e-5 * max(1.0, float(np.abs(left[np.isfinite(left)]).max(initial=0)))
        )


QUICK = settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def test_every_op_has_cases():
    assert set(CASES) == set(OPS)


@pytest.mark.parametrize("name", OPS)
def test_body_is_the_reference(name):
    @QUICK
    @given(CASES[name])
    def check(case):
        arrays, attributes = case
        wanted = reference(name, arrays, attributes)
        assert_close(wanted, run(one_node(name, arrays, attributes), arrays))
        inferred = one_node(name, arrays, attributes).graph.outputs
        assert [list(value.shape) for value in inferred] == [list(array.shape) for array in wanted]

    check()


# Lowered with its reader (test_quantized_kernels), and what only engines hold.
ELSEWHERE = {"Dequantize", "AllReduce", "FlashAttention", "TransposedMatMul"}


@pytest.mark.parametrize("name", sorted(set(OPS) - ELSEWHERE))
@pytest.mark.parametrize("target", ["onnx-cpu", "onnx-mobile"])
def test_lowering_is_the_reference(name, target):
    @QUICK
    @given(CASES[name])
    def check(case):
        arrays, attributes = case
        model = one_node(name, arrays, attributes)
        LowerMoEToGatherScatter().apply(model)
        TARGETS[target].legalize().apply(model)
        name_uniquely(model)
        renumber(model)
        assert not any(node.domain == DOMAIN for node in model.graph.all_nodes())
        model.functions.clear()
        assert_close(reference(name, arrays, attributes), run(model, arrays))

    check()


FUSED = replace(RTX.fused, heads=(1, 1))  # the layer of few heads too
# What the graphs of an engine hold when they are legalised, and the form of attention or of the experts.
ENGINE_OPS = [
    ("Linear", ""),
    ("RMSNorm", ""),
    ("GeGLU", ""),
    ("RopeKeyValue", ""),
    *(("DualRopeAttention", form) for form in FORMS),
    ("CausalMask", ""),
    ("RingMask", ""),
    ("MoEExperts", "gather"),
    ("MoEExperts", "dense"),
]


@pytest.mark.parametrize(("name", "form"), ENGINE_OPS)
def test_engine_lowering_is_the_reference(name, form):
    @QUICK
    @given(CASES[name])
    def check(case):
        arrays, attributes = case
        if name == "DualRopeAttention" and len(arrays) < 7:
            return  # an engine's attention has a mask
        model = one_node(name, arrays, attributes)
        if form and name == "MoEExperts":
            LowerMoEToGatherScatter(form=form).apply(model)
        target = TARGETS["tensorrt-rtx"]
        attention = form if form in FORMS else FORMS[0]
        Legalize(target.name, target.legal, lowerings(attention, FUSED), DTYPES).apply(model)
        name_uniquely(model)
        renumber(model)
        attach_bodies(model)
        found = [np.where(array == MASKED, -np.inf, array) for array in run(model, arrays)]  # masks are finite there
        assert_close(reference(name, arrays, attributes), found)

    check()


@QUICK
@given(st.data())
def test_masks_agree_with_attention_without_one(data):
    """An attention with the mask of its window is the attention that knows its window itself."""
    arrays, attributes = data.draw(CASES["DualRopeAttention"])
    arrays = arrays[:6]
    new, total = arrays[0].shape[1], arrays[4].shape[2]
    positions = np.arange(total - new, total)[None].repeat(arrays[0].shape[0], 0)
    window = attributes["window"]
    mask = (
        OPS["WindowedMask"].reference(positions, arrays[4], window=window)
        if window
        else OPS["CausalMask"].reference(positions, arrays[4])
    )
    op = OPS["DualRopeAttention"]
    assert_close([op.reference(*arrays, **attributes)], [op.reference(*arrays, mask, **attributes)])


def test_a_wrong_body_would_be_caught():
    """The comparison is not vacuous: quick GELU in place of tanh GELU is off by more than the tolerance."""
    gate, up = np.array([[1.5]], np.float32), np.array([[1.0]], np.float32)
    right, wrong = reference("GeGLU", [gate, up], {})[0], gate / (1 + np.exp(-1.702 * gate)) * up
    with pytest.raises(AssertionError):
        assert_close([right], [wrong])
