"""What a checkpoint stores, from its config alone, is what transformers' model has on the meta device."""

import json

import pytest

from g4compile.errors import InputError
from g4compile.model import presets
from g4compile.model.config import load_config, model_facts
from g4compile.model.contents import AUDIO, DECODER, UNUSED, VISION, contents
from g4compile.synth.checkpoint import published_shapes

PARTS = {"e2b": [VISION, AUDIO], "e4b": [VISION, AUDIO], "12b": [VISION, AUDIO], "26b-a4b": [VISION], "31b": [VISION]}


@pytest.mark.parametrize("name", presets.NAMES)
def test_every_tensor_of_a_published_checkpoint_is_listed(name):
    facts = model_facts(load_config(name))
    found = contents(facts)
    assert list(found.parts) == [DECODER, *PARTS[name.removeprefix("tiny-")]]
    listed = {key: shape for shapes in found.parts.values() for key, shape in shapes.items()}
    assert len(listed) == sum(len(shapes) for shapes in found.parts.values())
    stale = {key: shape for key, shape in found.unused.items() if key != "lm_head.weight"}
    assert {**listed, **stale} == published_shapes(facts)
    assert not set(listed) & set(found.unused)


@pytest.mark.parametrize("name", ["tiny-e2b", "tiny-12b"])
def test_a_decoder_alone_has_the_keys_of_one(name):
    """Text-only checkpoints, with an output table of their own."""
    config = {**presets.config(name)["text_config"], "tie_word_embeddings": False}
    facts = model_facts(config)
    found = contents(facts)
    assert list(found.parts) == [DECODER] and "lm_head.weight" in found.parts[DECODER]
    assert "model.layers.0.mlp.up_proj.weight" in found.parts[DECODER]
    assert {**found.parts[DECODER], **found.unused} == published_shapes(facts)


def test_which_part_a_key_belongs_to():
    facts = model_facts(load_config("e2b"))
    of = contents(facts).part_of
    assert of("model.language_model.layers.34.self_attn.q_proj.weight") == DECODER
    assert of("model.vision_tower.encoder.layers.15.mlp.up_proj.input_max") == VISION
    assert of("model.embed_audio.embedding_projection.weight") == AUDIO
    assert of("model.language_model.layers.34.self_attn.k_proj.weight") == UNUSED
    assert of("lm_head.weight") == UNUSED
    for unknown in ("model.vision_tower.encoder.layers.16.mlp.up_proj.linear.weight", "model.vision_tower.extra"):
        assert of(unknown) is None
    assert of("model.language_model.layers.0.self_attn.k_cache_scale") is None
    assert of("model.language_model.layers.0.mlp.up_proj.weight_scale") is None


def test_codes_belong_to_the_part_of_their_weight():
    config = {**presets.config("e2b"), "quantization_config": {"quant_method": "gemma"}}
    of = contents(model_facts(config)).part_of
    assert of("model.language_model.layers.0.mlp.up_proj.weight_scale") == DECODER
    assert of("model.embed_audio.embedding_projection.input_activation_scale") == AUDIO
    assert of("model.language_model.layers.34.self_attn.k_proj.weight_scale") == UNUSED
    assert of("model.language_model.layers.0.self_attn.k_cache_scale") == UNUSED
    assert of("model.language_model.layers.0.mlp.extra") is None


def test_a_field_that_a_config_leaves_out_has_the_default_of_transformers():
    config = json.loads(json.dumps(presets.config("tiny-e2b")))
    config["vision_config"], config["audio_config"] = {"model_type": "gemma4_vision"}, {"model_type": "gemma4_audio"}
    facts = model_facts(config)
    listed = contents(facts).parts
    shapes = published_shapes(facts)
    assert listed[VISION] == {key: shape for key, shape in shapes.items() if "vision" in key}
    assert listed[AUDIO] == {key: shape for key, shape in shapes.items() if "audio" in key}


@pytest.mark.parametrize(
    ("tower", "field", "value"),
    [
        ("vision_config", "hidden_size", 0),
        ("vision_config", "num_hidden_layers", "two"),
        ("audio_config", "conv_kernel_size", True),
        ("audio_config", "subsampling_conv_channels", [128]),
    ],
)
def test_a_tower_with_a_bad_field_is_refused_by_name(tower, field, value):
    config = json.loads(json.dumps(presets.config("tiny-e2b")))
    config[tower][field] = value
    with pytest.raises(InputError, match=rf"config field {tower}\.{field} must be"):
        model_facts(config)
