"""Binding accounts for every tensor of a checkpoint: read by a part, of a part left out, or unused by design."""

from dataclasses import replace

import pytest

from g4compile.errors import CheckpointError, InputError
from g4compile.model import presets
from g4compile.model.config import model_facts
from g4compile.program import Part, Program, bind
from g4compile.weights.references import lazy_initializers

EXTRA = "model.vision_tower.encoder.layers.7.mlp.up_proj.linear.weight"


@pytest.fixture
def checkpoint(checkpoints):
    return checkpoints("tiny-e2b")


@pytest.fixture
def program(traced, checkpoint):
    return Program.decoder(traced("tiny-e2b"), checkpoint.facts)


def with_tensors(checkpoint, **changes):
    """The checkpoint with tensors like its first one added, or replaced."""
    tensors = dict(checkpoint.tensors)
    for key, change in changes.items():
        tensors[key] = replace(tensors.get(key, next(iter(tensors.values()))), key=key, **change)
    return replace(checkpoint, tensors=tensors)


def test_parts_that_are_left_out_are_named(program, checkpoint):
    assert bind(program, checkpoint) == ("vision", "audio") == program.left_out
    assert all(tensor.source is checkpoint for tensor in lazy_initializers(program.parts["decoder"].model).values())


def test_a_model_of_text_alone_leaves_nothing_out(program, checkpoint):
    facts = model_facts({**presets.config("tiny-e2b"), "vision_config": None, "audio_config": None})
    text = {key: tensor for key, tensor in checkpoint.tensors.items() if "language_model" in key}
    alone = replace(program, facts=facts)
    assert bind(alone, replace(checkpoint, tensors=text)) == ()
    with pytest.raises(CheckpointError, match=r"unexpected tensor model\.audio_tower"):
        bind(alone, checkpoint)  # its config says nothing of audio


@pytest.mark.parametrize("key", [EXTRA, "model.language_model.extra", "model.embed_video.weight", "lm_head.bias"])
def test_a_tensor_that_no_part_reads_is_refused_with_its_file(key, program, checkpoint):
    with pytest.raises(CheckpointError, match=f"unexpected tensor {key}: no part") as raised:
        bind(program, with_tensors(checkpoint, **{key: {}}))
    assert "model.safetensors" in str(raised.value)


def test_what_is_stored_and_unused_is_no_error(program, checkpoint):
    assert "model.language_model.layers.5.self_attn.k_norm.weight" in checkpoint.tensors  # of a layer that shares KV
    assert bind(program, with_tensors(checkpoint, **{"lm_head.weight": {}}))  # the tied embedding, stored again
    scale = "model.language_model.layers.0.self_attn.k_cache_scale"
    with pytest.raises(CheckpointError, match=f"unexpected tensor {scale}"):
        bind(program, with_tensors(checkpoint, **{scale: {}}))  # only checkpoints of codes carry it


def test_codes_and_their_scales_are_read(coded, traced):
    source = coded("tiny-e2b")
    model = Program.decoder(traced("tiny-e2b"), source.facts)
    with pytest.raises(CheckpointError, match=r"unexpected tensor lm_head"):
        bind(model, source)  # such checkpoints hold an lm_head of its own, which the tied graph does not read
    scale = "model.language_model.layers.0.self_attn.k_cache_scale"
    keys = {key: tensor for key, tensor in source.tensors.items() if not key.startswith("lm_head")}
    assert bind(model, with_tensors(replace(source, tensors=keys), **{scale: {}})) == ("vision", "audio")


def test_missing_tensors_and_wrong_shapes(program, checkpoint):
    key = "model.language_model.layers.1.mlp.up_proj.weight"
    without = {name: tensor for name, tensor in checkpoint.tensors.items() if name != key}
    with pytest.raises(CheckpointError, match=f"has no tensor {key}") as raised:
        bind(program, replace(checkpoint, tensors=without))
    assert "it has " not in str(raised.value)
    near = key.replace("language_model.", "")
    with pytest.raises(CheckpointError, match=f"it has {near}"):
        bind(program, with_tensors(replace(checkpoint, tensors=without), **{near: {}}))
    with pytest.raises(CheckpointError, match=r"has shape \[3, 5\], the config asks for \[128, 64\]"):
        bind(program, with_tensors(checkpoint, **{key: {"shape": (3, 5)}}))
    with pytest.raises(CheckpointError, match="is stored as I8"):
        bind(program, with_tensors(checkpoint, **{key: {"dtype": "I8"}}))


def test_a_part_that_the_config_does_not_describe(program, checkpoint):
    decoder = program.parts["decoder"]
    parts = {"decoder": decoder, "drafter": Part("drafter", decoder.model, decoder.facts)}
    with pytest.raises(InputError, match="the model has no part drafter"):
        bind(replace(program, parts=parts), checkpoint)
