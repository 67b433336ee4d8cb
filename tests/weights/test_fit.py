"""Names, shapes and dtypes of a checkpoint are checked against its config before anything is traced."""

from dataclasses import replace

import pytest

from g4compile.compiler import compile
from g4compile.errors import CheckpointError, InputError
from g4compile.model import presets
from g4compile.model.config import model_facts
from g4compile.model.contents import contents
from g4compile.weights.fit import check_contents, stored_modalities

LAYER = "model.language_model.layers"


@pytest.fixture
def untraced(monkeypatch):
    def trace(*_, **__):
        raise AssertionError("traced")

    monkeypatch.setattr("g4compile.compiler.trace", trace)


def with_tensor(checkpoint, key, **change):
    tensors = dict(checkpoint.tensors)
    if not change:
        del tensors[key]
    else:
        like = tensors.get(key, next(iter(tensors.values())))
        tensors[key] = replace(like, key=key, **change)
    return replace(checkpoint, tensors=tensors)


@pytest.mark.parametrize(
    ("key", "change", "said"),
    [
        (f"{LAYER}.1.mlp.up_proj.weight", {}, "has no tensor"),
        (f"{LAYER}.1.mlp.up_proj.weight", {"shape": (3, 5)}, "has shape [3, 5], the config asks for [128, 64]"),
        (f"{LAYER}.1.mlp.up_proj.weight", {"dtype": "I32"}, "is stored as I32"),
        (f"{LAYER}.0.input_layernorm.weight", {"shape": (64, 1)}, "has shape [64, 1], the config asks for [64]"),
        (f"{LAYER}.0.layer_scalar", {"shape": ()}, "has shape [], the config asks for [1]"),
        (f"{LAYER}.5.self_attn.k_proj.weight", {"shape": (1, 2)}, "has shape [1, 2]"),  # stored, and read by nothing
        ("model.embed_vision.embedding_projection.weight", {"shape": (1, 2)}, "has shape [1, 2]"),
        ("model.audio_tower.output_proj.bias", {"dtype": "U8"}, "is stored as U8"),
        (f"{LAYER}.6.input_layernorm.weight", {"shape": (64,)}, "unexpected tensor"),
        (f"{LAYER}.0.input_layernorm.weight_scale", {"shape": (64, 1)}, "unexpected tensor"),
    ],
)
def test_what_does_not_fit_is_named_before_a_trace(key, change, said, checkpoints, untraced, tmp_path):
    source = with_tensor(checkpoints("tiny-e2b"), key, **change)
    with pytest.raises(CheckpointError) as caught:
        compile(source, "onnx-cpu", tmp_path / "out")
    assert said in str(caught.value) and key in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_what_an_encoder_lacks_is_named_before_a_trace(checkpoints, untraced, tmp_path):
    key = "model.vision_tower.encoder.layers.1.self_attn.q_proj.input_min"
    source = with_tensor(checkpoints("tiny-e2b"), key)
    with pytest.raises(CheckpointError, match=f"has no tensor {key}"):
        compile(source, "onnx-cpu", tmp_path / "out")
    with pytest.raises(AssertionError, match="traced"):
        compile(source, "onnx-cpu", tmp_path / "out", modalities=("text", "audio"))


def test_an_encoder_of_which_nothing_is_stored_is_not_there(checkpoints, tmp_path):
    source = checkpoints("tiny-e2b")
    audio = contents(source.facts).parts["audio"]
    less = replace(source, tensors={key: tensor for key, tensor in source.tensors.items() if key not in audio})
    assert stored_modalities(source) == ("text", "image", "audio") and stored_modalities(less) == ("text", "image")
    with pytest.raises(InputError, match="this checkpoint has no audio") as refused:
        compile(less, "onnx-cpu", tmp_path / "out", modalities=("text", "audio"))
    assert refused.value.fix == "it has: text, image"


def test_what_is_not_the_decoders_may_be_missing(checkpoints):
    source = checkpoints("tiny-e2b")
    text = {key: tensor for key, tensor in source.tensors.items() if key.startswith(LAYER.removesuffix("layers"))}
    check_contents(replace(source, tensors=text))


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("weight_scale", {"shape": (128, 3)}, "has shape [128, 3]"),
        ("weight_scale", {"shape": (128, 0)}, "has shape [128, 0]"),
        ("weight_scale", {"dtype": "I64"}, "is I64 [128, 1], which is no scale"),
        ("input_activation_scale", {"shape": (2,)}, "is F32 [2], which is no scale"),
        ("input_activation_scale", {"dtype": "U8"}, "is U8 [], which is no scale"),
        ("weight", {"shape": (128, 5)}, "holds no weight [128, 64]"),
    ],
)
def test_codes_that_do_not_fit(name, change, said, coded):
    with pytest.raises(CheckpointError) as caught:
        check_contents(with_tensor(coded("tiny-e2b"), f"{LAYER}.0.mlp.up_proj.{name}", **change))
    assert said in str(caught.value)


def test_a_norm_has_no_codes(coded):
    """A matrix has a scale a row; what has one axis has none, whatever stands beside it."""
    with pytest.raises(CheckpointError, match=r"unexpected tensor .*input_layernorm.weight_scale"):
        check_contents(with_tensor(coded("tiny-e2b"), f"{LAYER}.0.input_layernorm.weight_scale", shape=(64, 1)))


def test_codes_that_the_config_promises_and_nothing_holds(checkpoints):
    config = {**presets.config("tiny-e2b"), "quantization_config": {"quant_method": "gemma"}}
    with pytest.raises(CheckpointError, match="all of them are stored in float"):
        check_contents(replace(checkpoints("tiny-e2b"), facts=model_facts(config)))
