"""Random small templates and values of JSON, with all filters, tests, methods and operators of chat tables."""

from __future__ import annotations

from hypothesis import strategies as st

LETTERS = "aAbzZ09 ,'\"\\\n\t{}ßéÉΣσςıİǅﬁΩ\u0345\u00ad\u200b\u00a0\x1f\x7f東\U0001f600"
NAMES = ("a", "b", "A", "items", "get", "type", "Σ", "_x", "", "0")
TEXTS = st.text(LETTERS, max_size=8) | st.sampled_from(
    ["a,b,,c", " a b  c ", "aXbXc", "<x>ΑΣ", "1", "key", "AΣ\u0345b", "items"]
)
NUMBERS = (
    st.integers(-3, 30)
    | st.sampled_from([2**53, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 10**25, -(10**25)])
    | st.sampled_from(
        [0.0, -0.0, 1.0, 0.1, -2.5, 1e16, 1e15, 123456789.125, 1e-5, 1e-4, 5e-324, 1.7e308, 2.0**-44, 3e22]
    )
    | st.floats(allow_nan=False, allow_infinity=False)
)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES) | TEXTS, inner, max_size=4),
    max_leaves=8,
)
VARIABLES = ("v", "w", "x")

LITERALS = (
    "'a'", "''", "'ab,c'", "'Σ'", "' '", "0", "1", "2", "-1", "2.5", "true", "false", "none", "[]", "{}", "[1, 'b']",
    "(1, 2)", "()", "{'a': 1, 'B': 'x'}", "'%s'", "[3, 1, 2]", "'items'",
)  # fmt: skip
BINARY = ("+", "-", "*", "/", "//", "%", "~", "==", "!=", "<", "<=", ">", ">=", "in", "not in", "and", "or")
FILTERS = (
    "capitalize", "default(E)", "d(E, true)", "default('z', boolean=E)", "dictsort", "dictsort(true)",
    "dictsort(by='value')", "dictsort(reverse=true)", "first", "items", "items | list", "join", "join(',')",
    "join(E)", "join('-', attribute='a')", "last", "length", "count", "list", "lower", "map('upper') | list",
    "map('default', E) | join('|')", "map(attribute='a') | list", "map(attribute='a.0', default=E) | list",
    "map('length') | first", "reject('none') | list", "reject | list", "rejectattr('a') | list", "replace('a', 'bb')",
    "replace(E, E)", "replace('', '-', 2)", "select | list", "select('string') | list", "select('in', E) | list",
    "selectattr('a') | list", "selectattr('a', 'equalto', E) | list", "selectattr('type', 'defined') | first",
    "string", "tojson", "tojson(indent=2)", "tojson(ensure_ascii=true)", "tojson(sort_keys=true)",
    "tojson(separators=(',', ':'))", "trim", "trim('a ')", "trim(E)", "upper", "safe", "map('tojson') | join(', ')",
    "list | length", "map('items') | map('list') | list",
)  # fmt: skip
TESTS = (
    "boolean", "defined", "divisibleby(3)", "eq(E)", "even", "false", "float", "ge(E)", "gt(E)", "in(E)", "integer",
    "iterable", "le(E)", "lt(E)", "mapping", "ne(E)", "none", "number", "odd", "sequence", "string", "true",
    "undefined",
)  # fmt: skip
METHODS = (
    "capitalize()", "count('a')", "endswith('a')", "endswith(('a', E))", "find('b')", "find(E)", "get('a')", "get(E)",
    "get('zz', E)", "items()", "items() | list", "join(E)", "join(['a', 'b'])", "keys() | list", "lower()",
    "lstrip()", "lstrip('a')", "removeprefix('a')", "removesuffix(E)", "replace('a', 'X')", "replace('a', E, 1)",
    "rfind('a')", "rsplit(None, 1)", "rsplit(',', 1)", "rstrip()", "split()", "split(',')", "split(E)",
    "split('X', 1)", "split(maxsplit=1)", "split(sep='a')", "startswith('a')", "startswith(E)", "strip()", "strip(E)",
    "upper()", "values() | list",
)  # fmt: skip
POSTFIXES = (
    ".a",
    ".items",
    ".b",
    "['a']",
    "['items']",
    "[0]",
    "[-1]",
    "[E]",
    "[1:]",
    "[:2]",
    "[::-1]",
    "[E:E]",
    "[::2]",
    "[-2:]",
    ".0",
)
CALLS = (
    "range(E)", "range(3, E)", "range(5, 0, -2) | list", "dict(a=E)", "dict(E, b=1)", "m(E)", "m(E, b=E)", "m(b=E)",
    "namespace(a=E).a", "raise_exception(E)", "m()",
)  # fmt: skip
STATEMENTS = (
    "{{ E }}",
    "{% if E %}1{% elif E %}2{% else %}3{% endif %}",
    "{% for q in E %}[{{ q }}|{{ loop.index }}{{ loop.last }}]{% else %}none{% endfor %}",
    "{% for q in E if q %}{{ loop.index0 }}{{ loop.nextitem }}{{ loop.previtem }},{% endfor %}",
    "{% for q in E if E %}{{ loop.length }}{{ loop.revindex }}{{ q }}{% endfor %}",
    "{% for q, r in E %}{{ q }}={{ r }};{% endfor %}",
    "{% for q, r in E | dictsort %}{{ q }}={{ r }}{{ ',' if not loop.last }}{% endfor %}",
    "{% for q in E %}{% if q == E %}{% break %}{% endif %}{% if E %}{% continue %}{% endif %}"
    "{{ q }}{% else %}else{% endfor %}",
    "{% set q = E %}{{ q }}{% for i in [1, 2] %}{% set q = E %}{{ q }}{% endfor %}{{ q }}",
    "{% set q, r = E %}{{ r }}{{ q }}",
    "{% set q %}{{ E }}{% endset %}{{ q }}{{ q | length }}",
    "{% set q | upper %}{{ E }}{% endset %}{{ q }}",
    "{% set n = namespace(a=E, b=0) %}{% for i in E %}{% set n.a = i %}{% set n.b = n.b + 1 %}{% endfor %}"
    "{{ n.a }}{{ n.b }}",
    "{% set n = namespace(a='') %}{% for i in E if i != n.a %}{% set n.a = i %}{{ n.a }}{% endfor %}",
    "{% if E %}{% set q = E %}{% endif %}{{ q }}{{ q is defined }}",
    "{% generation %}{% set q = E %}{{ q }}{% endgeneration %}{{ q }}",
    "{% for q in E %}{% for r in E %}{{ loop.index }}{{ r }}{% endfor %}{{ loop.first }}{% endfor %}",
    "{% for q in E %}{% set s %}{{ q }}{% if E %}{% break %}{% endif %}{% endset %}{{ s }}{% endfor %}",
    "{{ 1 if E < E < E else 2 if E }}",
    "{{ m(m(E), E) }}",
)  # fmt: skip
MACRO = (
    "{% macro m(a, b='B', c=a) %}({{ a }}{{ b }}{{ c }}{% if a is mapping or a is string %}"
    "{% for k in a %}{{ m(k[1:]) if k else '' }}{% endfor %}{% endif %}){% endmacro %}"
)


def _filled(draw, form, deeper):
    """``form`` with an expression for each E that stands alone."""
    pieces = []
    for index, part in enumerate(form.split("E")):
        if index:
            pieces.append(draw(expressions(deeper)))
        pieces.append(part)
    return "".join(pieces)


@st.composite
def expressions(draw, deeper=2):
    if deeper <= 0 or draw(st.integers(0, 3)) == 0:
        return draw(st.sampled_from([*VARIABLES, *VARIABLES, "missing", *LITERALS]))
    kind = draw(st.integers(0, 8))
    if kind == 0:
        return f"({draw(expressions(deeper - 1))} {draw(st.sampled_from(BINARY))} {draw(expressions(deeper - 1))})"
    if kind == 1:
        return f"({draw(st.sampled_from(('not ', '-', '+')))}{draw(expressions(deeper - 1))})"
    if kind == 2:
        return (
            f"({draw(expressions(deeper - 1))} if {draw(expressions(deeper - 1))} else {draw(expressions(deeper - 1))})"
        )
    if kind == 3:
        return _filled(draw, draw(st.sampled_from(CALLS)), deeper - 1)
    inner = draw(expressions(deeper - 1))
    if kind == 4:
        return f"({inner}){_filled(draw, draw(st.sampled_from(POSTFIXES)), deeper - 1)}"
    if kind == 5:
        test = _filled(draw, draw(st.sampled_from(TESTS)), deeper - 1)
        return f"({inner} is {draw(st.sampled_from(('', 'not ')))}{test})"
    if kind == 6:
        return f"({inner}).{_filled(draw, draw(st.sampled_from(METHODS)), deeper - 1)}"
    return f"(({inner}) | {_filled(draw, draw(st.sampled_from(FILTERS)), deeper - 1)})"


@st.composite
def templates(draw):
    """A source, and the variables that it reads."""
    form = draw(st.sampled_from(STATEMENTS))
    source = MACRO + _filled(draw, form, draw(st.integers(0, 3)))
    return source, {name: draw(VALUES) for name in VARIABLES}
