"""Every field of a config has a type and a range, and fields agree: what does not fit is refused by name."""

import copy
import json
import math
import os

import pytest

from g4compile.errors import InputError
from g4compile.model import presets, schema
from g4compile.model.config import FULL, SLIDING, load_config, model_facts

TEXT, VISION, AUDIO = "text_config", "vision_config", "audio_config"
HUGE = 10**5000
# Nothing that any field of a table takes.
BAD = ("x\ud800", HUGE, -1, -0.5, math.nan, math.inf, -math.inf, [[]], [None], {"a": 1}.keys())


def changed(preset="tiny-e2b", *path, **fields):
    config = copy.deepcopy(presets.config(preset))
    place = config
    for name in path:
        place = place[name]
    place.update(fields)
    return config


def refused(config, *said):
    with pytest.raises(InputError) as caught:
        model_facts(config, "some/config.json")
    assert caught.value.code == 2
    text = str(caught.value)
    text.encode()
    for one in (*said, "some/config.json"):
        assert one in text, text
    return text


TABLES = [
    ("tiny-26b-a4b", (), {**schema.FILE, **schema.MULTIMODAL}),
    ("tiny-26b-a4b", (TEXT,), schema.TEXT["gemma4_text"]),
    ("tiny-12b", (TEXT,), schema.TEXT["gemma4_unified_text"]),
    ("tiny-e2b", (VISION,), schema.VISION),
    ("tiny-12b", (VISION,), schema.PATCHES),
    ("tiny-e2b", (AUDIO,), schema.AUDIO),
    ("tiny-12b", (AUDIO,), schema.WAVE),
    ("tiny-e2b", (TEXT, "rope_parameters", FULL), schema.ROPE),
]


@pytest.mark.parametrize(("preset", "path", "table"), TABLES, ids=range(len(TABLES)))
def test_no_field_of_a_table_takes_nonsense(preset, path, table):
    for name in table:
        for value in BAD:
            config = changed(preset, *path, **{name: value})
            if table[name].fits(value):  # -1.0 of a logit, -0.5 of a residual: not refused, and no nonsense
                model_facts(config)
            else:
                refused(config, name)


def test_an_error_says_place_value_and_range():
    text = refused(changed("tiny-e2b", TEXT, sliding_window=10**9))
    assert "config field text_config.sliding_window must be an integer from 1 to 1,048,576, found 1000000000" in text
    del (config := changed("tiny-e2b"))[TEXT]["vocab_size"]
    assert "config field text_config.vocab_size is missing" in refused(config)
    assert "about 5000 digits" in refused(changed("tiny-e2b", TEXT, hidden_size=HUGE))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"num_key_value_heads": 3}, "a divisor of num_attention_heads, 4, in layer 0, found 3"),
        ({"head_dim": 7}, "text_config.head_dim must be a multiple of 2 from 2 to 4,096, found 7"),
        ({"layer_types": [FULL] * 5}, "layer_types must list 6 layers"),
        ({"layer_types": [FULL] * 5 + [SLIDING]}, "layer_types[5] must be full_attention"),
        ({"num_kv_shared_layers": 6}, "less than the 6 layers"),
        ({"layer_types": [SLIDING] * 5 + [FULL]}, "shares the KV of a full_attention layer"),
        ({"pad_token_id": 1024}, "in the vocabulary of 1,024 tokens, found 1024"),
        ({"eos_token_id": [1, 5000]}, "in the vocabulary"),
        ({"vocab_size_per_layer_input": 1000}, "vocab_size, 1,024, or more"),
        ({"hidden_size_per_layer_input": 0}, "must be 1 or more, found 0"),
        ({"hidden_activation": "relu"}, "must be gelu_pytorch_tanh"),
        ({"attention_bias": True}, "must be false"),
        ({"final_logit_softcapping": 1e308}, "a number from 0.001 to 1e+06 or null, found 1e+308"),
        ({"final_logit_softcapping": 0}, "final_logit_softcapping"),
        ({"rms_norm_eps": 0}, "rms_norm_eps"),
        ({"dtype": "float8"}, "text_config.dtype must be bfloat16 or float16 or float32 or null"),
        ({"model_type": "gemma3_text"}, "text_config.model_type must be gemma4_text"),
        ({"tie_word_embeddings": False}, "what it is in the whole config, True, found False"),
        ({"use_bidirectional_attention": "all"}, "makes an encoder"),
        ({"rope_parameters": {FULL: {"rope_type": "proportional", "rope_theta": 1e6}}}, "rope_parameters.sliding"),
        ({"rope_parameters": []}, "rope_parameters must be an object or null"),
        ({"per_layer_config": None}, "per_layer_config must be an object, found None"),
        ({"per_layer_config": {"6": {}}}, "per_layer_config.6 must be of a layer, 0 to 5, each once"),
        ({"per_layer_config": {"5": {}, "05": {}}}, "each once"),
        ({"per_layer_config": {"5": {"hidden_size": 3}}}, "an object of head_dim and num_key_value_heads"),
        ({"per_layer_config": {"5": {"head_dim": 32}}}, "layers 2 and 5 differ"),
    ],
)
def test_text_fields_that_do_not_agree(fields, said):
    refused(changed("tiny-e2b", TEXT, **fields), said)


@pytest.mark.parametrize("fields", [{"num_experts": None}, {"top_k_experts": 9}, {"moe_intermediate_size": None}])
def test_experts_that_do_not_agree(fields):
    refused(changed("tiny-26b-a4b", TEXT, **fields), f"text_config.{next(iter(fields))}")


@pytest.mark.parametrize(
    ("preset", "path", "fields", "said"),
    [
        ("tiny-e2b", (), {"architectures": ["Foo"]}, "[Gemma4ForConditionalGeneration] for a gemma4, found ['Foo']"),
        ("tiny-e2b", (), {"architectures": 5}, "architectures"),
        ("tiny-e2b", (), {"image_token_id": 5000}, "image_token_id must be in the vocabulary"),
        ("tiny-e2b", (), {"vision_config": 0}, "vision_config must be an object or null, found 0"),
        ("tiny-e2b", (), {"quantization_config": {"quant_method": ["awq"]}}, "['awq'], which cannot be read"),
        ("tiny-e2b", (), {"model_type": []}, "its model_type is []"),
        ("tiny-12b", (TEXT,), {"enable_moe_block": True}, "must be false"),
        ("tiny-12b", (TEXT,), {"hidden_size_per_layer_input": 8}, "must be 0"),
        ("tiny-12b", (VISION,), {"model_patch_size": 5}, "patch_size times pooling_kernel_size, 12"),
        (
            "tiny-12b",
            (AUDIO,),
            {"audio_embed_dim": 41},
            "audio_samples_per_token must be audio_embed_dim, 41",
        ),
        ("tiny-e2b", (VISION,), {"num_key_value_heads": 3}, "a divisor of num_attention_heads, 2"),
        ("tiny-e2b", (AUDIO,), {"num_attention_heads": 5}, "a divisor of hidden_size, 32"),
        ("tiny-e2b", (TEXT, "rope_parameters", FULL), {"partial_rotary_factor": 0.01}, "a pair of the 32 dimensions"),
        ("tiny-e2b", (TEXT, "rope_parameters", FULL), {"rope_theta": 0}, f"rope_parameters.{FULL}.rope_theta"),
    ],
)
def test_other_fields_that_do_not_agree(preset, path, fields, said):
    refused(changed(preset, *path, **fields), said)


def test_a_field_left_out_is_the_default_of_transformers():
    transformers = pytest.importorskip("transformers")
    for preset, name in (("tiny-e2b", "Gemma4TextConfig"), ("tiny-12b", "Gemma4UnifiedTextConfig")):
        known = getattr(transformers, name)()
        table = schema.TEXT[known.model_type]
        for field in ("hidden_size_per_layer_input", "vocab_size_per_layer_input", "sliding_window", "rms_norm_eps"):
            wanted = getattr(known, field, 0 if "hidden" in field else 262_144)
            assert table[field].default == wanted, field
        assert known.rope_parameters == schema.ROPE_DEFAULTS
        assert model_facts(presets.config(preset)).text.eos_token_ids == (1, 106)


def test_null_is_no_token_and_zero_is_one():
    facts = model_facts(changed("tiny-31b", eos_token_id=None)).text
    assert facts.eos_token_ids == (1,)
    none = changed("tiny-31b", TEXT, eos_token_id=None, bos_token_id=0, pad_token_id=None)
    none["eos_token_id"] = None
    facts = model_facts(none).text
    assert (facts.eos_token_ids, facts.bos_token_id, facts.pad_token_id) == ((), 0, 0)


def test_a_tower_of_defaults_is_a_tower():
    assert model_facts(changed("tiny-e2b", vision_config={}, audio_config=None)).modalities == ("text", "image")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xff\xfe{}", "not UTF-8"),
        (b"[" * 100_000, "nested deeper"),
        (b'{"model_type": "gemma4", "model_type": "llama"}', "stands twice"),
        (b'{"final_logit_softcapping": NaN}', "NaN is no number"),
        (b"[]", "does not hold a JSON object"),
        (b" " * (5 << 20), "bytes, more than"),
    ],
    ids=["encoding", "nesting", "twice", "nan", "list", "size"],
)
def test_a_file_that_is_no_config(data, said, tmp_path):
    (tmp_path / "config.json").write_bytes(data)
    with pytest.raises(InputError) as caught:
        load_config(tmp_path)
    assert said in str(caught.value) and "config.json" in str(caught.value)


def test_a_config_that_is_no_file(tmp_path):
    """Each is answered at once."""
    file = tmp_path / "config.json"
    os.mkfifo(file)
    with pytest.raises(InputError, match="no regular file"):
        load_config(tmp_path)
    file.unlink()
    file.mkdir()
    with pytest.raises(InputError, match="no regular file"):
        load_config(tmp_path)
    file.rmdir()
    (tmp_path.parent / "elsewhere.json").write_text(json.dumps(presets.config("tiny-e2b")))
    file.symlink_to("../elsewhere.json")
    with pytest.raises(InputError, match="leads out of its folder"):
        load_config(tmp_path)
    assert load_config(tmp_path.parent / "elsewhere.json")["model_type"] == "gemma4"
    with pytest.raises(InputError):
        load_config("x" * 5000)
