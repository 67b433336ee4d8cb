"""What the walker in Python takes of time and memory has an end."""

import time

import pytest

from g4compile.text_tables.chat import chat_table
from g4compile.text_tables.chat_unicode import CaseTables
from g4compile.text_tables.walk import walk
from g4compile.text_tables.walk_values import WalkError

HI = {"messages": [{"role": "user", "content": "Hi"}]}
GROWS = "{% set n = namespace(x='ab') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}"
ENDLESS = {
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}": "too many steps",
    "{% for a in range(99999) %}{% set x = range(99999) | list %}{% endfor %}": "too (many steps|long)",
    "{{ range(99999) | map('string') | select('in', range(99999) | map('string') | list) | list | length }}": "too ",
    GROWS: "texts that are too long",
    GROWS.replace("'ab'", "[1]").replace("~", "+"): "lists that are too long|texts that are too long",
    "{% set n = namespace(x='a' * 9999999) %}{% for i in range(999) %}{% set n.x = n.x[1:] %}{% endfor %}": "too long",
    "{{ 'a' * 10 * 99999999 }}": "too long",
    "{{ [1] * 99999999 }}": "too long",
    "{{ ('a' * 9999999).replace('a', 'aaaa') }}": "too long",
    "{{ ('ab' * 4999999) | replace('', '--') }}": "too long",
    "{{ ('a ' * 2999999).split() | length }}": "too long",
    "{{ ('a,' * 2999999).split(',') | length }}": "too long",
    "{{ ('a' * 2999999) | list | length }}": "too (many steps|long)",
    "{{ ['a' * 999999] * 999 }}": "too long",
    "{{ (['a' * 999999] * 999) | join }}": "too long",
    "{{ ','.join(['a' * 999999] * 999) }}": "too long",
    "{{ (['a' * 999999] * 999) | tojson }}": "too long",
    "{% for a in range(9) %}{{ 'a' * 9999999 }}{% endfor %}": "writes more than 16,777,216 characters",
    "{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}": "more than 200 macros in each other",
    "{% set n = namespace(x=1) %}{% for i in range(9999) %}{% set n.x = [n.x] %}{% endfor %}"
    "{{ n.x }}": "nested too deep",
    "{% set n = namespace(x=1) %}{% for i in range(9999) %}{% set n.x = [n.x] %}{% endfor %}"
    "{{ n.x == [n.x] }}": "nested",
}


@pytest.mark.parametrize("source", ENDLESS)
def test_an_end(source):
    table, start = chat_table(source, {}, CaseTables()), time.process_time()
    with pytest.raises(WalkError, match=ENDLESS[source]):
        walk(table, HI, 1 << 18)
    assert time.process_time() - start < 30  # the longest takes a few


def test_what_is_not_too_much():
    source = "{% macro m(n) %}{{ m(n - 1) if n else 'end' }}{% endmacro %}{{ m(190) }}{{ ('ab' * 4000000) | length }}"
    assert walk(chat_table(source, {}, CaseTables()), HI) == "end8000000"
    assert len(walk(chat_table("{{ 'a' * 16777216 }}", {}, CaseTables()), HI)) == 1 << 24
