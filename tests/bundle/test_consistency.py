"""Manifests whose own hash is right and whose fields are not: out of their range, or against each other."""

import re

import pytest

from g4compile.bundle.folder import Bundle
from g4compile.errors import BundleError
from tests.manifests import linked, rewrite

MISSING = object()


def put(path, value):
    """Set the field at ``path``; MISSING takes it away, a function is called with the old value."""

    def edit(manifest):
        *steps, last = path
        for step in steps:
            manifest = manifest[step]
        if value is MISSING:
            del manifest[last]
        else:
            manifest[last] = value(manifest[last]) if callable(value) else value

    return edit


def refused(folder, edit, message):
    rewrite(folder, edit)
    with pytest.raises(BundleError, match=message) as caught:
        Bundle.open(folder)
    assert caught.value.where.endswith("g4.json")


KV = ("parts", "decoder", "kv")
LAYERS = (*KV, "layers")
INPUTS = ("graphs", "decoder", "inputs")
HUGE = 10**30

RANGES = [
    (("context",), 0, "$.context"),
    (("context",), HUGE, "$.context"),
    (("context",), 10.0, "$.context"),
    (("context",), True, "$.context"),
    (("vocab_size",), -1, "$.vocab_size"),
    (("bos_token_id",), -1, "$.bos_token_id"),
    (("stop_token_ids", 1), "x", "$.stop_token_ids[1]"),
    (("stop_token_ids",), None, "$.stop_token_ids"),
    (("files", "decoder.onnx", "bytes"), -1, "$.files.decoder.onnx.bytes"),
    (("files", "decoder.onnx", "bytes"), 1.5, "$.files.decoder.onnx.bytes"),
    (("files", "embed.onnx", "sha256"), "A" * 64, "$.files.embed.onnx.sha256"),
    (("files", "embed.onnx", "sha256"), lambda old: old + "\n", "$.files.embed.onnx.sha256"),
    (("files", "embed.onnx"), 7, "$.files.embed.onnx"),
    (("files",), [], "$.files"),
    (("graphs", "embed", "file"), None, "$.graphs.embed.file"),
    (("graphs", "embed", "file"), MISSING, "$.graphs.embed"),
    (("graphs", "decoder", "rank"), -1, "$.graphs.decoder.rank"),
    ((*INPUTS, 1, "dtype"), "float16", "$.graphs.decoder.inputs[1].dtype"),
    ((*INPUTS, 1, "shape", 3), 0, "$.graphs.decoder.inputs[1].shape[3]"),
    ((*INPUTS, 1, "shape", 3), None, "$.graphs.decoder.inputs[1].shape[3]"),
    ((*KV, "dtype"), "float16", "$.parts.decoder.kv.dtype"),
    ((*KV, "rewind"), -1, "$.parts.decoder.kv.rewind"),
    ((*LAYERS, 2, "heads"), 0, "$.parts.decoder.kv.layers[2].heads"),
    ((*LAYERS, 2, "heads"), 10**9, "$.parts.decoder.kv.layers[2].heads"),
    ((*LAYERS, 2, "head_dim"), -4, "$.parts.decoder.kv.layers[2].head_dim"),
    ((*LAYERS, 2, "head_dim"), 10**9, "$.parts.decoder.kv.layers[2].head_dim"),
    ((*LAYERS, 0, "window"), 0, "$.parts.decoder.kv.layers[0].window"),
    ((*LAYERS, 0, "layer"), -1, "$.parts.decoder.kv.layers[0].layer"),
    ((*LAYERS, 0, "kind"), "linear_attention", "$.parts.decoder.kv.layers[0].kind"),
    (("activations",), "float4", "$.activations"),
    (("engine",), {}, "$.engine"),
]


@pytest.mark.parametrize(("path", "value", "where"), RANGES)
def test_a_field_out_of_its_range_is_named(bundles, tmp_path, path, value, where):
    folder = linked(bundles("tiny-e2b").folder, tmp_path / "bundle")
    refused(folder, put(path, value), rf"manifest is not valid[\s\S]*`{re.escape(where)}`")


CONTRADICTIONS = [
    (("bos_token_id",), 1024, "bos_token_id has 1,024, but the vocabulary has 1,024"),
    (("pad_token_id",), 99_999, "pad_token_id has 99,999"),
    (("stop_token_ids",), [1, 5000], "stop_token_ids has 5,000"),
    (("vocab_size",), 2048, "vocab_size is 2,048, but the graph decoder gives logits"),
    (("source",), {}, "does not say which config"),
    (("activations",), "bfloat16", "activations is bfloat16, which only engines and bundles for CUDA have"),
    (("parts", "decoder", "kv"), None, "no decoder with a KV cache"),
    ((*KV, "dtype"), "int8", "requires does not have int8-kv"),
    ((*KV, "dtype"), "bfloat16", "requires does not have bfloat16-kv, g4ops"),
    (LAYERS, [], r"kv.layers has the layers \[\]"),
    (LAYERS, lambda old: [old[0], old[0], old[2]], r"has the layers \[0, 0, 2\]"),
    (LAYERS, lambda old: [old[1], old[0], old[2]], r"has the layers \[1, 0, 2\]"),
    (LAYERS, lambda old: old[1:], "past_key_values.0.key, an input of decoder"),
    ((*LAYERS, 2, "layer"), 99, "past_key_values.2.key, an input of decoder"),
    ((*LAYERS, 0, "keep"), None, "kv layer 0 has kind sliding_attention, window 8 and keep None"),
    ((*LAYERS, 0, "window"), None, "kv layer 0 has kind sliding_attention, window None"),
    ((*LAYERS, 0, "kind"), "full_attention", "kv layer 0 has kind full_attention, window 8"),
    ((*LAYERS, 2, "keep"), 23, "kv layer 2 has kind full_attention, window None and keep 23"),
    ((*LAYERS, 0, "keep"), 22, "kv layer 0 keeps 22 tokens"),
    ((*LAYERS, 0, "window"), 9, "kv layer 0 keeps 23 tokens"),
    ((*LAYERS, 0, "slots"), 535, "requires does not have g4ops, ring-kv"),
    ((*LAYERS, 2, "bytes_per_token"), 257, "kv layer 2 has bytes_per_token 257"),
    (
        (*LAYERS, 2),
        lambda old: {**old, "heads": 1024, "bytes_per_token": 262144},
        r"input of decoder, is float\[\?, 1,",
    ),
    ((*LAYERS, 2), lambda old: {**old, "head_dim": 64, "bytes_per_token": 512}, r"by the other fields .* 64\]"),
    (("graphs", "decoder", "part"), "drafter", "is of the part drafter"),
    (("graphs", "decoder", "part"), "embed", "are both of the part embed, variant any, rank 0"),
    (("graphs", "decoder", "variant"), "decode", "no graph of the part decoder, variant any"),
    (("graphs", "embed"), MISSING, "no graph of the part embed"),
    (("graphs",), {}, "no graph of the part embed"),
    (INPUTS, lambda old: old[1:], "position_ids, an input of decoder, is not there"),
    (INPUTS, lambda old: [*old, {**old[0], "name": "more"}], "more, an input of decoder"),
    (INPUTS, lambda old: [*old, old[0]], "the graph decoder has two inputs of the name position_ids"),
    ((*INPUTS, 1, "dtype"), "int8", "past_key_values.0.key, an input of decoder, is int8"),
    ((*INPUTS, 8, "shape"), ["batch", "new", 65], "inputs_embeds, an input of decoder"),
    (("graphs", "embed", "inputs"), [], "input_ids, an input of embed, is not there"),
    (("graphs", "embed", "outputs"), lambda old: old[:1], "per_layer_inputs, an input of decoder"),
    (("graphs", "decoder", "outputs"), lambda old: old[:-1], "present.2.value, an output of decoder, is not there"),
    (("graphs", "decoder", "outputs", 0, "dtype"), "int8", "logits, an output of decoder, is int8"),
]


@pytest.mark.parametrize(("path", "value", "message"), CONTRADICTIONS)
def test_fields_that_contradict_each_other(bundles, tmp_path, path, value, message):
    refused(linked(bundles("tiny-e2b").folder, tmp_path / "bundle"), put(path, value), message)


@pytest.mark.parametrize(
    ("layer", "slots", "message"),
    [
        (0, 23, "kv layer 0 has 23 slots and keep 23"),
        (2, 535, "kv layer 2 has 535 slots and keep None"),
        (0, 535, r"past_key_values.0.key, an input of decoder, .* by the other fields .* 535, 16\]"),
    ],
)
def test_rings_of_an_onnx_bundle(bundles, tmp_path, layer, slots, message):
    def edit(manifest):
        put((*LAYERS, layer, "slots"), slots)(manifest)
        manifest["requires"] += ["g4ops", "ring-kv"]

    refused(linked(bundles("tiny-e2b").folder, tmp_path / "bundle"), edit, message)


BFLOAT16_LIES = [
    (("requires",), lambda old: [word for word in old if word != "bfloat16-kv"], "requires does not have bfloat16-kv"),
    (("activations",), "bfloat16", "activations is bfloat16, which only engines and bundles for CUDA have"),
    ((*KV, "dtype"), "float32", "kv layer 0 has bytes_per_token 64"),
    ((*KV, "dtype"), "int8", "requires does not have int8-kv"),
    ((*LAYERS, 2, "bytes_per_token"), 256, "32 in bfloat16 are 128 bytes, key and value together"),
    ((*LAYERS, 0, "slots"), None, r"past_key_values.0.key, an input of decoder, .* by the other fields .*bfloat16\["),
]


@pytest.mark.parametrize(("path", "value", "message"), BFLOAT16_LIES)
def test_a_bfloat16_cache(g4ops, quantized, tmp_path, path, value, message):
    """Its bytes are exact, and other runtimes see by a word that they must know it."""
    folder = linked(quantized("tiny-e2b", "exact", "g4ops", "bfloat16").folder, tmp_path / "bundle")
    assert [layer.bytes_per_token for layer in Bundle.open(folder).manifest.kv.layers] == [64, 64, 128]
    refused(folder, put(path, value), message)


ENGINE = ("engine",)
ENGINE_LIES = [
    ((*ENGINE, "steps"), lambda old: old[1:], "engine.steps has verify, prefill"),
    ((*ENGINE, "steps"), lambda old: [old[0], old[0], old[2]], "engine.steps has decode, decode, prefill"),
    ((*ENGINE, "steps", 0, "tokens"), 2, "the step decode takes 2 tokens"),
    ((*ENGINE, "steps", 1, "tokens"), 32, "the step verify takes 32 tokens"),
    ((*ENGINE, "steps", 1, "tokens"), 4, r"in the step verify it is int64\[batch, 4\]"),
    ((*ENGINE, "steps", 2, "tokens"), 1 << 30, "the step prefill takes 1073741824 tokens"),
    ((*ENGINE, "steps", 1, "keep"), "one", "the step verify keeps the logits of one position"),
    (
        ("graphs", "prefill", "inputs"),
        lambda old: [one for one in old if one["name"] != "logit_index"],
        "the graph prefill has no logit_index",
    ),
    ((*ENGINE, "ranks"), 2, "requires does not have tensor-parallel"),
    ((*ENGINE, "ranks"), 1 << 30, "ranks"),
    (("graphs", "decode", "rank"), 1, "no graph of the part decoder, variant decode, rank 0"),
    (
        ("graphs", "decode", "variant"),
        "other",
        "a graph of the part decoder, variant other|no graph of the part decoder",
    ),
    ((*ENGINE, "chunk"), 24, "a prefill step a chunk of 24"),
    ((*ENGINE, "ring"), 40, "engine.ring 40"),
    ((*ENGINE, "ring"), 16, "engine.ring is 16"),
    ((*ENGINE, "ring"), 64, "kv layer 0 keeps 32 tokens, but engine.ring is 64"),
    ((*ENGINE, "kv_bytes"), 1 << 40, "engine.kv_bytes is 1,099,511,627,776"),
    ((*ENGINE, "weight_bytes"), 1, "engine.weight_bytes is 1"),
    ((*ENGINE, "host", "pad"), 1024, "engine.host has the token id 1,024"),
    ((*ENGINE, "host", "tables"), lambda old: [*old, old[0]], "engine.host.tables has inputs_embeds twice"),
    ((*ENGINE, "host", "tables"), lambda old: [*old, {**old[0], "name": "more"}], "the graph decode has no more"),
    ((*ENGINE, "host", "tables", 1, "row"), [8, 6], "the rows of its table have the shape"),
    ((*ENGINE, "host", "tables", 0, "scale"), "8", "scale"),
    ((*ENGINE, "weights"), lambda old: [*old, old[0]], "of rank 0 twice"),
    ((*ENGINE, "weights", 0, "rank"), 3, "is of rank 3, and there are 1"),
    ((*ENGINE, "weights", 0, "offset"), 0, "does not list weights.data"),
    ((*ENGINE, "weights", 0, "dtype"), "float64", "dtype"),
    ((*ENGINE, "product"), "cudnn", "product"),
    ((*ENGINE, "batch"), 1 << 20, "engine.kv_bytes is"),
    (("context",), 512, "engine.kv_bytes is"),
    (("graphs", "verify", "inputs", 0, "shape", 1), "tokens", "tokens is neither a number, nor batch"),
    (("graphs", "verify", "inputs", 1, "shape", 2), 64, "by the layers of kv it is"),
    (("graphs", "verify", "outputs"), lambda old: old[1:], "the graph verify has no logits"),
    ((*KV, "layers", 0, "heads"), 2, "kv layer 0 has bytes_per_token"),
]


@pytest.mark.parametrize(("path", "value", "message"), ENGINE_LIES)
def test_fields_of_engines_that_contradict_each_other(engine_bundle, tmp_path, path, value, message):
    refused(linked(engine_bundle.folder, tmp_path / "engines"), put(path, value), message)


PROFILES = ("engine", "encoders", 0, "profiles")
ENCODER_LIES = [
    (("engine", "encoders"), MISSING, "a graph of the part vision, variant any"),
    (("engine", "encoders"), lambda old: [*old, *old], "engine.encoders has the part vision twice"),
    (("engine", "encoders", 0, "part"), "decoder", "part"),
    (PROFILES, [], "no profile of the part vision"),
    (PROFILES, lambda old: old[::-1], "least, usual and most ascend"),
    ((*PROFILES, 0, "tokens"), [1, 80, 70], "least, usual and most ascend"),
    ((*PROFILES, 4, "tokens", 2), 1 << 30, "up to 1,120 tokens"),
    ((*PROFILES, 1, "patches", 2), 1 << 30, "a token is 9 patches"),
    ((*PROFILES, 1), lambda old: {**old, "more": [1, 1, 1]}, "the dynamic sizes of its graph are patches, tokens"),
    (("graphs", "vision", "outputs", 0, "dtype"), "float", "image_features, an output of vision"),
    (("graphs", "vision", "inputs", 0, "shape", 1), 432, "pixel_values, an input of vision"),
    (("graphs", "vision", "variant"), "decode", "no graph of the part vision, variant any|decode"),
    (("modalities",), ["text"], "do not agree on whether image is taken"),
    (("media", "image"), None, "do not agree on whether image is taken"),
    (("media", "tokens", "image", "id"), 10**6, "beyond the vocabulary"),
]


@pytest.mark.parametrize(("path", "value", "message"), ENCODER_LIES)
def test_fields_of_an_encoder_that_contradict_others(seeing_engines, tmp_path, path, value, message):
    refused(linked(seeing_engines("tiny-e2b").folder, tmp_path / "engines"), put(path, value), message)


HEARING = ("engine", "encoders", 1, "profiles")
HEARING_LIES = [
    (("engine", "encoders", 1, "part"), "vision", "engine.encoders has the part vision twice|audio, variant any"),
    ((*HEARING, 0, "frames", 0), 2, "a token is 4 frames"),
    ((*HEARING, 1, "frames", 0), 200, "a token is 4 frames"),
    ((*HEARING, 1, "tokens", 0), 50, "least, usual and most ascend"),
    ((*HEARING, 1, "tokens", 0), 52, "least, usual and most ascend"),
    ((*HEARING, 2), MISSING, "profiles of the part audio end at 250 tokens"),
    (("media", "audio", "max_samples"), 320_000, "up to 500 tokens"),
    (("media", "audio", "feature_size"), 64, "input_features, an input of audio"),
    (("graphs", "audio"), MISSING, "no graph of the part audio, variant any|whether audio is taken"),
]


@pytest.mark.parametrize(("path", "value", "message"), HEARING_LIES)
def test_fields_of_an_encoder_of_sounds_that_contradict_others(hearing_engines, tmp_path, path, value, message):
    refused(linked(hearing_engines("tiny-e2b").folder, tmp_path / "engines"), put(path, value), message)


def test_rings_of_engines_with_image_blocks(seeing_engines, tmp_path):
    """They have a slot for each token; and the bounds of blocks are inputs of every step."""
    bundle = seeing_engines("tiny-31b")
    assert "image-blocks" in bundle.manifest.requires and bundle.manifest.engine.ring == bundle.manifest.context

    def shorter(manifest):
        manifest["engine"]["ring"], manifest["engine"]["kv_bytes"] = 128, 0

    refused(linked(bundle.folder, tmp_path / "short"), shorter, "with image-blocks a ring never wraps|ring is 128")
    no_bounds = put(("graphs", "verify", "inputs"), lambda old: [one for one in old if one["name"] != "block_ends"])
    refused(linked(bundle.folder, tmp_path / "blind"), no_bounds, "the graph verify has no block_ends")
    assert "image-blocks" not in seeing_engines("tiny-e2b").manifest.requires
