"""Random templates over random values: a table writes what jinja2 writes, or says why not."""

from __future__ import annotations

import re
import warnings

from hypothesis import HealthCheck, given, settings

from g4compile.runtime.template import render
from g4compile.text_tables.chat import chat_table
from g4compile.text_tables.chat_unicode import CaseTables
from g4compile.text_tables.no_table import NoTable
from g4compile.text_tables.walk import walk
from g4compile.text_tables.walk_values import WalkError
from tests.text_tables.random_templates import templates

MESSAGES = [{"role": "user", "content": "Hi"}]
# What tables refuse while Python goes on; docs/chat-tables.md lists it.
STRICTER = re.compile(
    r"has no text|more than 64 bits|53 bits|that is not whole|are compared|the attribute|no whole number|a slice of|"
    r"a sign in front|arithmetic|the operator|steps|too long|`indent`|`dict` takes|`namespace` takes|no method"
)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(templates())
def test_equal_or_refused(drawn):
    source, variables = drawn
    try:
        table = chat_table(source, {}, CaseTables())
    except NoTable as error:
        assert "`safe`" in str(error)
        return
    want: object
    try:
        with warnings.catch_warnings():  # Python's, of the code that Jinja makes of constants
            warnings.simplefilter("ignore")
            want = render(source, MESSAGES, None, variables)
    except Exception as error:  # whatever Python raises
        want = error
    try:
        found = walk(table, {"messages": MESSAGES, **variables}, 1 << 20)
    except WalkError as error:
        assert not isinstance(want, str) or STRICTER.search(str(error))
    else:
        assert found == want
