"""Graphs whose results have other shapes than they say: ONNX Runtime only warns, and libg4rt must not read or write
past them. The bundle vouches for them with hashes of its own."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.manifests import linked, put_listed
from tests.native.rt.g4rt import Refused


def cut(folder, graph, name, axis, read):
    """Let ``graph`` give the first of what its output ``name`` has along ``axis``, and say what it said. That it is
    one, its input ``read`` decides when it runs, so that no check of the graph sees it."""
    model = onnx.load(folder / graph, load_external_data=False)
    nodes = model.graph.node
    for node in nodes:
        node.output[:] = ["whole" if output == name else output for output in node.output]
        node.input[:] = ["whole" if given == name else given for given in node.input]
    for key, value in (("zero", 0), ("one", 1), ("axis", axis)):
        model.graph.initializer.append(helper.make_tensor(key, TensorProto.INT64, [1], [value]))
    nodes.extend([
        helper.make_node("Shape", [read], ["sizes"]),
        helper.make_node("ReduceMin", ["sizes"], ["least"], keepdims=0),
        helper.make_node("Min", ["least", "one"], ["until"]),
        helper.make_node("Slice", ["whole", "zero", "until", "axis"], [name]),
    ])  # fmt: skip
    put_listed(folder, graph, model.SerializeToString())


@pytest.fixture
def lie(bundles, tmp_path):
    def make(*cutting, bundle=None):
        folder = linked((bundle or bundles("tiny-e2b")).folder, tmp_path / "bundle")
        cut(folder, *cutting)
        return folder

    return make


@pytest.mark.parametrize("axis", [1, 2])
def test_embeddings(lie, rt, axis):
    with rt.open(lie("embed.onnx", "inputs_embeds", axis, "input_ids")) as model, model.session() as session:
        with pytest.raises(Refused, match=r"gave inputs_embeds of the shape \[1, .*\], not \[1, 9, ") as refused:
            session.prefill(range(5, 14))
        assert (refused.value.status, session.length) == ("bad-bundle", 0)


@pytest.mark.parametrize("axis", [0, 1])
def test_features(lie, rt, seeing, axis):
    folder = lie("vision.onnx", "image_features", axis, "pixel_values", bundle=seeing("tiny-e2b"))
    with rt.open(folder) as model, model.session() as session:
        media = model.image(np.full((64, 96, 3), 120, np.uint8))
        ids = model.encode("What is <|image|>?", [media])
        with pytest.raises(Refused, match="gave features of the shape") as refused:
            session.prefill(ids, [media])
        assert (refused.value.status, session.length) == ("bad-bundle", 0)


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_keys(lie, rt, bundles, axis):
    """Of a layer whose tensors the graph makes itself."""
    variant = bundles("tiny-31b")
    layer = next(one.layer for one in variant.manifest.kv.layers if one.window)
    folder = lie("decoder.onnx", f"present.{layer}.key", axis, "position_ids", bundle=variant)
    with rt.open(folder) as model, model.session() as session:
        with pytest.raises(Refused, match=rf"gave present.{layer}.key of the shape") as refused:
            session.prefill(range(5, 14))
        assert (refused.value.status, session.length) == ("bad-bundle", 0)
