"""A stock graph of `onnx-cuda` on ONNX Runtime's CPU provider, in float32: the same nodes over wider numbers.

The CPU provider computes nothing in bfloat16, so every dtype bfloat16 of the graph becomes float32 first: inputs,
outputs, weights, constants and casts. Nothing is rounded then, and Hugging Face in float32 is the judge. With
``rounded`` every result that was bfloat16 is rounded to it, and widened again: as a GPU does it but for orders of sums.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort

from g4compile.bundle.kv import PAST
from g4compile.runtime.feeds import PRESENT, past_of
from tests.targets.onnx.cuda.reference import Array

_WIDE, _NARROW = onnx.TensorProto.FLOAT, onnx.TensorProto.BFLOAT16


def widened(model: ir.Model, rounded: bool = False) -> onnx.ModelProto:
    """``model``, its weights in it, with float32 in the place of bfloat16."""
    narrow = {value.name for node in model.graph for value in node.outputs if value.dtype == ir.DataType.BFLOAT16}
    proto = ir.serde.serialize_model(model)
    graph = proto.graph
    weights = {str(value.name): value.const_value for value in model.graph.initializers.values()}
    del graph.initializer[:], graph.value_info[:], proto.functions[:]
    for name, tensor in weights.items():
        array = tensor.numpy()
        array = array.astype(np.float32) if tensor.dtype == ir.DataType.BFLOAT16 else array
        graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array, order="C"), name))
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type == _NARROW:
            value.type.tensor_type.elem_type = _WIDE
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.i == _NARROW:
                attribute.i = _WIDE
    if rounded:
        nodes = [one for node in graph.node for one in _rounding(node, narrow)]
        del graph.node[:]
        graph.node.extend(nodes)
    return proto


def _rounding(node: onnx.NodeProto, narrow: set[str]) -> list[onnx.NodeProto]:
    """``node``, and what rounds those of its results that are ``narrow``."""
    nodes = [node]
    for place, name in enumerate(node.output):
        if name in narrow:
            node.output[place] = f"{name}.exact"
            nodes.append(onnx.helper.make_node("Cast", [f"{name}.exact"], [f"{name}.rounded"], to=_NARROW))
            nodes.append(onnx.helper.make_node("Cast", [f"{name}.rounded"], [name], to=_WIDE))
    return nodes


def opened(model: ir.Model, rounded: bool = False) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(
        widened(model, rounded).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


class StockRunner:
    """``model``, its weights bound, as `scenario.py` drives it; `step` takes rows of unequal positions."""

    def __init__(self, model: ir.Model, rounded: bool = False) -> None:
        self._session = opened(model, rounded)
        self._pasts = [value for value in model.graph.inputs if str(value.name).startswith(PAST)]
        self.reset()

    def reset(self) -> None:
        self.length, self._caches = 0, dict[str, Array]()

    def forward(self, input_ids: Array) -> Array:
        """Append int64 [B, S]; logits [B, S, V]. The next token must be the likeliest of the last."""
        batch, new = input_ids.shape
        positions = np.tile(np.arange(self.length, self.length + new), (batch, 1))
        index = np.tile(np.arange(new), (batch, 1))
        self.length += new
        logits, token = self.step(input_ids, positions, index)
        np.testing.assert_array_equal(token, logits[:, -1:].argmax(-1))
        return logits

    def step(self, input_ids: Array, positions: Array, index: Array) -> tuple[Array, Array]:
        """One run: logits [B, K, V] and the next token [B, 1], of columns ``index`` [B, K]."""
        if not self._caches:
            self._caches = {
                str(value.name): np.zeros((len(input_ids), *list(value.shape or ())[1:]), np.float32)
                for value in self._pasts
            }
        feeds = {"input_ids": input_ids, "position_ids": positions, "logit_index": index[..., None]}
        names = [output.name for output in self._session.get_outputs()]
        found = dict(zip(names, self._session.run(names, {**feeds, **self._caches}), strict=True))
        self._caches = {past_of(name): array for name, array in found.items() if name.startswith(PRESENT)}
        return found["logits"], found["next_token"]
