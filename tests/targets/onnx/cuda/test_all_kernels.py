"""All kernels of graphs: one name for one kernel at published sizes, and some way to run each on every GPU."""

from __future__ import annotations

import pytest

pytest.importorskip("triton", reason="Triton is not installed: it is part of the dev extra on Linux")
from g4compile.model.config import load_config, model_facts
from g4compile.program import Program
from g4compile.targets.kernels.architectures import ARCHITECTURES
from g4compile.targets.kernels.kernel import ladder
from g4compile.targets.lower import lower
from g4compile.targets.onnx.cuda.lower_to_launches import kernels_of
from g4compile.targets.onnx.cuda.target import ONNX_CUDA
from g4compile.trace.trace import trace

SMALLEST = 99 * 1024  # bytes of shared memory of a block, on the GPU that has least


def graph_of(variant, weights):
    """Without weights."""
    facts = model_facts(load_config(variant))
    program = Program.of({"decoder": trace(facts, part="decoder")}, facts)
    (lowered,) = lower(program, ONNX_CUDA, ONNX_CUDA.options(weights=weights))
    return lowered.model.graph


def check_sizes(kernels, architecture):
    large = []
    for kernel in kernels:
        made = ladder(kernel, architecture).values()
        if not made or min(one.shared for one in made) > SMALLEST:
            large.append((kernel.name, [one.shared for one in made]))
    assert not large


@pytest.mark.nightly
@pytest.mark.parametrize("weights", ["bfloat16", "int4", "int8"])
@pytest.mark.parametrize("variant", ["e2b", "e4b", "12b", "26b-a4b", "31b"])
def test_published_sizes(variant, weights):
    """No two kernels of one name, which `kernels_of` refuses; and all fit a GPU with little shared memory."""
    check_sizes(kernels_of(list(graph_of(variant, weights))), 89)


@pytest.mark.nightly
@pytest.mark.parametrize("weights", ["bfloat16", "int4"])
@pytest.mark.parametrize("variant", ["tiny-e2b", "tiny-26b-a4b"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_tiny_sizes_on_every_architecture(variant, weights, architecture):
    check_sizes(kernels_of(list(graph_of(variant, weights))), architecture)
