"""The graph that `inspect` prints is the one that a compile makes."""

import pytest

from g4compile.errors import InputError
from g4compile.graph.text import to_text
from g4compile.planning.stages import graph_at
from g4compile.program import Program
from g4compile.targets import TARGETS
from g4compile.targets.choices import options_for
from g4compile.targets.lower import lower


@pytest.mark.parametrize("target", ["onnx-mobile", "tensorrt-rtx"])
def test_inspected_is_compiled(target, traced, checkpoints):
    facts = checkpoints("tiny-e2b").facts
    chosen = TARGETS[target]
    program = Program.decoder(traced("tiny-e2b"), facts)
    compiled = next(lower(program, chosen, options_for(chosen, facts)))
    shown = graph_at(checkpoints("tiny-e2b").folder, f"legal:{target}")
    assert shown == to_text(compiled.model)
    assert "const.int64.1x1x0." not in shown and "const.int64.1x0." not in shown  # masks over slots that a cache has


def test_stages_of_a_target_are_named():
    with pytest.raises(InputError, match="there is no stage legal:onnx-gpu") as refused:
        graph_at("tiny-e2b", "legal:onnx-gpu")
    assert "legal:tensorrt-rtx" in refused.value.fix


def test_parts_beside_the_decoder():
    for part, output in (("vision", "image_features"), ("audio", "audio_features")):
        assert output in graph_at("tiny-12b", "legal:onnx-cpu", part)
    with pytest.raises(InputError, match="this model has no audio encoder"):
        graph_at("tiny-31b", "traced", "audio")
