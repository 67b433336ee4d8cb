"""Files beside the weights: what a bundle could not be loaded with is refused before a weight is written."""

import base64
import json
import os

import pytest

from g4compile.errors import CheckpointError
from g4compile.model import presets
from g4compile.model.config import model_facts
from g4compile.synth.tokenizer import write_tokenizer
from g4compile.weights.checkpoint import SIDE_FILES, Checkpoint
from g4compile.weights.side_files import read_side_files


@pytest.fixture
def checkpoint(tmp_path):
    config = presets.config("tiny-31b")
    write_tokenizer(tmp_path, config, 1024)
    (tmp_path / "special_tokens_map.json").write_text("{}")
    return Checkpoint(tmp_path, model_facts(config), {})


def refused(checkpoint, name, *said):
    with pytest.raises(CheckpointError) as caught:
        read_side_files(checkpoint)
    text = str(caught.value)
    text.encode()
    for one in (*said, str(checkpoint.folder / name)):
        assert one in text, text


def test_all_are_read_and_written(checkpoint, tmp_path):
    side = read_side_files(checkpoint)
    assert set(side.files) == set(SIDE_FILES) and side.stop_token_ids == (1, 106, 50)
    (out := tmp_path / "out").mkdir()
    side.write(out)
    for name in SIDE_FILES:
        assert (out / name).read_bytes() == (tmp_path / name).read_bytes()


def test_none_need_be_there(checkpoint):
    for name in SIDE_FILES:
        (checkpoint.folder / name).unlink()
    side = read_side_files(checkpoint)
    assert side.files == {} and side.stop_token_ids == ()


@pytest.mark.parametrize("value", ["x", 1.5, -1, 1024, True, [1, None], [[1]], {}])
def test_a_stop_token_that_is_none(checkpoint, value):
    (checkpoint.folder / "generation_config.json").write_text(json.dumps({"eos_token_id": value}))
    refused(checkpoint, "generation_config.json", "eos_token_id", "a token id below 1,024")


@pytest.mark.parametrize(("value", "stops"), [(None, ()), (7, (7,)), ([7, 8], (7, 8)), ([], ())])
def test_stop_tokens(checkpoint, value, stops):
    (checkpoint.folder / "generation_config.json").write_text(json.dumps({"eos_token_id": value}))
    assert read_side_files(checkpoint).stop_token_ids == stops


CONTENTS = [
    ("tokenizer.json", b"{}", "is not a tokenizer that can be loaded"),
    ("tokenizer.json", b"[" * 100_000, "is not a tokenizer that can be loaded"),
    ("tokenizer.json", b"\xff", "not UTF-8"),
    ("tokenizer_config.json", b"[]", "does not hold a JSON object"),
    ("tokenizer_config.json", b"[" * 100_000, "nested deeper"),
    ("tokenizer_config.json", b'{"bos_token": 5}', "bos_token of tokenizer_config.json is 5"),
    ("tokenizer_config.json", b'{"eos_token": {"content": 4}}', "eos_token of tokenizer_config.json"),
    ("tokenizer_config.json", b'{"chat_template": 5}', "chat_template of tokenizer_config.json is 5"),
    ("tokenizer_config.json", b'{"chat_template": [{"name": "a"}]}', "a list of objects with a name and a template"),
    ("tokenizer_config.json", b'{"chat_template": "{% if %}"}', "is not valid Jinja"),
    ("chat_template.jinja", b"a\n{% for x in %}", "line 2: Expected an expression"),
    ("chat_template.jinja", b"{{ " + b"(" * 50_000, "nested too deep"),
    ("chat_template.jinja", b"\xff", "not UTF-8"),
    ("chat_template.jinja", b" " * ((1 << 20) + 1), "more than the 1,048,576"),
    ("generation_config.json", b"{", "is not valid JSON"),
    ("generation_config.json", b"null", "does not hold a JSON object"),
    ("special_tokens_map.json", b"[]", "does not hold a JSON object"),
]


@pytest.mark.parametrize(("name", "data", "said"), CONTENTS, ids=range(len(CONTENTS)))
def test_contents_that_cannot_be_loaded(checkpoint, name, data, said):
    (checkpoint.folder / name).write_bytes(data)
    refused(checkpoint, name, said)


@pytest.mark.parametrize("name", SIDE_FILES)
def test_what_is_no_file_of_the_checkpoint(checkpoint, name):
    file = checkpoint.folder / name
    for make, said in (
        (lambda: os.mkfifo(file), "no regular file"),
        (lambda: file.symlink_to("/etc/shadow"), "leads out of its folder"),
        (lambda: file.symlink_to("/dev/zero"), "leads out of its folder"),
        (lambda: file.symlink_to("nowhere"), "does not exist"),
    ):
        file.unlink()
        make()
        refused(checkpoint, name, said)


def test_templates_of_transformers_are_taken(checkpoint):
    words = "{% generation %}{{ m | tojson }}{% endgeneration %}"
    template = f"{{% for m in messages %}}{{% if m.x %}}{{% break %}}{{% endif %}}{words}{{% endfor %}}"
    (checkpoint.folder / "chat_template.jinja").write_text(template)
    named = [{"name": "default", "template": "{{ 9**9**9 }}"}, {"name": "tool_use", "template": "x"}]
    settings = {"chat_template": named, "bos_token": {"content": "<bos>"}, "add_bos_token": True, "pad_token": None}
    (checkpoint.folder / "tokenizer_config.json").write_text(json.dumps(settings))
    read_side_files(checkpoint)


def changed(checkpoint, **fields):
    """Change the tokenizer's file."""
    file = checkpoint.folder / "tokenizer.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


def test_a_tokenizer_that_ends_its_process(checkpoint):
    """A table that says it has 4 GB: the allocation of it is an abort. An empty one is a panic of Rust."""
    for table in (b"\xf0\xff\xff\xff", b""):
        charsmap = base64.b64encode(table).decode()
        changed(checkpoint, normalizer={"type": "Precompiled", "precompiled_charsmap": charsmap})
        refused(checkpoint, "tokenizer.json", "is not a tokenizer that can be loaded")


def test_a_tokenizer_that_is_not_loaded_in_time(checkpoint, monkeypatch):
    monkeypatch.setattr("g4compile.runtime.text_process._SECONDS", 0.5)
    pattern = {"Regex": "(?i)" + "ﬃßſ" * 20_000}
    changed(checkpoint, pre_tokenizer={"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False})
    refused(checkpoint, "tokenizer.json", "is not a tokenizer that can be loaded", "it took more than")
