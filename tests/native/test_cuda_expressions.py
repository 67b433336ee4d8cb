"""Expressions and conditions of plans and grids, against the same in Python."""

from __future__ import annotations

import math
import re
import subprocess
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

INPUTS, ARGUMENTS = ((2, 3, 4), (7,), (0, 5), ()), (5, 6144, 0)
LIMIT = 1 << 63


@pytest.fixture(scope="module")
def evaluate(cuda_built):
    """What the library makes of a text: a number, or the words of what is wrong."""
    with subprocess.Popen(
        [str(cuda_built / "expressions")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:

        def ask(kind, text, inputs=INPUTS, arguments=ARGUMENTS):
            sizes = ";".join(",".join(map(str, one)) for one in inputs)
            process.stdin.write(f"{kind}\t{text}\t{sizes}\t{','.join(map(str, arguments))}\n")
            answer = process.stdout.readline().rstrip("\n")
            assert answer, "it is gone"
            return answer if answer.startswith("wrong: ") else int(answer)

        yield ask
        process.stdin.close()


def factor(text):
    if text == "r":
        return math.prod(INPUTS[0][:-1])
    if text.startswith("a"):
        return ARGUMENTS[int(text[1:])]
    if text.startswith("i"):
        operand, axis = text[1:].split(".")
        return INPUTS[int(operand)][int(axis)]
    return int(text)


def term(text):
    product, _, divisor = text.partition("/")
    return math.ceil(Fraction(math.prod(map(factor, product.split("*"))), int(divisor or 1)))


def expected(text):
    return sum(map(term, text.split("+")))


NUMBERS = st.integers(0, 9999).map(str)
SIZES = st.sampled_from([f"i{i}.{axis}" for i, one in enumerate(INPUTS) for axis in range(len(one))])
PLAN = st.one_of(NUMBERS, SIZES, st.just("r"))
GRID = st.one_of(NUMBERS, st.integers(0, len(ARGUMENTS) - 1).map("a{}".format))


def expressions(factors):
    products = st.lists(factors, min_size=1, max_size=3).map("*".join)
    divided = st.tuples(products, st.integers(1, 300)).map(lambda one: f"{one[0]}/{one[1]}")
    return st.lists(st.one_of(products, divided), min_size=1, max_size=4).map("+".join)


@settings(max_examples=300, deadline=None)
@given(text=expressions(PLAN))
def test_a_plan(evaluate, text):
    assert evaluate("plan", text) == expected(text)


@settings(max_examples=200, deadline=None)
@given(text=expressions(GRID))
def test_a_grid(evaluate, text):
    assert evaluate("grid", text) == expected(text)


@settings(max_examples=200, deadline=None)
@given(text=expressions(PLAN), limit=st.integers(0, 20000))
def test_a_condition(evaluate, text, limit):
    assert evaluate("condition", f"{text}<={limit}") == (expected(text) <= limit)


FORM = {
    kind: re.compile(rf"(?!.*/0*(\+|$)){term}(\+{term})*")
    for kind, names in (("plan", r"|r|i\d+\.\d+"), ("grid", r"|a\d+"))
    for factor_form in (rf"(\d+{names})",)
    for term in (rf"{factor_form}(\*{factor_form})*(/\d+)?",)
}


@settings(max_examples=600, deadline=None)
@given(text=st.text("0123456789rai.*+/<=- ", max_size=12), kind=st.sampled_from(["plan", "grid"]))
def test_any_text(evaluate, text, kind):
    """It is read where it has the form, and refused in words everywhere else."""
    answer = evaluate(kind, text)
    if FORM[kind].fullmatch(text):
        assert isinstance(answer, int) or "which has" in answer or "and the launch has" in answer, answer
    else:
        assert isinstance(answer, str) and "is not an expression: at place" in answer


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("plan", "", '"" is not an expression: at place 0 there must be a number, r or iN.A'),
        ("plan", "r+", "at place 2 there must be a number, r or iN.A"),
        ("plan", "-1", "at place 0 there must be a number, r or iN.A"),
        ("plan", "+1", "at place 0 there must be a number, r or iN.A"),
        ("plan", "r*i1", "at place 4 there must be . and the number of an axis"),
        ("plan", "i1.", "at place 3 there must be the number of an axis"),
        ("plan", "a0", "at place 0 there must be a number, r or iN.A"),
        ("plan", "r r", "at place 1 there must be +, *, / or the end"),
        ("plan", "r/4*2", "at place 3 there must be + or the end: a term ends with its divisor"),
        ("plan", "r/0", "at place 3 there must be a number above 0"),
        ("plan", "r/i0.0", "at place 2 there must be a number above 0"),
        ("plan", "9" * 20, "at place 0 there must be a number of 64 bits"),
        ("grid", "r", "at place 0 there must be a number or aN"),
        ("grid", "i0.0", "at place 0 there must be a number or aN"),
        ("condition", "r", '"r" is not a condition: expression<=number, or *'),
        ("condition", "r<=", "behind <= there must be a number"),
        ("condition", "r<=r", "behind <= there must be a number"),
        ("condition", "r<=-1", "behind <= there must be a number"),
        ("condition", "<=1", "at place 0 there must be a number, r or iN.A"),
        ("plan", "i0.3", "i0.3 reads size 3 of input 0, which has 3 axes"),
        ("plan", "i9.0", "i9.0 reads size 0 of input 9, which has 0 axes"),
        ("grid", "a3", "a3 reads integer argument 3, and the launch has 3"),
        ("plan", f"{LIMIT - 1}+1", "is more than 64 bits hold"),
        ("plan", f"{LIMIT // 2}*2", "is more than 64 bits hold"),
    ],
)
def test_what_is_wrong(evaluate, kind, text, words):
    answer = evaluate(kind, text)
    assert isinstance(answer, str) and words in answer


def test_the_ends_of_64_bits(evaluate):
    assert evaluate("plan", str(LIMIT - 1)) == LIMIT - 1
    assert evaluate("plan", f"{LIMIT - 1}/2") == LIMIT // 2
    assert evaluate("condition", "*") == 1


def test_rows_want_an_axis(evaluate):
    assert "r reads the rows of input 0, which has 0 axes" in evaluate("plan", "r", inputs=((), (2,)))
    assert evaluate("plan", "r", inputs=((9,),)) == 1
