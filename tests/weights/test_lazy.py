"""Weight references: the steps between what is stored and what the graph wants."""

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest

from g4compile.bundle.weight_codes import parse_steps
from g4compile.bundle.weight_steps import prepare
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
    (step,) = parse_steps([str(step) for step in tensor.scaled(factor).steps])
    assert np.float32(step.factor) == np.float32(factor)


def test_a_cast_leaves_the_steps_before_it_in_the_dtype_they_had(tensor, checkpoints):
    """Scaled in float32 and rounded once; not rounded, and then scaled in bfloat16."""
    stored = checkpoints("tiny-31b").read(KEY)
    factor = float(np.float32(np.sqrt(1536)))
    wanted = (stored * np.float32(factor)).astype(ml_dtypes.bfloat16)
    rounded = tensor.scaled(factor).in_dtype(ir.DataType.BFLOAT16)
    np.testing.assert_array_equal(rounded.numpy(), wanted)
    np.testing.assert_array_equal(rounded.read_rows(3, 90), wanted[3:90])
    assert (wanted != stored.astype(ml_dtypes.bfloat16) * ml_dtypes.bfloat16(factor)).any()
    wide = rounded.in_dtype(ir.DataType.FLOAT)  # what was rounded stays rounded
    np.testing.assert_array_equal(wide.numpy(), wanted.astype(np.float32))
    np.testing.assert_array_equal(wide.unrounded().numpy(), stored * np.float32(factor))


def test_a_cast_behind_steps_that_only_move_is_no_step(tensor, checkpoints):
    stored = checkpoints("tiny-31b").read(KEY)
    rounded = tensor.reordered("columns", 16, 8).transposed().in_dtype(ir.DataType.BFLOAT16)
    assert [str(step) for step in rounded.steps] == ["reorder=columns:16:8", "transpose"]
    moved = tensor.reordered("columns", 16, 8).transposed().numpy()
    np.testing.assert_array_equal(rounded.numpy(), moved.astype(ml_dtypes.bfloat16))
    assert rounded.shape == stored.T.shape and rounded.dtype == ir.DataType.BFLOAT16


def test_a_runtime_makes_of_the_words_what_the_compiler_makes_of_the_steps(tensor, checkpoints):
    stored = checkpoints("tiny-31b").read(KEY)
    wanted = tensor.scaled(39.2).in_dtype(ir.DataType.BFLOAT16).reordered("columns", 32, 8).sharded("rows", 2, 1, 4)
    words = [str(step) for step in wanted.steps]
    assert words == ["scale=39.2", "cast=float:bfloat16", "reorder=columns:32:8", "shard=rows:2:1:4"]
    np.testing.assert_array_equal(prepare(stored, "bfloat16", parse_steps(words)), wanted.numpy())


def test_what_takes_rows_away_is_not_made_by_rows(tensor):
    assert tensor.sharded("columns", 1, 0, 2).by_rows
    for whole in (tensor.transposed(), tensor.sharded("rows", 1, 0, 2)):
        assert not whole.by_rows
        with pytest.raises(Defect, match="asked for by rows"):
            whole.read_rows(0, 4)


def test_a_weight_without_a_checkpoint_is_refused():
    with pytest.raises(InputError, match="no checkpoint is bound"):
        CheckpointTensor(KEY, ir.DataType.FLOAT, (2, 2)).numpy()
