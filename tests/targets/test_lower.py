"""The driver of passes: which graphs it makes of a program."""

import onnx_ir as ir
import pytest

from g4compile.errors import InputError
from g4compile.program import Part, Program
from g4compile.targets import TARGETS
from g4compile.targets.lower import lower
from tests.graph.graphs import anchored, value


@pytest.mark.parametrize(("name", "part"), [("onnx-cpu", "drafter"), ("tensorrt-rtx", "drafter")])
def test_a_part_that_the_target_makes_no_graph_of(name, part, checkpoints):
    facts, target = checkpoints("tiny-e2b").facts, TARGETS[name]
    tower = ir.Model(anchored(value("pixel_values", 1, 4)).graph, ir_version=11)
    program = Program(facts, {part: Part(part, tower, facts.text)})
    with pytest.raises(InputError, match=f"the target {name} makes no graph of the part {part}"):
        list(lower(program, target, target.options()))
