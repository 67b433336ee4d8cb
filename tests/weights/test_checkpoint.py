"""Checkpoints in all published layouts: sharded, text only, untied, per-layer configs, from the Hub's cache."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

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


def sharded(tmp_path):
    """Four small tensors in two files."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(presets.config("tiny-31b")))
    files = {"one.safetensors": ("a", "b"), "two.safetensors": ("c", "d")}
    for name, keys in files.items():
        save_file({key: np.arange(6, dtype=np.float32).reshape(2, 3) for key in keys}, folder / name)
    return folder, {key: name for name, keys in files.items() for key in keys}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"e": "two.safetensors"}, "two.safetensors lacks tensor 'e', the index has it"),
        ({"b": "two.safetensors"}, "one.safetensors and the index disagree: the index lacks tensor 'b'"),
        ({"a": ".."}, "not the name of a file"),
        ({"a": ""}, "not the name of a file"),
        ({"a": "one\x00"}, "not the name of a file"),
        ({"a": "\udcff"}, "half of a pair of surrogates"),
        ({"a": "x" * 300}, "not the name of a file"),
        ({"a": 5}, "not the name of a file"),
        ({"a": "three.safetensors"}, "names the shard three.safetensors, which is missing"),
    ],
)
def test_an_index_and_files_that_disagree(change, said, tmp_path):
    folder, weight_map = sharded(tmp_path)
    (folder / INDEX).write_text(json.dumps({"weight_map": weight_map}))
    assert sorted(Checkpoint.open(folder).tensors) == ["a", "b", "c", "d"]
    (folder / INDEX).write_text(json.dumps({"weight_map": {**weight_map, **change}}))
    with pytest.raises(CheckpointError) as caught:
        Checkpoint.open(folder)
    assert said in str(caught.value) and INDEX in str(caught.value)


def test_a_tensor_in_two_files_and_weights_said_twice(tmp_path):
    folder, weight_map = sharded(tmp_path)
    shutil.copy(folder / "one.safetensors", folder / "three.safetensors")
    (folder / INDEX).write_text(json.dumps({"weight_map": {**weight_map, "a": "three.safetensors"}}))
    with pytest.raises(CheckpointError, match="disagree"):
        Checkpoint.open(folder)
    (folder / INDEX).write_text(json.dumps({"weight_map": weight_map}))
    shutil.copy(folder / "one.safetensors", folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="has both model"):
        Checkpoint.open(folder)


def test_weights_that_are_no_file(tmp_path):
    """Each is answered at once."""
    folder, weight_map = sharded(tmp_path)
    (folder / INDEX).write_text(json.dumps({"weight_map": weight_map}))
    file = folder / "two.safetensors"
    for make, said in (
        (lambda: os.mkfifo(file), "no regular file"),
        (lambda: file.symlink_to("/dev/zero"), "leads out of its folder"),
        (lambda: file.symlink_to("/etc/passwd"), "leads out of its folder"),
        (lambda: file.symlink_to("nowhere"), "does not exist"),
    ):
        file.unlink()
        make()
        with pytest.raises(CheckpointError, match=said):
            Checkpoint.open(folder)


def test_a_file_that_is_cut_while_it_is_read(tmp_path):
    folder, weight_map = sharded(tmp_path)
    (folder / INDEX).write_text(json.dumps({"weight_map": weight_map}))
    opened = Checkpoint.open(folder)
    with (folder / "two.safetensors").open("r+b") as file:
        file.truncate(100)
    with pytest.raises(CheckpointError, match="ends in the middle of tensor d"):
        opened.read("d")
    (folder / "two.safetensors").unlink()
    with pytest.raises(CheckpointError, match="refused reading"):
        opened.read_rows("c", 0, 1)


def test_a_checkpoint_that_changes_is_noticed(checkpoints, tmp_path):
    """Once in a compile, which leaves no bundle; then every file by itself."""
    folder = tmp_path / "checkpoint"
    shutil.copytree(checkpoints("tiny-31b").folder, folder)

    def touch(text, done, total):
        if text.startswith("step 1"):
            (folder / "chat_template.jinja").write_text("other")

    with pytest.raises(CheckpointError, match=r"changed while it was compiled: chat_template.jinja"):
        compile(folder, "onnx-cpu", tmp_path / "out", progress=touch)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
    for name in ("config.json", "model.safetensors", "tokenizer.json", "generation_config.json"):
        source = Checkpoint.open(folder)
        source.check_unchanged()
        shutil.copyfile(folder / name, tmp_path / "other")
        (tmp_path / "other").replace(folder / name)  # the same bytes, another file
        with pytest.raises(CheckpointError, match=f"compiled: {name}"):
            source.check_unchanged()


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
    saved = load(
        compile(tmp_path / "saved", "onnx-cpu", tmp_path / "a", modalities=("text",)).folder, threads=1
    ).forward(PROMPT)
    original = load(compile(source.folder, "onnx-cpu", tmp_path / "b", modalities=("text",)).folder, threads=1).forward(
        PROMPT
    )
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
