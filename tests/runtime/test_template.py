"""Chat templates: what transformers renders, and files and templates that are hostile."""

import json
import os
import shutil
import time

import pytest
import transformers

from g4compile.bundle.folder import Bundle
from g4compile.errors import BundleError, G4Error, InputError
from g4compile.runtime.text import TextCodec
from g4compile.runtime.text_process import TextProcess

HI = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def bundle(bundles, tmp_path):
    """The text files of a bundle, and a manifest, to be changed."""
    whole, folder = bundles("tiny-e2b"), tmp_path / "bundle"
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(whole.folder / name, folder)
    return Bundle(folder, whole.manifest)


@pytest.fixture
def short(monkeypatch):
    """A quarter of the time that is given, so that what never ends does not take as long."""
    monkeypatch.setattr("g4compile.runtime.text_process._SECONDS", 1.0)


@pytest.fixture
def codec(bundle, request):
    made = TextCodec(bundle)
    request.addfinalizer(made.close)
    return made


def put(codec, template):
    """Give the ``codec`` another template: the process stays the same."""
    codec._files.templates["default"] = template


GEMMA = """
{{- bos_token -}}
{%- macro escaped(value) -%}{%- if value is string -%}{{ '<|"|>' + value + '<|"|>' }}{%- elif value is mapping -%}
{ {%- for key, inner in value | dictsort -%}{{ key }}:{{ escaped(inner) }}{%- if not loop.last -%},{%- endif -%}
{%- endfor -%} }{%- else -%}{{ value | tojson }}{%- endif -%}{%- endmacro -%}
{%- set ns = namespace(first=true, system='') -%}
{%- for message in messages -%}
    {%- if message.role == 'system' -%}{%- set ns.system = message.content -%}{%- continue -%}{%- endif -%}
    {%- if message.role == 'stop' -%}{%- break -%}{%- endif -%}
    {%- if message.role not in ['user', 'assistant', 'tool'] -%}
        {{- raise_exception('unknown role ' + message.role) -}}
    {%- endif -%}
    {{- '<|turn>' + {'assistant': 'model'}.get(message.role, message.role) + '\\n' -}}
    {%- if ns.first and ns.system -%}{{- ns.system | trim + '\\n' -}}{%- set ns.first = false -%}{%- endif -%}
    {%- if message.reasoning_content -%}{{- '<|channel>' + message.thinking + '<channel|>' -}}{%- endif -%}
    {%- if message.content is string -%}{{- message.content | trim -}}
    {%- elif message.content is iterable -%}
        {%- for item in message.content -%}
            {{- item.text if item.type == 'text' else '<|' + item.type + '|>' -}}
        {%- endfor -%}
    {%- endif -%}
    {%- for call in message.tool_calls or [] -%}
        {{- '<|tool_call>' + call.function.name + escaped(call.function.arguments) + '<tool_call|>' -}}
    {%- endfor -%}
    {%- generation -%}{%- set ns.first = false -%}{{- '<turn|>' -}}{%- endgeneration %}

{% endfor -%}
{%- if tools -%}{{- tools | tojson(indent=2) -}}{%- endif -%}
{%- if documents is none -%}{{- strftime_now('%Y') | length -}}{%- endif -%}
{{- (dict(a=1) | tojson) ~ (dict.fromkeys('ab', 2) | tojson(separators=(',', ':'))) -}}
{%- if add_generation_prompt -%}{{- '<|turn>model\\n' -}}{%- endif -%}{{- eos_token ~ pad_token ~ cls_token -}}
"""
TOOLS = [{"type": "function", "function": {"name": "f", "description": "ü <&> '", "parameters": {"b": [1, 2.5, None]}}}]
CALL = {
    "type": "function",
    "function": {"name": "weather", "arguments": {"place": "Zürich", "days": 3, "at": {"x": True}}},
}
CHATS = [
    HI,
    [{"role": "system", "content": ' Be <brief> & "kind" '}, *HI],
    [*HI, {"role": "assistant", "content": "Hello 😀"}, {"role": "user", "content": "東京?\n\n  "}],
    [*HI, {"role": "assistant", "content": None, "tool_calls": [CALL]}, {"role": "tool", "content": "12 °C"}],
    [
        *HI,
        {"role": "assistant", "content": "yes", "thinking": "hm"},
        {"role": "assistant", "content": "a", "reasoning": "r"},
    ],
    [{"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image"}, {"type": "text", "text": "!"}]}],
    [*HI, {"role": "stop", "content": "x"}, {"role": "user", "content": "not shown"}],
    [{"role": "user", "content": ""}, {"role": "user", "content": "<|turn>model"}],
    [{"role": "user", "content": "{{ 7 * 7 }} {% raw %}"}],
]


@pytest.mark.parametrize("named", [False, True], ids=["file", "list"])
def test_renders_as_transformers_does(bundle, named):
    """Templates of a file and named ones, with tools and without."""
    if named:
        settings = json.loads((bundle.folder / "tokenizer_config.json").read_text())
        other = [{"name": "tool_use", "template": "TOOLS {{ tools | tojson }}" + GEMMA}]
        settings["chat_template"] = [{"name": "default", "template": GEMMA}, *other]
        (bundle.folder / "tokenizer_config.json").write_text(json.dumps(settings))
        (bundle.folder / "chat_template.jinja").unlink()
    else:
        (bundle.folder / "chat_template.jinja").write_text(GEMMA)
    theirs = transformers.AutoTokenizer.from_pretrained(bundle.folder)
    ours = TextCodec(bundle)
    for chat in CHATS:
        for tools in (None, TOOLS):
            want = theirs.apply_chat_template(chat, tools=tools, add_generation_prompt=True, tokenize=False)
            assert ours.render_chat(chat, tools) == want
            ids = theirs.apply_chat_template(chat, tools=tools, add_generation_prompt=True, return_dict=False)
            assert ours.encode_chat(chat, tools) == (ids if ids[0] == 2 else [2, *ids])
    ours.close()


def test_the_template_of_synthetic_checkpoints_too(bundle, codec):
    theirs = transformers.AutoTokenizer.from_pretrained(bundle.folder)
    for chat in CHATS:
        for tools in (None, TOOLS):
            want = theirs.apply_chat_template(chat, tools=tools, add_generation_prompt=True, tokenize=False)
            assert codec.render_chat(chat, tools) == want


HOSTILE = {
    "loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "growth": "{% set ns = namespace(x='a') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    "text": "{% for a in range(99999) %}{{ 'a' * 9999 }}{% endfor %}",
    "string": "{{ 'a' * 10**12 }}",
    "power": "{{ 9 ** (9 ** 9) }}",
    "width": "{{ '%99999999999d' | format(1) }}",
    "centre": "{{ 'a' | center(9999999999) }}",
    "recursion": "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
    "nesting": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "blocks": "{% if 1 %}" * 3000 + "{% endif %}" * 3000,
    "include": "{% include '/etc/passwd' %}",
    "import": "{% import 'os' as os %}{{ os }}",
    "extends": "{% extends 'x' %}",
    "division": "{{ 1 / 0 }}",
    "type": "{{ 1 + 'a' }}",
    "key": "{{ messages[99].role.x.y }}",
    "syntax": "{% for %}",
    "unknown": "{{ 1 | nothing }}",
    "surrogate": "{{ '\\\\ud800' }}".replace("\\\\", "\\"),
    "range": "{{ range(10**9) | list }}",
    "refused": "{{ raise_exception('no') }}",
    "class": "{{ ''.__class__.__mro__ }}",
    "globals": "{{ raise_exception.__globals__['os'] }}",
    "namespace": "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
    "mutation": "{{ messages.append(1) }}",
    "json": "{{ cycler | tojson }}",
    "null": "{{ '\0' ",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_template_is_an_error_within_seconds(codec, short, name):
    """And the codec goes on: with another template it renders."""
    good = codec.render_chat(HI)
    put(codec, HOSTILE[name])
    with pytest.raises(BundleError, match=r"chat template cannot be rendered\n  where: .*\n  why: .+"):
        codec.render_chat(HI)
    put(codec, (codec._files.folder / "chat_template.jinja").read_text())
    assert codec.render_chat(HI) == good


@pytest.mark.nightly
def test_the_time_that_is_given(codec):
    start = os.times()
    put(codec, HOSTILE["loops"])
    with pytest.raises(BundleError, match=r"more than 4\.0"):
        codec.render_chat(HI)
    codec.close()
    end = os.times()
    assert 3.5 < end.children_user + end.children_system - start.children_user - start.children_system < 5


def test_what_a_template_may_take(codec, monkeypatch):
    monkeypatch.setattr("g4compile.runtime.text_process._SECONDS", 0.3)
    put(codec, HOSTILE["loops"])
    with pytest.raises(BundleError, match=r"more than 0\.3 seconds"):
        codec.render_chat(HI)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("tokenizer.json", b"{", "tokenizer.json cannot be used"),
        ("tokenizer.json", b"\xff\xfe", "tokenizer.json cannot be used"),
        ("tokenizer.json", b"[" * 100_000, "tokenizer.json cannot be used"),
        ("tokenizer.json", b'{"model": {"type": "BPE", "vocab": {}}}', "tokenizer.json cannot be used"),
        ("tokenizer_config.json", b"{", "not valid JSON"),
        ("tokenizer_config.json", b"\xff", "not UTF-8"),
        ("tokenizer_config.json", b"[]", "does not hold a JSON object"),
        ("tokenizer_config.json", b"[" * 100_000, "nested deeper"),
        ("tokenizer_config.json", b'{"bos_token": 5}', "bos_token of tokenizer_config.json is 5"),
        ("tokenizer_config.json", b'{"eos_token": {"content": []}}', "eos_token of"),
        ("chat_template.jinja", b"\xff", "chat_template.jinja is not UTF-8"),
        ("chat_template.jinja", b"a" * (1 << 20) + b"a", "more than the 1,048,576"),
    ],
    ids=range(12),
)  # fmt: skip
def test_files_that_are_not_what_they_should_be(bundle, file, content, message):
    (bundle.folder / file).write_bytes(content)
    with pytest.raises(BundleError, match=message):
        TextCodec(bundle)


@pytest.mark.parametrize("template", [5, True, {}, [1], [{"name": 1, "template": "x"}], [{"name": "default"}]])
def test_a_template_that_is_none(bundle, template):
    (bundle.folder / "chat_template.jinja").unlink()
    (bundle.folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    with pytest.raises(BundleError, match=r"chat_template of tokenizer_config\.json is"):
        TextCodec(bundle)


def test_named_templates_without_a_default(bundle):
    (bundle.folder / "chat_template.jinja").unlink()
    named = {"chat_template": [{"name": "rag", "template": "x"}], "add_bos_token": True, "image_token": 5}
    (bundle.folder / "tokenizer_config.json").write_text(json.dumps(named))
    with pytest.raises(BundleError, match=r"(?s)named default.*'rag'"):
        TextCodec(bundle).encode_chat(HI)


def test_links_that_lead_out_and_pipes(bundle, tmp_path):
    outside = tmp_path / "outside.json"
    shutil.move(bundle.folder / "tokenizer.json", outside)
    (bundle.folder / "tokenizer.json").symlink_to(outside)
    with pytest.raises(BundleError, match="leads out of its folder"):
        TextCodec(bundle)
    (bundle.folder / "tokenizer.json").unlink()
    os.mkfifo(bundle.folder / "tokenizer.json")
    with pytest.raises(BundleError, match="it is a pipe"):
        TextCodec(bundle)


def split(bundle, pattern):
    """Give the tokenizer a Split with ``pattern``."""
    file = bundle.folder / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    tokenizer["pre_tokenizer"] = {
        "type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False,
    }  # fmt: skip
    file.write_text(json.dumps(tokenizer))


def test_regular_expressions_that_panic_or_never_end(bundle, short):
    """`retry-limit-in-match` is a panic of Rust; just below it, many times over, is no end. Other text goes on."""
    split(bundle, "(a+)+$")
    codec = TextCodec(bundle)
    good = codec.encode("fine")
    for text in ("a" * 40 + "!", ("a" * 22 + "!") * 2000):
        start = time.monotonic()
        with pytest.raises(BundleError, match="cannot encode this text"):
            codec.encode(text)
        assert time.monotonic() - start < 9  # 1 second of a processor that may be shared
        assert codec.encode("fine") == good
    codec.close()


def test_a_normalizer_that_grows_without_end(bundle, short):
    file = bundle.folder / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    grow = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 1000}
    tokenizer["normalizer"] = {"type": "Sequence", "normalizers": [grow] * 9}
    file.write_text(json.dumps(tokenizer))
    with pytest.raises(BundleError, match=r"(?s)cannot encode this text.*(ended with|more than|MemoryError)"):
        TextCodec(bundle).encode("a")


@pytest.mark.parametrize("text", ["\ud800", "a\udfff", 5, None, b"Hi", ["Hi"]])
def test_prompts_that_are_no_text(codec, text):
    with pytest.raises(InputError) as found:
        codec.encode(text)
    assert not isinstance(found.value, BundleError) and "prompt" in str(found.value)
    with pytest.raises(InputError) as found:
        codec.encode_chat([{"role": "user", "content": text}] if isinstance(text, str | bytes) else text)
    assert not isinstance(found.value, BundleError)


@pytest.mark.parametrize("messages", [[], "Hi", [5], [["a"]], {"role": "user"}, [{"content": object()}], [{1j: 2}]])
def test_messages_that_are_none(codec, messages):
    with pytest.raises(InputError):
        codec.encode_chat(messages)


@pytest.mark.parametrize("ids", [[-1], [1.5], [2**32], ["a"], [True], [None]])
def test_tokens_that_are_none(codec, ids):
    with pytest.raises(InputError, match="a token id"):
        codec.decode(ids)
    with pytest.raises(InputError, match="a token id"):
        list(codec.stream(ids))


def test_an_interrupt_does_not_mix_answers(codec, monkeypatch):
    """The answer to what was interrupted is never taken for another's."""
    good, ask = codec.encode("fine"), TextProcess._answer

    def interrupted(self, request, seconds):
        ask(self, request, seconds)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TextProcess, "_answer", interrupted)
        with pytest.raises(KeyboardInterrupt):
            codec.encode("other")
    assert codec.encode("fine") == good


def test_nothing_of_the_current_folder_runs(bundle, tmp_path, monkeypatch):
    ran = tmp_path / "ran"
    here = tmp_path / "here"
    here.mkdir()
    for name in ("json", "jinja2", "tokenizers", "signal", "resource", "sitecustomize"):
        (here / f"{name}.py").write_text(f"open({str(ran)!r}, 'w')")
    monkeypatch.chdir(here)
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.syspath_prepend("")
    codec = TextCodec(bundle)
    assert codec.encode_chat(HI)
    assert not ran.exists()


def test_the_process_ends_with_the_codec(bundle):
    codec = TextCodec(bundle)
    process = codec._process._process
    assert process.poll() is None
    del codec
    assert process.wait(10) is not None


def test_a_process_that_was_killed_is_said_and_started_again(codec):
    good = codec.encode("fine")
    codec._process._process.kill()
    with pytest.raises(G4Error, match="ended with"):
        codec.encode("fine")
    assert codec.encode("fine") == good
