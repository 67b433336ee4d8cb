"""Scopes, loops and calls as Jinja has them, its odd ends included: by the walker, against jinja2."""

import pytest

from g4compile.runtime.template import render
from g4compile.text_tables.chat import chat_table
from g4compile.text_tables.chat_unicode import CaseTables
from g4compile.text_tables.walk import walk
from g4compile.text_tables.walk_values import WalkError

MESSAGES = [
    {"role": "user", "content": "Hi", "n": 1},
    {"role": "model", "content": "Yo", "n": 2},
    {"role": "user", "n": 3},
]
GIVEN = {"tools": None, "y": "given", "d": {"b": 1, "a": [2]}, "text": "abc"}
SAME = [
    # A variable of a loop ends with its turn; it begins as the outer one, each time.
    "{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = x + i %}{{ x }},{% endfor %}{{ x }}",
    "{% for i in [1, 2] %}{{ y }}{% set y = i %}{{ y }}{% endfor %}{{ y }}",
    "{% for i in [0, 1] %}{% if i %}{% set y = i %}{% endif %}{{ y }}{% endfor %}{{ y }}",
    "{% for i in [0, 1] %}{% if i %}{% set y = 1 %}{% elif i == 2 %}{% set y = 2 %}{% else %}{% set y = 3 %}"
    "{% endif %}{{ y }}"
    "{% endfor %}",
    "{% if false %}{% set y = 1 %}{% endif %}{{ y }}",
    "{% if not z is defined %}{% set z = 'set' %}{% endif %}{{ z }}",
    "{% for y in [1] %}{% endfor %}{{ y }}{% for y in [1, 2] %}{{ y }}{% endfor %}{{ y }}",
    "{% for i in [1] %}{% set q = 5 %}{% for j in [1] %}{{ q }}{% set q = 6 %}{{ q }}{% endfor %}{{ q }}"
    "{% endfor %}{{ q }}",
    "{{ late }}{% for i in [1] %}{{ late }}{% endfor %}{% set late = 1 %}{% for i in [1] %}{{ late }}{% endfor %}",
    # Macros see the template's variables as they are when they are called, and later macros.
    "{% macro m() %}{{ x }}{% endmacro %}{{ m() }}{% set x = 1 %}{{ m() }}{% set x = 2 %}{{ m() }}",
    "{% macro a(n) %}{{ n }}{{ b(n - 1) if n }}{% endmacro %}{% macro b(n) %}.{{ a(n) }}{% endmacro %}{{ a(3) }}",
    "{% macro m(a, b=a ~ '!', c=b) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }}{{ m(1, c=2) }}"
    "{{ m(b=3, a=4) }}{{ m() }}",
    "{% macro m(x) %}{{ y }}{% set y = x %}{{ y }}{% endmacro %}{{ m(1) }}{{ y }}",
    "{% set y = 1 %}{% macro m(x) %}{% if x %}{% set y = x %}{% endif %}{{ y }}{% endmacro %}{{ m(0) }}"
    "{{ m(2) }}{{ y }}",
    "{% if true %}{% macro m() %}in an if{% endmacro %}{% endif %}{{ m() }}{{ m is defined }}{{ 1 if m }}",
    "{% macro m(q) %}{{ q is defined }}{{ q }}{% endmacro %}{{ m(nothing) }}{{ m() }}",
    "{% macro m(loop) %}a{% endmacro %}{% for i in [1] %}{{ loop.index }}{{ m(i) }}{% endfor %}",
    # Loops.
    "{% for i in [1, 2, 3] %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% else %}none{% endfor %}",
    "{% for i in [1, 2] %}{% continue %}{% else %}no turn came to its end{% endfor %}",
    "{% for i in [1] %}{% break %}{% else %}nor this one{% endfor %}",
    "{% for i in [1, 2] %}{% if i == 2 %}{% break %}{% endif %}{% else %}one did{% endfor %}",
    "{% for i in [] %}{% else %}{% for j in [1, 2] %}{{ j }}{{ loop.last }}{% endfor %}{% endfor %}",
    "{% for m in messages %}{% for k in m %}{{ loop.index }}{{ k }}{% endfor %}{{ loop.index }}"
    "{{ (loop.previtem or d).n }}"
    "{{ (loop.nextitem or d).n }}{{ loop.revindex0 }}{{ loop.depth }}{{ loop.length }};{% endfor %}",
    "{% for m in messages if m.role == 'user' %}{{ loop.index }}/{{ loop.length }}{{ loop.last }}"
    "{{ loop.previtem }}{% endfor %}",
    "{% for k, v in [(1, [2]), [3, 4], 'ab'] if v %}{{ k }}{{ v }}{{ loop.previtem }}{{ loop.nextitem }}{% endfor %}",
    "{% for k, (a, b) in [(1, (2, 3))] if a %}{{ k }}{{ a }}{{ b }}{{ loop.last }}{% endfor %}",
    # The test of a loop runs as its items are asked for.
    "{% set n = namespace(x=0) %}{% for i in range(9) if i >= n.x %}{% set n.x = i + 2 %}{{ i }},{% endfor %}",
    "{% set n = namespace(x=0) %}{% for i in range(9) if i >= n.x %}{{ loop.last }}{% set n.x = i + 2 %}"
    "{{ i }},{% endfor %}",
    "{% set n = namespace(x=0) %}{% for i in range(9) if i >= n.x %}{{ loop.length }}{% set n.x = 99 %}"
    "{{ i }},{% endfor %}",
    "{% for i in [d, 2, none] if i.b.c is not defined %}{{ i }}{% break %}{% endfor %}",
    "{% for i in [1, 2] %}{% for j in [1, 2, 3] if j != i %}{{ i }}{{ j }}{% if loop.last %}!{% endif %}"
    "{% endfor %}{% endfor %}",
    "{% for i in [3, 1, 2] if i > 1 %}{% for j in [1, 2] if j %}{{ i }}{{ j }}{{ loop.last }}{% endfor %}"
    "{{ loop.last }}{% endfor %}",
    "{% for i in [1, 2, 3, 4] if i is odd %}{% for j in [5] %}{{ loop.last }}{% endfor %}{{ loop.nextitem }}"
    "{% endfor %}",
    "{% set i = 7 %}{% for j in [i] if i == 7 %}{% for i in [i, 8] if i > 6 %}{{ i }}{% endfor %}{{ i }}{% endfor %}",
    "{% for m in messages | selectattr('n', 'gt', 1) | rejectattr('content') %}{{ m.n }}{{ loop.length }}{% endfor %}",
    "{% set g = messages | map(attribute='n') %}{{ g | first }}{{ g | list }}{{ g | list }}",
    "{{ messages | map(attribute='content.0', default='?') | join }}"
    "{{ messages | selectattr('content') | list | length }}",
    # Blocks.
    "{% set x %}{% set y = 1 %}a{{ y }}{% endset %}{{ x }}{{ y }}{{ x is string }}",
    "{% set x | upper | replace('A', 'b') %}a{{ y }}{% endset %}{{ x }}",
    "{% set n = namespace(x='') %}{% set n.x %}in {{ n.x }}it{% endset %}{{ n.x }}",
    "{% for i in [1, 2] %}{% set x %}a{% set z %}b{% if i == 1 %}{% continue %}{% endif %}c{% endset %}{{ z }}"
    "{% endset %}{{ x }}"
    "{% endfor %}",
    "{% generation %}{% set x = 1 %}{{ x }}{{ y }}{% endgeneration %}{{ x }}",
    "{% for i in [1, 2] %}{% generation %}{{ loop.index }}{% for j in [1, 2] %}{% break %}{% endfor %}"
    "{% endgeneration %}{% endfor %}",
    "{% set a, b = [1, 2] %}{{ a }}{{ b }}{% set n = namespace() %}{% set n.a, b, n.c = (1, 2, 3) %}{{ n.a }}"
    "{{ b }}{{ n.c }}",
    # White space of blocks.
    "a\n   {% if true %}\n b \n   {%- endif %}\n\n{{ y -}}\n c{#- d -#} e\n{%+ if true %} f{% endif +%}\ng\n",
    # Values.
    "{{ d.items() | list }}{{ d.items is mapping }}{{ d.items is defined }}{{ d.a.b is defined }}{{ d[1] is defined }}",
    "{{ 1 < 2 < 3 }}{{ 1 < 2 > 5 }}{{ 3 > 2 >= 2 != 4 }}{{ 2 > 1 in [1] }}{{ 1 if 2 < 1 < 0 else 'no' }}",
    "{{ text[0] }}{{ text[-1] }}{{ text[1:] }}{{ text[::-1] }}{{ text[5] }}{{ text.upper() }}{{ text['x'] }}"
    "{{ text.x }}",
    "{{ nothing or 'a' }}{{ nothing and 'a' }}{{ 0 or [] or 'b' }}{{ 1 and 2 }}{{ not nothing }}"
    "{{ nothing == nothing2 }}",
    "{{ ('a' 'b') ~ 1 ~ none ~ true ~ 2.0 ~ nothing ~ [nothing, 'x'] }}",
    "{{ [1, 2.0, 'a\\'', \"b\\\"\", none, (1,), {'k': {}}] }}{{ () }}{{ range(3) }}{{ range(0, 9, 2) | list }}",
    "{{ range(-9000000000000000000, 9000000000000000000, 4611686018427387904) | list }}",
    "{% set n = namespace(d, c=1) %}{{ n.a }}{{ n['b'] }}{{ n.c }}{{ n.x is defined }}{{ n == n }}"
    "{% set n.b = n %}{{ 1 if n.b }}",
    "{{ dict(d, b=2, c=3) }}{{ dict() }}",
    "{{ '<&>' | tojson }}{{ d | tojson(indent=2) }}{{ 'é\\n' | tojson(ensure_ascii=true) }}{{ d | safe }}",
]
FAIL = [
    "{{ nothing.x }}",
    "{{ nothing['x'] }}",
    "{{ nothing() }}",
    "{{ nothing + 1 }}",
    "{{ y.a.b }}",
    "{{ 1 + 'a' }}",
    "{{ 1 / 0 }}",
    "{{ [] < 1 }}",
    "{{ 1 in 2 }}",
    "{{ 1 in 'a' }}",
    "{{ [] in d }}",
    "{{ d < d }}",
    "{{ -text }}",
    "{{ 5 | length }}",
    "{{ 5 | list }}",
    "{{ text | dictsort }}",
    "{{ d | dictsort(by='x') }}",
    "{{ {'a': 1, 'b': 'x'} | dictsort(by='value') }}",
    "{{ d.items() | tojson }}",
    "{{ nothing | tojson }}",
    "{{ text.split('') }}",
    "{{ ', '.join([1]) }}",
    "{{ text.startswith(1) }}",
    "{{ text.get('a') }}",
    "{{ y.items() }}",
    "{{ d.get([]) }}",
    "{{ text[1:2:0] }}",
    "{{ text['a':] }}",
    "{{ d[1:] }}",
    "{{ range(100001) }}",
    "{{ range(1, 2, 0) }}",
    "{{ range('a') }}",
    "{{ raise_exception() }}",
    "{{ text(1) }}",
    "{% for a in 5 %}{% endfor %}",
    "{% for a, b in [1] %}{% endfor %}",
    "{% set a, b = [1] %}",
    "{% set d.x = 1 %}",
    "{% set n = namespace(_x=1) %}",
    "{% set n = namespace() %}{% set n.__class__ = 1 %}",
    "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}",
    "{% macro m(a) %}{% endmacro %}{{ m(b=2) }}",
    "{% macro m(a) %}{% endmacro %}{{ m(1, a=2) }}",
    "{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}",
    "{{ later() }}{% macro later() %}{% endmacro %}",
]


def both(source):
    table = chat_table(source, {}, CaseTables())
    return lambda: walk(table, {"messages": MESSAGES, **GIVEN}), lambda: render(source, MESSAGES, None, {**GIVEN})


@pytest.mark.parametrize("source", SAME)
def test_is_the_same(source):
    ours, theirs = both(source)
    assert ours() == theirs()


@pytest.mark.parametrize("source", FAIL)
def test_fails_too(source):
    ours, theirs = both(source)
    with pytest.raises(WalkError, match=r".+ \(line 1\)$"):
        ours()
    with pytest.raises(Exception):  # noqa: B017, whatever Python raises
        theirs()


def test_words_of_the_template():
    with pytest.raises(WalkError, match=r"^not for Ümit \(line 2\)$") as found:
        both("\n{{ raise_exception('not for ' ~ 'Ümit') }}")[0]()
    assert found.value.refused
    with pytest.raises(WalkError, match=r"^'nothing' is undefined \(line 1\)$") as found:
        both("{{ nothing.x }}")[0]()
    assert not found.value.refused
