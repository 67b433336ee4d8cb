"""Weight references: the steps between what is stored and what the graph wants."""

import numpy as np
import onnx_ir as ir
import pytest

from g4compile.errors import Defect, InputError
from g4compile.weights.references import CheckpointTensor

KEY = "model.language_model.embed_tokens.weight"


@pytest.fixture
def tensor(checkpoints):
    checkpoint = checkpoints("tiny-31b")
    return CheckpointTensor(KEY, ir.DataType.FLOAT, checkpoint.tensors[KEY].shape, source=checkpoint)


def test_transposed_twice_is_the_stored_form(tensor, checkpoints):
    stored = checkpoints("tiny-31b").read(KEY)
    np.testing.assert_array_equal(tensor.transposed().numpy(), stored.T)
    assert tensor.transposed().stored_shape == stored.shape
    assert tensor.transposed().transposed().steps == ()


@pytest.mark.parametrize("factor", [16.0, float(np.float32(np.sqrt(1536)))])
def test_a_folded_scale_gives_the_bits_of_the_product(tensor, checkpoints, factor):
    """Looking up rows and multiplying, or looking up in the multiplied table: the same bits."""
    rows = np.array([3, 1, 700])
    behind = checkpoints("tiny-31b").read(KEY)[rows] * np.float32(factor)
    np.testing.assert_array_equal(tensor.scaled(factor).numpy()[rows], behind)
    assert np.float32(float(tensor.scaled(factor).steps[0].removeprefix("scale="))) == np.float32(factor)


def test_a_weight_without_a_checkpoint_is_refused_and_an_unknown_step_a_defect(tensor):
    with pytest.raises(InputError, match="no checkpoint is bound"):
        CheckpointTensor(KEY, ir.DataType.FLOAT, (2, 2)).numpy()
    broken = CheckpointTensor(KEY, ir.DataType.FLOAT, (2, 2), ("rotate",), tensor.source)
    with pytest.raises(Defect, match="unknown step 'rotate'"):
        broken.numpy()
