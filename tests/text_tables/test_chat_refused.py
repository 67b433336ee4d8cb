"""What chat tables do not have is refused when they are made, with its line."""

import re

import pytest

from g4compile.text_tables.chat import chat_table
from g4compile.text_tables.chat_unicode import CaseTables
from g4compile.text_tables.no_table import NoTable

REFUSED = {
    "{% for %}": "Expected",
    "{{ 1 | }}": "expected token",
    "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}": "the template is nested too deep",
    "{{ 1" + " + 1" * 3000 + " }}": "the template is nested too deep",
    "{{ 2 ** 3 }}": "the operator `**`",
    "{{ strftime_now('%Y') }}": "`strftime_now`",
    "{{ strftime_now is defined }}": "`strftime_now`",
    "{{ cycler('a') }}": "`cycler`",
    "{{ lipsum() }}": "`lipsum`",
    "{{ joiner() }}": "`joiner`",
    "{{ self.x }}": "`self`",
    "{{ super() }}": "`super`",
    "{{ loop.index }}": "`loop` outside of a loop",
    "{% for x in [1] %}{{ x }}{% else %}{{ loop.index }}{% endfor %}": "`loop` outside of a loop",
    "{% for x in [1] if loop.first %}{{ x }}{% endfor %}": "`loop` outside of a loop",
    "{% macro m() %}{{ loop.index }}{% endmacro %}{% for x in [1] %}{{ loop.index ~ m() }}"
    "{% endfor %}": "outside of a loop",
    "{% for x in [1] %}{{ loop }}{% endfor %}": "`loop` other than for one of its attributes",
    "{% for x in [1] %}{{ loop.cycle(1, 2) }}{% endfor %}": "the method `cycle`",
    "{% for x in [1] %}{{ loop.Index }}{% endfor %}": "`loop.Index`",
    "{% for x in [1] %}{{ loop.changed }}{% endfor %}": "`loop.changed`",
    "{% for x in [1] %}{% set loop = 1 %}{{ loop.index }}{% endfor %}": "a variable with the name `loop`",
    "{% for x in [1] recursive %}{{ loop(x) }}{% endfor %}": "a recursive loop",
    "{% for x in y %}" * 31 + "{% endfor %}" * 31: "more than 30 loops in each other",
    "{% break %}": "`break` where no loop is",
    "{% for x in [1] %}{% generation %}{% continue %}{% endgeneration %}{% endfor %}": "`continue` where no loop is",
    "{% macro m() %}{% break %}{% endmacro %}": "`break` where no loop is",
    "{% for x in [1] %}{% macro m() %}{% endmacro %}{% endfor %}": "the macro `m` in a loop",
    "{% macro m() %}{% macro n() %}{% endmacro %}{% endmacro %}": "the macro `n` in a loop, a block or a macro",
    "{% macro m(a, a) %}{% endmacro %}": "a macro with one parameter twice",
    "{% macro m(caller=1) %}{% endmacro %}": "`caller` in a macro",
    "{% macro m() %}{{ varargs }}{% endmacro %}": "`varargs` in a macro",
    "{% macro m() %}{{ kwargs }}{% endmacro %}": "`kwargs` in a macro",
    "{{ varargs }}": "`varargs`",
    "{% macro m(" + ", ".join(f"a{i}" for i in range(101)) + ") %}{% endmacro %}": "more than 100 parameters",
    "{% call m() %}x{% endcall %}": "a `call` block",
    "{% generation %}{{ caller() }}{% endgeneration %}": "`caller` in a macro or block",
    "{% include 'x' %}": "a statement of the kind Include",
    "{% extends 'x' %}": "a statement of the kind Extends",
    "{% import 'x' as y %}": "a statement of the kind Import",
    "{% block b %}{% endblock %}": "a statement of the kind Block",
    "{% with a = 1 %}{% endwith %}": "a statement of the kind With",
    "{% filter upper %}x{% endfilter %}": "a statement of the kind FilterBlock",
    "{% autoescape true %}x{% endautoescape %}": "autoescape",
    "{{ messages | sort }}": "the filter `sort`",
    "{{ messages | map('sort') | list }}": "the filter `sort`",
    "{{ messages | map(x) | list }}": "the name of a filter that is computed",
    "{{ messages | map | list }}": "`map` with neither a filter nor an attribute",
    "{{ messages | map(attribute=x) | list }}": "an attribute's name that is computed",
    "{{ messages | map(attribute='²') | list }}": "the attribute `²`",
    "{{ messages | select(x) | list }}": "the name of a test that is computed",
    "{{ messages | select('truth') | list }}": "the test `truth`",
    "{{ messages | select('lower') | list }}": "the test `lower`",
    "{{ messages | select(a=1) | list }}": "the filter `select` with named arguments",
    "{{ messages | selectattr | list }}": "the filter `selectattr` without an attribute",
    "{{ messages | join(attribute=none) }}": "an attribute's name that is computed",
    "{{ ('a' | safe) ~ 'b' }}": "the filter `safe` where its text is not written at once",
    "{{ 'a' | safe | upper }}": "the filter `safe`",
    "{% set x | safe %}a{% endset %}": "the filter `safe`",
    "{{ 'a' | upper(1) }}": "arguments that do not fit",
    "{{ 'a' | replace('b') }}": "arguments that do not fit",
    "{{ 'a' | trim(x=1) }}": "arguments that do not fit",
    "{{ 'a' | trim('b', chars='c') }}": "arguments that do not fit",
    "{{ 'a' | tojson(*x) }}": "the filter `tojson` with arguments that are unpacked",
    "{{ m(**x) }}": "the call of `m` with arguments that are unpacked",
    "{{ m(a=1, a=2) }}": "the call of `m` with one name twice",
    "{{ m(" + "1, " * 101 + ") }}": "the call of `m` with more than 100 arguments",
    "{{ 1 is lower }}": "the test `lower`",
    "{{ 1 is callable }}": "the test `callable`",
    "{{ 1 is sameas 1 }}": "the test `sameas`",
    "{{ 1 is divisibleby }}": "arguments that do not fit",
    "{{ 'a'.format(1) }}": "the method `format`",
    "{{ 'a'.title() }}": "the method `title`",
    "{{ messages.append(1) }}": "the method `append`",
    "{{ dict.fromkeys('ab') }}": "the method `fromkeys`",
    "{{ 'a'.replace(old='a', new='b') }}": "the method `replace` with named arguments",
    "{{ 'a'.split(sep='a', x=1) }}": "arguments that do not fit",
    "{{ x['get']('a') }}": "a call of what is neither a name nor a method",
    "{{ x.__class__ }}": "the attribute `__class__`",
    "{{ {1: 2} }}": "a dict with a key that is no string",
    "{{ 9223372036854775808 }}": "a whole number of more than 64 bits",
    "{{ 1e999 }}": "a number that is not finite",
    "\n{{ " + "9" * 5000 + " }}": "line 2: Exceeds the limit",
    "".join(f"{{{{ a{i} }}}}{{% if a{i} %}}{{% endif %}}" for i in range(6000)): "more than 1,000 variables",
    "{{ [" + "1, " * 70_000 + "] }}": "70,000 values in one list",
    "{{ '\\ud800' }}": "half of a surrogate pair",
    "\ud800": "half of a surrogate pair",
    "".join(f"{{% set a{i} = 1 %}}" for i in range(1001)): "more than 1,000 variables",
    "".join(f"{{{{ 'text {i}' }}}}" for i in range(66_000)): "it is too long",
}


@pytest.mark.parametrize("source", REFUSED, ids=lambda source: source[:40].encode("ascii", "replace").decode())
def test_is_refused(source):
    with pytest.raises(NoTable, match=re.escape(REFUSED[source])):
        chat_table(source, {}, CaseTables())


def test_a_table_that_walkers_do_not_take():
    with pytest.raises(NoTable, match=r"its table has 16,77\d,\d\d\d bytes, and walkers take 16,777,216"):
        chat_table("{{ bos_token }}", {"bos_token": "x" * (1 << 24)}, CaseTables())


def test_with_its_line():
    with pytest.raises(NoTable, match=r"^line 3: the filter `sort`, which chat tables do not have$"):
        chat_table("{# one\n two #}\n{{ messages\n | sort }}".replace("\n | ", " | "), {}, CaseTables())
    with pytest.raises(NoTable, match=r"^line 2: "):
        chat_table("\n{% for %}", {}, CaseTables())
