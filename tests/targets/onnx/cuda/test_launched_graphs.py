"""Whole graphs, each op by its plan, in Triton's interpreter, against the graph in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from g4compile.bundle.kv import PAST
from tests.targets.onnx.cuda.launched import run_graph, step_of
from tests.targets.onnx.cuda.nodes import assert_close
from tests.targets.onnx.cuda.reference import Graph, as_array

RESULTS = ("logits", "next_token")


def runs_of(batch, chunks, steps, vocabulary):
    """A prompt in ``chunks`` with logits at its last position, then ``steps`` of one token. The last sequence of
    several is shorter by 2 tokens."""
    random, made, done = np.random.default_rng(batch), [], np.zeros((batch, 1), np.int64)
    for number, new in enumerate([*chunks, *[1] * steps]):
        columns = np.arange(new)[None].repeat(batch, 0)
        used = np.full((batch, 1), new)
        if batch > 1 and number == len(chunks) - 1:
            used[-1] -= 2
        made.append(
            {
                "input_ids": random.integers(0, vocabulary, (batch, new)),
                "position_ids": np.where(columns < used, columns + done, -1),
                "logit_index": (used - 1)[..., None],
            }
        )
        done = done + used
    return made


def compare(model, batch, chunks, steps, interpreter):
    pasts = [value for value in model.graph.inputs if str(value.name).startswith(PAST)]
    caches = {str(value.name): np.zeros((batch, *list(value.shape)[1:]), np.float32) for value in pasts}
    vocabulary = model.graph.outputs[0].shape[-1]
    runs, reference = runs_of(batch, chunks, steps, vocabulary), Graph(model, exact=True)
    first = {**runs[0], **caches}
    weights = {str(value.name): as_array(value) for value in model.graph.initializers.values()}
    kept = {name: array.copy() for name, array in first.items() if name not in runs[0]}
    answers = interpreter(run_graph, [step_of(node) for node in model.graph], weights, [first, *runs[1:]], RESULTS)
    for number, (feeds, found) in enumerate(zip(runs, answers, strict=True)):
        wanted = reference.run({**kept, **feeds})
        assert_close(found["logits"], wanted["logits"])
        np.testing.assert_array_equal(found["next_token"], wanted["next_token"], f"run {number}")


@pytest.mark.parametrize(
    ("variant", "batch", "weights"),
    [
        ("tiny-e2b", 1, "bfloat16"),
        ("tiny-26b-a4b", 2, "int4"),
        *(
            pytest.param(variant, batch, weights, marks=pytest.mark.nightly)
            for variant, batch, weights in (
                ("tiny-e2b", 2, "int4"),
                ("tiny-26b-a4b", 1, "bfloat16"),
                ("tiny-31b", 3, "int8"),
                ("tiny-12b", 2, "bfloat16"),
            )
        ),
    ],
)
def test_graph(variant, batch, weights, cuda_graph, interpreter):
    """A prompt of two chunks, then six steps."""
    compare(cuda_graph(variant, weights=weights), batch, [9, 5], 6, interpreter)
