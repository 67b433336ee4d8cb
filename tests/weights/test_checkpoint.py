"""Checkpoints in all published layouts: sharded, text only, untied, per-layer configs, from the Hub's cache."""

import json
import shutil
from pathlib import Path

import pytest

from g4compile.compiler import compile
from g4compile.errors import CheckpointError, InputError
from g4compile.model import presets
from g4compile.model.config import load_config, model_facts
from g4compile.runtime.session import load
from g4compile.synth.checkpoint import synthesize
from g4compile.weights.checkpoint import Checkpoint
from g4compile.weights.shards import INDEX

PROMPT = [2, 5, 6, 7, 300, 400]


def test_shards_hold_what_one_file_holds(checkpoints, tmp_path):
    synthesize("tiny-e2b", tmp_path / "sharded", seed=7, shard_bytes=400_000)
    whole, sharded = checkpoints("tiny-e2b"), Checkpoint.open(tmp_path / "sharded")
    assert len({tensor.file for tensor in sharded.tensors.values()}) > 3
    assert set(sharded.tensors) == set(whole.tensors)
    for key in ("model.language_model.embed_tokens.weight", "model.language_model.layers.5.layer_scalar"):
        assert (sharded.read(key) == whole.read(key)).all()


@pytest.mark.parametrize("text", ["{", '{"weight_map": 3}', '{"weight_map": {}}', "{}", "[]"])
def test_a_corrupt_index(tmp_path, text):
    synthesize("tiny-31b", tmp_path / "checkpoint", shard_bytes=500_000)
    (tmp_path / "checkpoint" / INDEX).write_text(text)
    with pytest.raises(CheckpointError, match=r"index (cannot be read|is not valid JSON)"):
        Checkpoint.open(tmp_path / "checkpoint")


def test_an_index_that_leads_out_of_the_folder(tmp_path):
    synthesize("tiny-31b", tmp_path / "checkpoint", shard_bytes=500_000)
    (tmp_path / "checkpoint" / INDEX).write_text(json.dumps({"weight_map": {"a": "../elsewhere.safetensors"}}))
    with pytest.raises(CheckpointError, match="not the name of a file in the folder"):
        Checkpoint.open(tmp_path / "checkpoint")


def test_a_folder_without_weights(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(presets.config("tiny-31b")))
    with pytest.raises(CheckpointError, match="no weights"):
        Checkpoint.open(tmp_path)


def test_the_per_layer_form_of_a_config_says_the_same(tmp_path):
    """transformers 5.15 and newer write what a global layer has of its own by layer."""
    flat = presets.config("tiny-31b")
    nested = json.loads(json.dumps(flat))
    text = nested["text_config"]
    own = {
        "head_dim": text.pop("global_head_dim"),
        "num_key_value_heads": text.pop("num_global_key_value_heads"),
    }
    kinds = text["layer_types"]
    text["per_layer_config"] = {f"{i:02d}": own for i, kind in enumerate(kinds) if kind == "full_attention"}
    assert model_facts(nested).text == model_facts(flat).text


def test_a_config_written_by_transformers_itself_compiles(checkpoints, tmp_path):
    """Load with transformers, save with transformers, compile what it saved: the same logits."""
    import transformers

    source = checkpoints("tiny-31b")
    model = getattr(transformers, source.facts.architecture).from_pretrained(source.folder)
    model.save_pretrained(tmp_path / "saved")
    assert model_facts(load_config(tmp_path / "saved")).text == source.facts.text
    saved = load(compile(tmp_path / "saved", "onnx-cpu", tmp_path / "a").folder, threads=1).forward(PROMPT)
    original = load(compile(source.folder, "onnx-cpu", tmp_path / "b").folder, threads=1).forward(PROMPT)
    assert (saved == original).all()


def test_a_hub_id_works_offline_from_its_cache(checkpoints, tmp_path, monkeypatch):
    """The cache layout of huggingface_hub, filled by hand; no network is asked."""
    from huggingface_hub import constants

    repository = tmp_path / "models--someone--tiny-gemma"
    snapshot = repository / "snapshots" / "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(checkpoints("tiny-31b").folder, snapshot)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(snapshot.name)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert Path(Checkpoint.open("someone/tiny-gemma").folder) == snapshot
    with pytest.raises(InputError, match="could not be had from the Hugging Face Hub"):
        Checkpoint.open("someone/other")
