"""Chat tables against jinja2, for all conversations that a compile compares."""

from importlib import resources
from pathlib import Path

import pytest

from g4compile.runtime import text_process
from g4compile.runtime.text_files import special_tokens
from g4compile.text_tables.chat import chat_table
from g4compile.text_tables.chat_check import check_chat_table
from g4compile.text_tables.chat_format import decode
from g4compile.text_tables.chat_unicode import CaseTables
from g4compile.text_tables.conversations import conversations
from g4compile.text_tables.no_table import NoTable
from g4compile.text_tables.walk import walk
from g4compile.text_tables.walk_values import WalkError
from tests.runtime.test_template import GEMMA, HOSTILE
from tests.text_tables.fuzz_seeds import FOLDER, seeds

HERE, WHERE = Path(__file__).parent, Path("checkpoint")
NAMES = special_tokens({"bos_token": "<bos>", "eos_token": {"content": "<eos>"}}, None, WHERE)
TEMPLATES = {
    "synth": resources.files("g4compile.synth").joinpath("chat_template.jinja").read_text(encoding="utf-8"),
    **{name: (HERE / f"{name}.jinja").read_text(encoding="utf-8") for name in ("tools", "turns")},
}
HI = {"messages": [{"role": "user", "content": "Hi"}]}
PLAIN = "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"


def plain_table(source):
    return chat_table(source, NAMES, CaseTables())


@pytest.mark.parametrize("name", TEMPLATES)
def test_writes_what_jinja_writes(name):
    """Most conversations are rendered, by each template."""
    table = chat_table(TEMPLATES[name], NAMES)
    check_chat_table(table, TEMPLATES[name], NAMES, WHERE)
    assert len(table) < 48_000
    assert sum(isinstance(text_or_none(table, chat), str) for chat in conversations()) >= 55


def text_or_none(table, chat):
    try:
        return walk(table, chat)
    except WalkError:
        return None


def test_a_table_is_the_same_twice():
    assert chat_table(TEMPLATES["tools"], NAMES) == chat_table(TEMPLATES["tools"], NAMES)


def test_two_templates():
    both = {"default": PLAIN, "tool_use": "TOOLS" + TEMPLATES["turns"], "rag": "{% include 'not read' %}"}
    table = chat_table(both, NAMES)
    check_chat_table(table, both, NAMES, WHERE)
    assert walk(table, HI) == "<bos>user: Hi\n"
    assert walk(table, {**HI, "tools": []}).startswith("TOOLS<bos>")
    assert walk(table, {**HI, "tools": None}) == "<bos>user: Hi\n"


def test_templates_without_a_default():
    table = chat_table({"tool_use": "{{ tools | length }}"}, NAMES)
    assert walk(table, {**HI, "tools": [1, 2]}) == "2"
    with pytest.raises(WalkError, match="no chat template that is named default"):
        walk(table, HI)
    with pytest.raises(NoTable, match="no template is named default, only 'rag'"):
        chat_table({"rag": PLAIN}, NAMES)


def test_a_refusal_names_the_template():
    with pytest.raises(NoTable, match=r"^template tool_use, line 2: the filter `sort`"):
        chat_table({"default": PLAIN, "tool_use": "\n{{ messages | sort }}"}, NAMES)


def test_special_tokens_that_are_no_text():
    with pytest.raises(NoTable, match="a special token holds half of a surrogate pair"):
        chat_table("x", {"bos_token": "\ud800"}, CaseTables())


def test_variables_of_a_conversation():
    table = plain_table("{{ bos_token }}{{ x }}{{ add_generation_prompt }}{{ documents }}{{ range }}")
    assert walk(table, {**HI, "x": 1, "range": 2}) == "<bos>1TrueNone2"
    assert walk(table, {**HI, "bos_token": "B", "add_generation_prompt": False, "range": ""}) == "BFalseNone"


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ({"role": "user", "content": None}, "{'role': 'user'}"),
        ({"role": "a", "reasoning": "r"}, "{'thinking': 'r', 'role': 'a', 'reasoning': 'r', 'reasoning_content': 'r'}"),
        ({"thinking": "t", "role": "a"}, "{'thinking': 't', 'role': 'a', 'reasoning_content': 't'}"),
        (
            {"reasoning_content": "c", "thinking": "t", "reasoning": "r"},
            "{'thinking': 't', 'reasoning_content': 'c', 'reasoning': 'r'}",
        ),
        ({"thinking": None, "reasoning": ""}, "{'thinking': '', 'reasoning': '', 'reasoning_content': ''}"),
    ],
)
def test_messages_as_templates_read_them(message, shown):
    assert walk(plain_table("{{ messages[0] }}"), {"messages": [message]}) == shown


def test_a_difference_is_told_with_both_texts():
    other = plain_table(PLAIN.replace("m.role }}:", "m.role }};"))
    with pytest.raises(
        NoTable, match=r"^conversation 0 \(user\) differs at character 9: '<bos>user; Hi\\n' by the tab"
    ):
        check_chat_table(other, PLAIN, NAMES, WHERE)
    long = plain_table("a" * 99 + "b" + "c" * 99)
    with pytest.raises(
        NoTable, match=r"character 99: \.\.\.'a{40}bc{39}'\.\.\. by the table, \.\.\.'a{40}dc{39}'\.\.\. by"
    ):
        check_chat_table(long, "a" * 99 + "d" + "c" * 99, NAMES, WHERE)


def test_what_one_of_both_cannot_render():
    fails = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}x"
    with pytest.raises(
        NoTable, match=r"^conversation 2 \(system, user\) is rendered by the table, but not by jinja2: 'no s"
    ):
        check_chat_table(plain_table("x"), fails, NAMES, WHERE)
    with pytest.raises(
        NoTable, match=r"conversation 2 .*is rendered by jinja2, but not by the table: 'no system \(line 1\)'"
    ):
        check_chat_table(plain_table(fails), "x", NAMES, WHERE)


def test_a_template_that_renders_nothing():
    fails = "{{ raise_exception('never') }}"
    with pytest.raises(NoTable, match="jinja2 renders no conversation"):
        check_chat_table(plain_table(fails), fails, NAMES, WHERE)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_template_has_no_table(name, monkeypatch):
    """It is refused, or jinja2's process is ended at the first conversation, or nothing is rendered."""
    monkeypatch.setattr(text_process, "_SECONDS", 0.5)
    with pytest.raises(NoTable):
        check_chat_table(plain_table(HOSTILE[name]), HOSTILE[name], NAMES, WHERE)


DEEP = "{% if false %}" + "{% for a in b %}" * 25 + "{% endfor %}" * 25 + "{% endif %}"


@pytest.mark.parametrize("source", [
    "{% set n = namespace(l='a') %}{% set l = n.l * 4000000 %}{{ l.strip('b' * 4000000 ~ n.l) }}",
    "{% set n = namespace(l=[]) %}{% for i in range(500) %}{% set n.l = n.l + [[1] * 1000000] %}{% endfor %}",
], ids=["time", "memory"])  # fmt: skip
def test_a_walk_has_limits_too(source, monkeypatch):
    """Jinja's code of loops in each other Python does not compile, so that jinja2 fails at once."""
    monkeypatch.setattr(text_process, "_SECONDS", 1.5)
    with pytest.raises(NoTable, match=r"takes too much: it took more than|takes too much: .*of memory|MemoryError"):
        check_chat_table(plain_table(DEEP + source), DEEP + source, NAMES, WHERE)


def test_a_template_of_many_constructs_is_refused_for_its_time():
    with pytest.raises(NoTable, match=r"`strftime_now`"):
        chat_table(GEMMA, NAMES)
    without = GEMMA.replace("{{- strftime_now('%Y') | length -}}", "").replace("dict.fromkeys('ab', 2)", "dict(b=2)")
    check_chat_table(chat_table(without, NAMES), without, NAMES, WHERE)


def test_a_table_is_read_as_it_was_written():
    program = decode(chat_table(TEMPLATES["tools"], NAMES))
    assert program.variables == NAMES and program.templates == {"default": 0}
    assert [one.name for one in program.routines][:3] == ["template", "quoted", "argument"]
    assert program.routines[2].parameters == ("value", "names_quoted")
    with pytest.raises(ValueError, match="no chat table"):
        decode(b"G4CHAT\0\0" + bytes(500))


def test_the_fuzzer_starts_from_tables_of_this_version():
    assert {file.name: file.read_bytes() for file in FOLDER.iterdir()} == seeds()
    assert sum(map(len, seeds().values())) < 20_000
