"""NaN and infinity in weights: named by tensor while it is read, whatever reads it, and no bundle is left."""

import os
import shutil

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest

from g4compile.bundle.weight_steps import Scale
from g4compile.compiler import compile
from g4compile.errors import CheckpointError
from g4compile.weights.checkpoint import Checkpoint
from g4compile.weights.finite import check_finite
from g4compile.weights.formats.blocks import BlockFormat
from g4compile.weights.quantized import QuantizedMatrix
from g4compile.weights.references import CheckpointTensor
from g4compile.weights.stored import activation_scales, read_stored, stored_codes, stored_format

KEY = "model.language_model.layers.2.mlp.up_proj.weight"


@pytest.fixture
def copy(checkpoints, coded, tmp_path):
    """A checkpoint of its own, one number of a tensor changed."""

    def make(get, key, place, value):
        folder = tmp_path / "checkpoint"
        shutil.copytree(get.folder, folder)
        stored = get.tensors[key]
        kind = {"F32": np.float32, "BF16": ml_dtypes.bfloat16}[stored.dtype]
        number = np.array([value], kind)
        with (folder / stored.file.name).open("r+b") as out:
            os.pwrite(out.fileno(), number.tobytes(), stored.offset + place * number.itemsize)
        return Checkpoint.open(folder)

    return make


@pytest.mark.parametrize("weights", ["float32", "int4"])
def test_a_compile_names_the_tensor_and_leaves_nothing(weights, copy, checkpoints, tmp_path):
    source = copy(checkpoints("tiny-31b"), KEY, 100, np.nan)
    with pytest.raises(CheckpointError, match=f"tensor {KEY} holds numbers that are not finite") as caught:
        compile(source, "onnx-cpu", tmp_path / "out", weights=weights)
    assert "1 are NaN and 0 infinite" in caught.value.why and "model.safetensors" in caught.value.where
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_every_dtype(dtype, value, checkpoints):
    array = np.full((3, 5), 6e4, dtype)  # near the largest of float16
    check_finite(array, KEY, checkpoints("tiny-31b"))
    array[2, 4] = value
    with pytest.raises(CheckpointError, match=KEY):
        check_finite(array, KEY, checkpoints("tiny-31b"))


def test_rows_and_the_whole(copy, checkpoints):
    source = copy(checkpoints("tiny-31b"), KEY, 64 * 100, np.inf)
    whole = CheckpointTensor(KEY, ir.DataType.FLOAT, (128, 64), source=source)
    assert np.isfinite(whole.read_rows(0, 100)).all()
    for read in (
        lambda: whole.read_rows(100, 101),
        lambda: whole.transposed().numpy(),
        lambda: whole.in_dtype(ir.DataType.BFLOAT16).numpy(),
        lambda: QuantizedMatrix(whole, BlockFormat(4, 32), "nearest").quantize(96, 128),
    ):
        with pytest.raises(CheckpointError, match="0 are NaN and 1 infinite"):
            read()


def test_a_number_that_a_step_makes_infinite(copy, checkpoints):
    source = copy(checkpoints("tiny-31b"), KEY, 0, 3e38)
    whole = CheckpointTensor(KEY, ir.DataType.FLOAT, (128, 64), (Scale(4.0),), source)
    with pytest.raises(CheckpointError, match="not finite"), np.errstate(over="ignore"):
        whole.read_rows(0, 1)


def test_scales_of_codes_and_steps_of_activations(copy, coded, tmp_path):
    get = coded("tiny-e2b")
    scale = KEY.replace("weight", "weight_scale")
    source = copy(get, scale, 3, np.nan)
    stored = stored_codes(source, KEY, (128, 64))
    with pytest.raises(CheckpointError, match="weight_scale holds numbers that are not finite"):
        read_stored(source, stored, stored_format(stored, 64), (0, 128))
    shutil.rmtree(source.folder)
    step = KEY.replace("weight", "input_activation_scale")
    for value, said in ((np.inf, "not finite"), (-1.0, "is -1, which is no step")):
        source = copy(get, step, 0, value)
        with pytest.raises(CheckpointError, match=said):
            activation_scales(source, KEY)
        shutil.rmtree(source.folder)
