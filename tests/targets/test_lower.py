"""The driver of passes: which graphs it makes of a program."""

from dataclasses import replace

import onnx_ir as ir
import pytest

from g4compile.errors import Defect, InputError
from g4compile.graph.text import to_text
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


def test_a_variant_in_another_form(trt, checkpoints, traced):
    """From the graph that variants share, as often as it is asked for: what a compile in that form begins with."""
    facts, target = checkpoints("tiny-31b").facts, TARGETS["tensorrt-rtx"]

    def lowered(**options):
        program = Program.decoder(traced("tiny-31b"), facts)
        return lower(program, target, target.options(context=64, chunk=16, compute_capabilities=(89,), **options))

    first = next(lowered())
    assert first.variant.form == "fused"
    other = replace(first.variant, form="select")
    texts = [to_text(one.model) for one in (first.again(other), first.again(other), next(lowered(attention="select")))]
    assert texts[0] == texts[1] == texts[2] != to_text(first.model)
    assert [(one.variant.name, one.variant.form) for one in lowered()] == [
        (name, "fused") for name in ("decode", "verify", "prefill")
    ]


def test_a_part_of_one_variant_has_one_form(checkpoints, traced):
    facts, target = checkpoints("tiny-31b").facts, TARGETS["onnx-cpu"]
    (lowered,) = lower(Program.decoder(traced("tiny-31b"), facts), target, target.options())
    with pytest.raises(Defect, match="in one form alone"):
        lowered.again(lowered.variant)
