"""Legal graphs of every tiny variant, run in NumPy, against HF eager float32."""

import numpy as np
import pytest

from g4compile.compare.reference import Reference
from tests.conftest import VARIANTS
from tests.scenario import assert_equal, run_scenario
from tests.targets.onnx.cuda.runner import Runner


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("batch", [1, 3])
def test_graph_equals_hf(variant, batch, cuda_graph, expected_narrow):
    """A prompt at once and in chunks, then steps past the window and the ring."""
    runner = Runner(cuda_graph(variant))
    run_scenario(expected_narrow(variant, batch), runner.forward, runner.reset)


@pytest.mark.parametrize("variant", VARIANTS)
def test_rows_of_unequal_lengths_equal_hf(variant, cuda_graph, stored_narrow, expected_narrow):
    """Prompts of 5, 24 and 1 tokens side by side, a position of -1 behind the shorter ones; then steps of each."""
    want = expected_narrow(variant, 3)
    lengths, steps = np.array([5, want.prompt.shape[1], 1]), 12
    columns = np.arange(want.prompt.shape[1])
    runner = Runner(cuda_graph(variant))
    positions = np.where(columns < lengths[:, None], columns, -1)
    logits, tokens = runner.step(want.prompt, positions, lengths[:, None] - 1)
    found, chosen = [logits], [tokens]
    for step in range(steps):
        logits, tokens = runner.step(tokens, lengths[:, None] + step, np.zeros((3, 1), np.int64))
        found, chosen = [*found, logits], [*chosen, tokens]
    reference = Reference(stored_narrow(variant).folder)
    for row, length in enumerate(lengths):
        reference.reset()
        told = np.concatenate([want.prompt[row, :length], *(token[row] for token in chosen[:-1])])
        answer = reference.forward(told[None])[:, length - 1 :]
        assert_equal(answer, np.concatenate([logits[row : row + 1] for logits in found], 1), f"row {row}")
