"""The operands of every node of ours are checked after each pass, and when a node is made."""

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir
import pytest

from g4compile import pipeline
from g4compile.errors import SpecError
from g4compile.graph.axes import resize
from g4compile.graph.build import Builder
from g4compile.ops.geglu import GeGLU
from g4compile.ops.linear import Linear
from g4compile.ops.rope_key_value import RopeKeyValue
from g4compile.weights.text import parse_graph
from tests.graph.graphs import anchored, value

GRAPH = """
<ir_version: 11, opset_import: ["" : 24, "g4" : 1], metadata_props: ["g4.stage": "canonical"]>
g (float[batch,new,8] x) => (float[batch,new,4] y)
  <float[4,8] w = ["location": "w"]>
{
  ["layers.3.mlp/Linear"] y = g4.Linear (x, w)
}
"""


@dataclass(frozen=True)
class Narrow:
    """A pass that is wrong: it changes one operand and leaves the others."""

    name: ClassVar[str] = "narrow"
    stages: ClassVar[tuple[str, ...]] = ("canonical",)
    size: int = 6

    def apply(self, model: ir.Model) -> None:
        resize(model.graph.inputs[0], -1, self.size)


def test_a_pass_that_breaks_a_size_is_refused_with_node_and_letter():
    model = parse_graph(GRAPH)
    with pytest.raises(SpecError, match=r"the operands of g4\.Linear do not fit") as error:
        pipeline.run(model, [pipeline.Phase.to("fused", Narrow())])
    assert error.value.where == "g4.Linear node layers.3.mlp/Linear, after narrow"
    assert error.value.why == "I is 8 in weight and 6 elsewhere"


def test_a_pass_that_keeps_sizes_passes():
    pipeline.run(parse_graph(GRAPH), [pipeline.Phase.to("fused", Narrow(size=8))])


def test_an_output_that_does_not_follow_from_the_operands_is_refused():
    model = parse_graph(GRAPH)
    (linear,) = Linear.all_in(model.graph)
    linear.check()
    resize(linear.y, -1, 5)
    with pytest.raises(SpecError) as error:
        linear.check()
    assert error.value.why == "O is 5 in y and 4 elsewhere"


def test_a_node_of_operands_that_do_not_fit_is_not_made():
    gate, up = value("gate", "batch", "new", 4), value("up", "batch", "new", 5)
    build = Builder(anchored(gate, up))
    with pytest.raises(SpecError, match=r"the operands of g4\.GeGLU do not fit") as error:
        GeGLU.insert(build, gate, up)
    assert error.value.why == "I is 5 in up and 4 elsewhere"
    assert not build.made


def test_attributes_say_sizes_too():
    wide, norm = value("wide", "batch", "new", 24), value("norm", 8)
    angle = value("angle", "batch", "new", 4)
    build = Builder(anchored(wide, norm, angle))
    key, _ = RopeKeyValue.insert_all(build, wide, wide, norm, angle, angle, kv_heads=3, epsilon=1e-6, rotary=8)
    assert [str(size) for size in key.shape] == ["batch", "3", "new", "8"]
    with pytest.raises(SpecError) as error:
        RopeKeyValue.insert_all(build, wide, wide, norm, angle, angle, kv_heads=2, epsilon=1e-6, rotary=8)
    assert error.value.why == "K*D is 16, the size of key_in is 24"
