"""The instructions of a chat table: their numbers, and those of filters, tests, methods and attributes of loops.

`docs/chat-tables.md` says what each does. `native/src/rt/text/chat_code.h` has the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

Constant = None | bool | int | float | str


class Instruction(NamedTuple):
    """``x`` uint8, ``y`` uint16 and ``z`` uint32: what they are depends on ``op``."""

    op: int
    x: int = 0
    y: int = 0
    z: int = 0


class Op(IntEnum):
    """What is on the stack stands as `before -> after`, its top to the right."""

    CONSTANT = 1  # -> constant z
    UNDEFINED = 2  # -> undefined, of an inline `if` without `else`
    LIST = 3  # z values -> list
    TUPLE = 4  # z values -> tuple
    DICT = 5  # z times name, value -> dict
    LOAD = 6  # -> slot y, or undefined with the name z
    LOAD_OUTER = 7  # -> the same of the template's own slots
    STORE = 8  # value ->; into slot y
    CLEAR = 9  # empties slot y
    RESOLVE = 10  # slot y = the variable z, or empty
    COPY = 11  # slot y = slot z
    COPY_OUTER = 12  # slot y = the template's slot z
    NEED_NAMESPACE = 13  # slot y (x = 1: of the template) holds a namespace
    SET_ATTRIBUTE = 14  # value ->; the attribute z of that namespace
    SKIP_GIVEN = 15  # to z, where slot y is not empty
    MACRO = 16  # -> macro of routine z
    ATTRIBUTE = 17  # value -> its attribute z
    ITEM = 18  # value, key -> item
    SLICE = 19  # value, then start (x & 1), stop (x & 2), step (x & 4) -> slice
    UNARY = 20  # value -> x of it
    BINARY = 21  # left, right -> x of them
    COMPARE = 22  # left, right -> x of them
    CONCAT = 23  # z values -> their texts, joined
    JUMP = 24  # to z
    JUMP_IF_FALSE = 25  # value ->; to z, where it is false
    AND = 26  # value -> value, to z, where it is false; else value ->
    OR = 27  # value -> value, to z, where it is true; else value ->
    CHAIN = 28  # left, right -> right, left, right
    DROP_UNDER = 29  # under, value -> value
    POP = 30  # value ->
    FILTER = 31  # value, arguments -> filter x of it
    MAP = 32  # values, arguments -> filter x of each, one by one
    MAP_ATTRIBUTE = 33  # values, path, default -> that attribute of each
    SELECT = 34  # values, path (y & 2), arguments -> those for which test x holds, or (y & 1) does not
    TEST = 35  # value, arguments -> whether test x holds
    CALL = 36  # callee, y values, z times name, value -> what it gives
    METHOD = 37  # value, arguments -> what its method x gives
    TEXT = 38  # writes string z
    WRITE = 39  # value ->; writes its text
    BUFFER = 40  # what is written goes into a text of its own
    CAPTURE = 41  # -> that text
    DISCARD = 42  # forgets z such texts
    LOOP = 43  # values ->; begins a loop, whose items the code at z accepts (x = 1)
    NEXT = 44  # -> the next item; to z, where there is none
    PULL = 45  # in the code that accepts: refuses the item, and begins anew with the next
    ACCEPT = 46  # item ->; ends that code
    DONE = 47  # the body of the loop came to its end
    END = 48  # ends the loop; to z, where x = 1 and a body came to its end
    LOOP_ATTRIBUTE = 49  # -> attribute x of loop y, counted from the outermost
    UNPACK = 50  # values -> z values, the first on top
    RETURN = 51  # ends the routine


class Unary(IntEnum):
    NEGATIVE, POSITIVE, NOT = range(3)


class Binary(IntEnum):
    ADD, SUB, MUL, DIV, FLOORDIV, MOD = range(6)


class Compare(IntEnum):
    EQ, NE, LT, LE, GT, GE, IN, NOT_IN = range(8)


class LoopAttribute(IntEnum):
    INDEX, INDEX0, REVINDEX, REVINDEX0, FIRST, LAST, LENGTH, PREVITEM, NEXTITEM, DEPTH, DEPTH0 = range(11)


REQUIRED: Final = ...


@dataclass(frozen=True)
class Signature:
    """``number`` of a filter, test or method, and its parameters behind the value: name -> default."""

    number: int
    parameters: Mapping[str, Constant | object]


def _signatures(**parameters: Mapping[str, Constant | object]) -> dict[str, Signature]:
    return {name: Signature(number, given) for number, (name, given) in enumerate(parameters.items(), 1)}


FILTERS = _signatures(
    capitalize={},
    default={"default_value": "", "boolean": False},
    dictsort={"case_sensitive": False, "by": "key", "reverse": False},
    first={},
    items={},
    join={"d": "", "attribute": None},
    last={},
    length={},
    list={},
    lower={},
    replace={"old": REQUIRED, "new": REQUIRED, "count": None},
    string={},
    tojson={"ensure_ascii": False, "indent": None, "separators": None, "sort_keys": False},
    trim={"chars": None},
    upper={},
)
FILTER_ALIASES = {"d": "default", "count": "length"}

_OTHER = {"other": REQUIRED}
TRUTH = 0  # of `select` without a test
TESTS = _signatures(
    boolean={},
    defined={},
    divisibleby={"num": REQUIRED},
    eq=_OTHER,
    even={},
    false={},
    float={},
    ge=_OTHER,
    gt=_OTHER,
    **{"in": {"seq": REQUIRED}},
    integer={},
    iterable={},
    le=_OTHER,
    lt=_OTHER,
    mapping={},
    ne=_OTHER,
    none={},
    number={},
    odd={},
    sequence={},
    string={},
    true={},
    undefined={},
)
TEST_ALIASES = {
    "==": "eq", "equalto": "eq", "!=": "ne", ">": "gt", "greaterthan": "gt", ">=": "ge", "<": "lt", "lessthan": "lt",
    "<=": "le",
}  # fmt: skip

_CHARS = {"chars": None}
_SPLIT = {"sep": None, "maxsplit": -1}
METHODS = _signatures(
    capitalize={},
    count={"sub": REQUIRED},
    endswith={"suffix": REQUIRED},
    find={"sub": REQUIRED},
    get={"key": REQUIRED, "default": None},
    items={},
    join={"iterable": REQUIRED},
    keys={},
    lower={},
    lstrip=_CHARS,
    removeprefix={"prefix": REQUIRED},
    removesuffix={"suffix": REQUIRED},
    replace={"old": REQUIRED, "new": REQUIRED, "count": -1},
    rfind={"sub": REQUIRED},
    rsplit=_SPLIT,
    rstrip=_CHARS,
    split=_SPLIT,
    startswith={"prefix": REQUIRED},
    strip=_CHARS,
    upper={},
    values={},
)
METHODS_WITH_KEYWORDS = ("split", "rsplit")  # the others take their arguments by place alone
GLOBALS = ("dict", "namespace", "raise_exception", "range")
