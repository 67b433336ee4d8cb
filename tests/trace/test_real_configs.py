"""The published geometries: traced on the meta device and legalised, with node counts, processor seconds and peak memory."""

import resource
import time

import pytest

from g4compile.compiler import lower, trace
from g4compile.config import load_config, model_facts
from g4compile.targets import TARGETS


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["e2b", "e4b", "12b", "26b-a4b", "31b"])
def test_real_config_traces_and_legalises(name, capsys):
    facts = model_facts(load_config(name))
    start = time.process_time()
    model = trace(facts)
    traced, seconds = model.graph.num_nodes(), time.process_time() - start
    start = time.process_time()
    lower(model, facts, TARGETS["onnx-cpu"])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    with capsys.disabled():
        lowering = time.process_time() - start
        print(
            f"\n{name}: {traced} -> {model.graph.num_nodes()} nodes, {seconds:.1f} s + {lowering:.1f} s, {peak:.2f} GB"
        )
    assert peak < 1.0
    assert seconds < 40  # of the processor, which is what a quiet machine takes
