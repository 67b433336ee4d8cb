"""Codes that a checkpoint holds: read as transformers reads them."""

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers.integrations import gemma_quant

from g4compile.compiler import compile
from g4compile.errors import CheckpointError, InputError
from g4compile.model import presets
from g4compile.model.config import model_facts
from g4compile.planning.plan import plan
from g4compile.synth.checkpoint import synthesize
from g4compile.weights.checkpoint import Checkpoint
from g4compile.weights.headers import read_header
from g4compile.weights.stored import read_stored, stored_codes, stored_format

_UNPACK = {2: gemma_quant._unpack_int2, 4: gemma_quant._unpack_int4, 8: lambda packed, width: packed}


def holding(tmp_path, facts, tensors):
    file = tmp_path / "model.safetensors"
    save_file(tensors, file)
    with file.open("rb") as opened:
        return Checkpoint(tmp_path, facts, read_header(opened.fileno(), file))


@pytest.fixture(scope="module")
def facts():
    return model_facts(presets.config("tiny-e2b"))


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize(("columns", "slices"), [(256, 1), (256, 8), (96, 2), (40, 1), (13, 1), (3, 1), (768, 2)])
def test_every_code_is_read_as_transformers_reads_it(bits, columns, slices, tmp_path, facts):
    """256 rows: the bytes of each row start at another value, so every byte stands in every column."""
    wide = -(-columns * bits // 8)
    packed = ((np.arange(256)[:, None] + np.arange(wide)) % 256).astype(np.uint8)
    packed = packed.view(np.int8) if bits == 8 else packed
    scales = np.random.default_rng(0).standard_normal((256, slices)).astype(np.float32)
    checkpoint = holding(tmp_path, facts, {"a.weight": packed, "a.weight_scale": scales})
    stored = stored_codes(checkpoint, "a.weight", (256, columns))
    format = stored_format(stored, columns)
    halves = [read_stored(checkpoint, stored, format, rows) for rows in ((0, 100), (100, 256))]
    found = np.concatenate([format.dequantize(half, columns) for half in halves])
    levels = _UNPACK[bits](torch.from_numpy(packed), columns).numpy().astype(np.float32)
    np.testing.assert_array_equal(found, levels * np.repeat(scales, columns // slices, axis=1))


@pytest.mark.parametrize(
    ("codes", "scales", "said"),
    [
        (np.zeros((8, 7), np.uint8), np.zeros((8, 1), np.float32), "holds no weight"),
        (np.zeros((8, 32), np.float32), np.zeros((8, 1), np.float32), "holds no weight"),
        (np.zeros((8, 16), np.uint8), np.zeros((7, 1), np.float32), "has shape [7, 1]"),
        (np.zeros((8, 16), np.uint8), np.zeros((8, 5), np.float32), "has shape [8, 5]"),
        (np.zeros((8, 16), np.uint8), np.zeros((8, 4), np.float32), "a scale for every 8 weights"),
    ],
)
def test_wrong_sizes_are_named(codes, scales, said, tmp_path, facts):
    checkpoint = holding(tmp_path, facts, {"a.weight": codes, "a.weight_scale": scales})
    with pytest.raises(CheckpointError) as raised:
        stored_format(stored_codes(checkpoint, "a.weight", (8, 32)), 32)
    assert said in str(raised.value)


def test_codes_are_not_quantised_again_and_floats_are_not_kept(coded, checkpoints, tmp_path):
    with pytest.raises(InputError, match="codes already"):
        compile(coded("tiny-e2b"), "onnx-cpu", tmp_path / "out", weights="int4")
    with pytest.raises(InputError, match="no codes to keep"):
        compile(checkpoints("tiny-e2b"), "onnx-cpu", tmp_path / "out", weights="stored")
    with pytest.raises(InputError, match="codes already"):
        plan(coded("tiny-e2b").folder, weights="float32")


def test_another_method_is_refused(coded, tmp_path):
    config = json.loads((coded("tiny-e2b").folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "awq"}
    with pytest.raises(InputError, match="'awq'"):
        model_facts(config)


@pytest.mark.parametrize("module", ["mlp.up_proj", "per_layer_input_gate"])
def test_codes_without_their_scale_are_no_weight(module, coded, tmp_path):
    """Codes of 8 bits have the shape of the weight: only their type tells."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    source = coded("tiny-e2b").folder
    (folder / "config.json").write_bytes((source / "config.json").read_bytes())
    tensors = load_file(source / "model.safetensors")
    del tensors[f"model.language_model.layers.0.{module}.weight_scale"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=rf"layers\.0\.{module}.* is stored as [UI]8"):
        compile(folder, "onnx-cpu", tmp_path / "out")


def test_synth_refuses_what_the_layout_cannot_hold(tmp_path):
    with pytest.raises(InputError, match="expert tables"):
        synthesize("tiny-26b-a4b", tmp_path / "moe", weights="mobile")
    assert not (tmp_path / "moe").exists()
    with pytest.raises(InputError, match="cannot write int3"):
        synthesize("tiny-e2b", tmp_path / "other", weights="int3")
