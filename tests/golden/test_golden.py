"""Whole legal graphs of the tiny models as text. `pytest --update-golden` rewrites them; the diff is the review.

The pinned versions of `constraints.txt` made them: another transformers may spell the same model in other ops.
"""

import difflib
from importlib.metadata import version
from pathlib import Path

import pytest

from g4compile.graph.text import to_text
from g4compile.program import Program
from g4compile.targets.lower import lower
from g4compile.targets.onnx.cuda.target import ONNX_CUDA
from g4compile.targets.onnx.target import ONNX_CPU
from g4compile.weights.text import parse_graph
from tests.conftest import VARIANTS

FOLDER = Path(__file__).parent
PINNED = dict(
    line.split("==") for line in (FOLDER.parent.parent / "constraints.txt").read_text().splitlines() if "==" in line
)


pytestmark = pytest.mark.skipif(
    version("transformers") != PINNED["transformers"], reason="golden graphs are of the pinned transformers"
)


def check(name, model, request):
    file = FOLDER / f"{name}.onnxtxt"
    text = to_text(model)
    if request.config.getoption("--update-golden"):
        file.write_text(text)
    assert to_text(parse_graph(text)) == text
    golden = file.read_text() if file.exists() else ""
    difference = list(difflib.unified_diff(golden.splitlines(), text.splitlines(), "golden", "now", lineterm="", n=1))
    assert not difference, "\n".join([*difference[:40], "pytest tests/golden --update-golden accepts it"])


@pytest.mark.parametrize("variant", VARIANTS)
def test_legal_graph_is_the_golden_one(variant, legal, request):
    check(f"{variant}.onnx-cpu", legal(variant), request)


@pytest.mark.parametrize("variant", ["tiny-e2b", "tiny-26b-a4b"])
def test_legal_graph_with_the_library(variant, legal, request):
    """`int4` for libg4ops: per-layer inputs and shared keys, and experts."""
    check(f"{variant}.onnx-cpu.int4-g4ops", legal(variant, weights="int4", kernels="g4ops"), request)


def test_legal_graph_of_a_package(legal, request):
    """Buffers and rings that are bound as past and present, logits of the last token."""
    check("tiny-e2b.onnx-cpu.genai", legal("tiny-e2b", package="genai"), request)


@pytest.mark.parametrize(("variant", "weights"), [("tiny-e2b", "bfloat16"), ("tiny-26b-a4b", "int4")])
def test_legal_graph_for_cuda(variant, weights, checkpoints, traced, request):
    """Per-layer inputs, shared keys and the cut tail in bfloat16; experts, and keys that are values, in codes."""
    program = Program.decoder(traced(variant), checkpoints(variant).facts)
    (lowered,) = lower(program, ONNX_CUDA, _cuda("g4cuda", weights))
    check(f"{variant}.onnx-cuda.{weights}", lowered.model, request)


def test_legal_graph_for_cuda_without_kernels(checkpoints, traced, request):
    """ONNX Runtime's own ops: rings, masks from positions, and the cut tail."""
    program = Program.decoder(traced("tiny-e2b"), checkpoints("tiny-e2b").facts)
    (lowered,) = lower(program, ONNX_CUDA, _cuda("onnxruntime", "bfloat16"))
    check("tiny-e2b.onnx-cuda.stock", lowered.model, request)


def _cuda(kernels, weights):
    return ONNX_CUDA.options(weights=weights, kernels=kernels, context=256, chunk=24)


def test_legal_graph_of_the_vision_tower(checkpoints, traces, request):
    """Clipped products, positions of two axes, attention without a mask."""
    facts = checkpoints("tiny-e2b").facts
    (lowered,) = lower(Program.of({"vision": traces(facts, "vision")}, facts), ONNX_CPU, ONNX_CPU.options())
    check("tiny-e2b.vision.onnx-cpu", lowered.model, request)


def test_legal_graph_of_the_audio_tower(checkpoints, traces, request):
    """Convolutions, clipped products, attention in blocks."""
    facts = checkpoints("tiny-e2b").facts
    (lowered,) = lower(Program.of({"audio": traces(facts, "audio")}, facts), ONNX_CPU, ONNX_CPU.options())
    check("tiny-e2b.audio.onnx-cpu", lowered.model, request)
