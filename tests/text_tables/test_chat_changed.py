"""Templates with a word, a line or a character changed: no table, or one that writes what jinja2 writes."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from g4compile.runtime import text_process
from g4compile.runtime.text_process import TextProcess
from g4compile.text_tables import chat_check
from g4compile.text_tables.chat import chat_table
from g4compile.text_tables.chat_unicode import CaseTables
from g4compile.text_tables.conversations import conversations
from g4compile.text_tables.no_table import NoTable
from tests.fuzz.mutate import mutate_text, several
from tests.text_tables.test_chat import NAMES, TEMPLATES

WORDS = [
    *("{%", "%}", "{{", "}}", "{%-", "-%}", "{{-", "-}}", "for", "if", "elif", "else", "set", "macro", "endfor"),
    *("namespace", "range", "message", "messages", "rest", "turns", "role", "content", "tool_calls", "loop.last"),
    *("loop.index0", "dictsort", "upper", "trim", "length", "default([])", "tojson", "is string", "is mapping"),
    *("is sequence", "is defined", "==", "!=", "+", "~", "and", "or", "not", "[0]", "[1:]", ".get", "ns.last", "key"),
    *("not in", "endif", "value"),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:invalid escape sequence")  # of a text in a template
@pytest.mark.parametrize("part", range(4))
def test_no_table_or_the_same(part, monkeypatch):
    monkeypatch.setattr(text_process, "_SECONDS", 0.5)
    process, chats, made = TextProcess(None, Path("checkpoint"), chat_check._CHILD), conversations(), 0
    for seed in range(60 * part, 60 * part + 60):
        draw = random.Random(seed)
        source = several(draw, mutate_text, draw.choice(list(TEMPLATES.values())), WORDS)
        try:
            table = chat_table(source, NAMES, CaseTables())
        except NoTable:
            continue
        made += 1
        for number in draw.sample(range(len(chats)), 4):
            want = chat_check._by_jinja(process, source, NAMES, chats[number])
            if process.running:  # else jinja2 took too long
                found = chat_check._by_table(process, table, chats[number])
                if process.running:
                    chat_check._compare(number, chats[number], want, found)
    process.close()
    assert made >= 5
