"""Chat tables in C++: what the walker in Python writes, and what conversations and tables may be."""

from __future__ import annotations

import json
import os
import random
import struct
import sys
import time

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from g4compile.text_tables.chat import chat_table
from g4compile.text_tables.chat_unicode import CaseTables
from g4compile.text_tables.conversations import conversations
from g4compile.text_tables.no_table import NoTable
from g4compile.text_tables.walk import walk
from g4compile.text_tables.walk_values import WalkError
from tests.native.rt.chat import BAD_ARGUMENT, BAD_BUNDLE, UNSUPPORTED, Failed
from tests.text_tables.random_templates import VALUES, templates
from tests.text_tables.test_chat import HI, NAMES, TEMPLATES
from tests.text_tables.test_chat_scopes import FAIL, GIVEN, MESSAGES, SAME
from tests.text_tables.test_walk_limits import ENDLESS

STEPS = 1 << 20
LARGEST = sys.float_info.max


@pytest.mark.parametrize("name", TEMPLATES)
def test_writes_what_python_writes(chat, name):
    table = chat_table(TEMPLATES[name], NAMES)
    rendered = 0
    for conversation in conversations():
        try:
            want = walk(table, conversation)
        except WalkError as error:
            with pytest.raises(Failed) as found:
                chat.render(table, conversation)
            assert found.value.status == BAD_ARGUMENT
            if error.refused:
                assert str(error).removesuffix(")") in str(found.value)
        else:
            assert chat.render(table, conversation) == want
            rendered += 1
    assert rendered >= 55


@pytest.mark.parametrize("source", SAME)
def test_scopes_and_loops(chat, source):
    table, conversation = chat_table(source, {}), {"messages": MESSAGES, **GIVEN}
    assert chat.render(table, conversation) == walk(table, conversation)


@pytest.mark.parametrize("source", FAIL)
def test_fails_too(chat, source):
    with pytest.raises(
        Failed, match=r"(?s)^the chat template cannot be rendered for this conversation: .+ \(line 1 of"
    ) as found:
        chat.render(chat_table(source, {}, CaseTables()), {"messages": MESSAGES, **GIVEN})
    assert found.value.status == BAD_ARGUMENT


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(templates())
def test_random_templates(chat, drawn):
    """Equal; or the one in C++ refuses what has the largest number, whose text may mean more than that."""
    source, variables = drawn
    try:
        table = chat_table(source, {})
    except NoTable:
        return
    conversation = {"messages": MESSAGES, **variables}
    try:
        want = walk(table, conversation, STEPS)
    except WalkError:
        want = None
    try:
        found = chat.render(table, conversation, STEPS)
    except Failed as error:
        assert error.status == BAD_ARGUMENT
        assert want is None or "is too large" in str(error)
    else:
        assert found == want


@settings(max_examples=200, deadline=None)
@given(VALUES)
@example([10**30, -(10**30), 0.1, -0.0, 1e22, 5e-324, "\x00\u2028'\"\\"])
def test_texts_of_values(chat, value):
    source = "{{ v }}|{{ v | tojson }}|{{ v | tojson(indent=3, ensure_ascii=true, sort_keys=true) }}|{{ [v] }}"
    table, conversation = chat_table(source, {}), {"messages": MESSAGES, "v": value}
    if str(LARGEST) not in json.dumps(value):
        assert chat.render(table, conversation) == walk(table, conversation)


@settings(max_examples=2000, deadline=None)
@given(st.floats())
@example(2.0**-44)  # the nearest of 16 digits means another number, the next one does not
@example(9007199254740993.0)
@example(5e-324)
@example(LARGEST)
@example(1e16)
@example(9999999999999998.0)
@example(0.0001)
@example(0.00001)
@example(1e22)
@example(1e23)
def test_floats_as_python_writes_them(chat, number):
    assert chat.shown(number) == repr(number)


def test_all_floats_near_powers_of_two(chat):
    for power in range(-1074, 1024):
        for number in (2.0**power, 2.0**power * (1 - 2**-53), 2.0**power * (1 + 2**-52)):
            assert chat.shown(number) == repr(number)


def test_all_characters(chat):
    """Cases, `repr` and white space of each character, and a capital sigma behind and between."""
    source = (
        "{% for c in v %}{{ c | upper }}\t{{ c | lower }}\t{{ c | capitalize }}\t{{ [c] }}\t{{ (c ~ 'Σ') | lower }}\t"
        "{{ ('aΣ' ~ c) | lower }}\t{{ ('a' ~ c ~ 'Σb') | capitalize }}\t{{ c.strip() }}\t"
        "{{ c.split() | length }}\n{% endfor %}"
    )
    table = chat_table(source, {})

    def shown(c):
        sigma = f"{(c + 'Σ').lower()}\t{('aΣ' + c).lower()}\t{f'a{c}Σb'.capitalize()}"
        return f"{c.upper()}\t{c.lower()}\t{c.capitalize()}\t{[c]}\t{sigma}\t{c.strip()}\t{len(c.split())}\n"

    for plane in range(0, sys.maxunicode, 1 << 15):
        text = "".join(chr(c) for c in range(plane, plane + (1 << 15)) if not 0xD800 <= c < 0xE000)
        found = chat.render(table, {"messages": MESSAGES, "v": text}, 1 << 26)
        assert found == "".join(map(shown, text))


def test_without_tables_of_letters_others_than_ascii_are_refused(chat):
    table = chat_table("{{ messages[0].content | upper }}{{ messages[0].content.lower() }}", {}, CaseTables())
    assert chat.render(table, {"messages": [{"content": "aBc"}]}) == "ABCabc"
    with pytest.raises(Failed, match="knows no characters beyond ASCII") as found:
        chat.render(table, {"messages": [{"content": "ä"}]})
    assert found.value.status == UNSUPPORTED


@pytest.mark.parametrize("source", ENDLESS)
def test_an_end(chat, source):
    table, start = chat_table(source, {}, CaseTables()), time.process_time()
    with pytest.raises(Failed) as found:
        chat.render(table, HI)
    assert found.value.status == BAD_ARGUMENT
    if "LD_PRELOAD" not in os.environ:  # a library that checks every read takes its time
        assert time.process_time() - start < 10  # the longest takes one


def test_as_many_values_as_one_instruction_takes(chat):
    source = "{% for a in [1, 2] %}{{ a ~ ([0, 0, [" + "1, " * ((1 << 16) - 1) + "]] | last | length) }} {% endfor %}"
    assert chat.render(chat_table(source, {}, CaseTables()), HI) == "165535 265535 "


def test_what_is_not_too_much(chat):
    source = "{% macro m(n) %}{{ m(n - 1) if n else 'end' }}{% endmacro %}{{ m(190) }}{{ ('ab' * 4000000) | length }}"
    assert chat.render(chat_table(source, {}, CaseTables()), HI) == "end8000000"
    assert len(chat.render(chat_table("{{ 'a' * 16777216 }}", {}, CaseTables()), HI)) == 1 << 24
    with pytest.raises(Failed, match="more than 16777216 characters"):
        chat.render(chat_table("{{ 'ä' * 16777216 }}{{ 1 }}", {}, CaseTables()), HI)


def test_two_templates(chat):
    table = chat_table({"default": "d", "tool_use": "{{ tools | length }}"}, {}, CaseTables())
    assert chat.render(table, HI) == chat.render(table, {**HI, "tools": None}) == "d"
    assert chat.render(table, {**HI, "tools": [1, 2]}) == "2"
    with pytest.raises(Failed, match="no chat template that is named default") as found:
        chat.render(chat_table({"tool_use": "x"}, {}, CaseTables()), HI)
    assert found.value.status == UNSUPPORTED


@pytest.mark.parametrize(
    ("conversation", "words"),
    [
        (b"[]", "an object with `messages`"),
        (b"{}", "an object with `messages`"),
        (b'{"messages": []}', "at least one message"),
        (b'{"messages": {"role": "user"}}', "an object with `messages`"),
        (b'{"messages": ["Hi"]}', "an entry of `messages` is no object"),
        (b'{"messages": [{}], "x": 1e400}', "the number 1e400 is too large"),
        (b'{"messages": [{"a": "\\ud800"}]}', "half of a surrogate pair"),
        (b'{"messages": [{"a": ' + b"[" * 99 + b"]" * 99 + b"}]}", "nested too deep"),
    ],
)
def test_conversations_that_are_none(chat, conversation, words):
    with pytest.raises(Failed, match=words) as found:
        chat.render(chat_table("x", {}, CaseTables()), conversation)
    assert found.value.status == BAD_ARGUMENT


def heads(table):
    """(place, bytes) of each section."""
    count = (struct.unpack_from("<I", table, 16)[0] - 16) // 8
    return [struct.unpack_from("<II", table, 16 + 8 * i) for i in range(count)]


@pytest.fixture(scope="module")
def small():
    """A table without letters, and conversations that reach much of it."""
    return chat_table(TEMPLATES["tools"], NAMES, CaseTables()), [conversations()[i] for i in (0, 27, 42, 55)]


def text_or_failure(chat, table, conversation):
    try:
        chat.render(table, conversation, 100_000)
    except Failed as error:
        assert error.status in (BAD_ARGUMENT, BAD_BUNDLE, UNSUPPORTED) and str(error)
        return error.status
    return 0


def test_tables_that_end_early(chat, small):
    table, (hi, *_) = small
    for size in [*range(0, 400), *range(400, len(table), 97)]:
        assert text_or_failure(chat, table[:size], hi) == BAD_BUNDLE
    assert text_or_failure(chat, table + b"\0", hi) == BAD_BUNDLE


def test_tables_with_changed_bytes(chat, small):
    """A few of each section, the head and the code above all: text or a failure, and never a crash."""
    table, chats = small
    draw, told = random.Random(7), set()
    places = [*range(16 + 8 * len(heads(table)))] * 2
    for at, size in heads(table):
        places += [at + draw.randrange(size) for _ in range(min(size, 60))]
    code, size = heads(table)[7]
    places += [code + draw.randrange(size) for _ in range(600)]
    for number, place in enumerate(places):
        changed = bytearray(table)
        changed[place] = draw.choice((0, 1, 255, draw.randrange(256), changed[place] ^ 1 << draw.randrange(8)))
        told.add(text_or_failure(chat, bytes(changed), chats[number % len(chats)]))
    assert told >= {0, BAD_ARGUMENT, BAD_BUNDLE}


def test_code_that_does_not_fit_its_stack(chat):
    """Each instruction alone, in the place of the first one of a program that has nothing on its stack."""
    table = chat_table("{{ 1 }}{{ 2 }}", {}, CaseTables())
    at = heads(table)[7][0]
    for op in range(256):
        for x in (0, 1, 2, 255):
            for z in (0, 1, 5, 0xFFFFFFFF):
                changed = table[:at] + struct.pack("<BBHI", op, x, 0, z) + table[at + 8 :]
                status = text_or_failure(chat, changed, HI)
                if op in (0, *range(52, 256)):
                    assert status == BAD_BUNDLE


def test_a_loop_of_jumps_ends(chat):
    table = chat_table("{% if x %}a{% endif %}", {}, CaseTables())
    at = heads(table)[7][0]
    with pytest.raises(Failed, match="too many steps"):
        chat.render(table[:at] + struct.pack("<BBHI", 24, 0, 0, 0) + table[at + 8 :], HI)
