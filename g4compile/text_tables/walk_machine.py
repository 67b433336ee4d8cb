"""What instructions of a chat table do with values, in Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from g4compile.text_tables.chat_code import FILTERS, GLOBALS, METHODS, TESTS, TRUTH, Op
from g4compile.text_tables.chat_format import Program, Routine
from g4compile.text_tables.walk_filters import attributes, filtered, mapped, selected, tested
from g4compile.text_tables.walk_loop import Loop
from g4compile.text_tables.walk_methods import called
from g4compile.text_tables.walk_operators import binary, compare, part, unary
from g4compile.text_tables.walk_values import (
    Function,
    Macro,
    Namespace,
    Undefined,
    WalkError,
    Work,
    attribute,
    item,
    text,
)

EMPTY: Any = object()  # a slot without a value
_ARGUMENTS = {  # of filters, tests and methods
    op: {one.number: len(one.parameters) for one in table.values()}
    for op, table in ((Op.FILTER, FILTERS), (Op.TEST, TESTS), (Op.METHOD, METHODS))
}
_ARGUMENTS[Op.TEST][TRUTH] = 0


@dataclass
class Frame:
    """A routine that runs. ``base``: of its part of the stack. ``accepting``: loops whose items are judged, and the
    instruction that asked for one."""

    routine: Routine
    at: int
    slots: list[Any]
    base: int
    loops: list[Loop] = field(default_factory=list)
    accepting: list[tuple[Loop, int]] = field(default_factory=list)


class Machine:
    """One conversation. ``frames``: the template, and macros in each other."""

    def __init__(self, program: Program, variables: Mapping[str, Any], work: Work) -> None:
        self.program, self.variables, self.work = program, variables, work
        self.stack: list[Any] = []
        self.frames: list[Frame] = []

    def take(self, count: int) -> list[Any]:
        """The ``count`` topmost values, in the order in which they were put there."""
        begin = len(self.stack) - count
        found = self.stack[begin:]
        del self.stack[begin:]
        return found

    def _constant(self, frame: Frame, x: int, y: int, z: int) -> None:
        self.stack.append(self.program.constants[z])

    def _undefined(self, frame: Frame, x: int, y: int, z: int) -> None:
        self.stack.append(Undefined(self.program.strings[z]))

    def _list(self, frame: Frame, x: int, y: int, z: int) -> None:
        self.stack.append(self.take(z))

    def _tuple(self, frame: Frame, x: int, y: int, z: int) -> None:
        self.stack.append(tuple(self.take(z)))

    def _dict(self, frame: Frame, x: int, y: int, z: int) -> None:
        given = self.take(2 * z)
        if not all(isinstance(key, str) for key in given[::2]):
            raise WalkError("a key of a dict is no text")
        self.stack.append(dict(zip(given[::2], given[1::2], strict=True)))

    def _load(self, frame: Frame, x: int, y: int, z: int) -> None:
        value = frame.slots[y]
        self.stack.append(Undefined(f"{self.program.strings[z]!r} is undefined") if value is EMPTY else value)

    def _load_outer(self, frame: Frame, x: int, y: int, z: int) -> None:
        self._load(self.frames[0], x, y, z)

    def _store(self, frame: Frame, x: int, y: int, z: int) -> None:
        frame.slots[y] = self.stack.pop()

    def _clear(self, frame: Frame, x: int, y: int, z: int) -> None:
        frame.slots[y] = EMPTY

    def _resolve(self, frame: Frame, x: int, y: int, z: int) -> None:
        name = self.program.strings[z]
        frame.slots[y] = self.variables.get(name, Function(name) if name in GLOBALS else EMPTY)

    def _copy(self, frame: Frame, x: int, y: int, z: int) -> None:
        frame.slots[y] = frame.slots[z]

    def _copy_outer(self, frame: Frame, x: int, y: int, z: int) -> None:
        frame.slots[y] = self.frames[0].slots[z]

    def _need_namespace(self, frame: Frame, x: int, y: int, z: int) -> None:
        self._namespace(frame, x, y)

    def _namespace(self, frame: Frame, x: int, y: int) -> Namespace:
        value = (self.frames[0] if x else frame).slots[y]
        if not isinstance(value, Namespace):
            raise WalkError("an attribute is set of what is no namespace")
        return value

    def _set_attribute(self, frame: Frame, x: int, y: int, z: int) -> None:
        self._namespace(frame, x, y).put(self.program.strings[z], self.stack.pop())

    def _skip_given(self, frame: Frame, x: int, y: int, z: int) -> None:
        if frame.slots[y] is not EMPTY:
            frame.at = z

    def _macro(self, frame: Frame, x: int, y: int, z: int) -> None:
        self.stack.append(Macro(z))

    def _attribute(self, frame: Frame, x: int, y: int, z: int) -> None:
        self.stack.append(attribute(self.stack.pop(), self.program.strings[z]))

    def _item(self, frame: Frame, x: int, y: int, z: int) -> None:
        value, key = self.take(2)
        self.stack.append(item(value, key))

    def _slice(self, frame: Frame, x: int, y: int, z: int) -> None:
        step, stop, start = (self.stack.pop() if x & bit else None for bit in (4, 2, 1))
        self.stack.append(part(self.stack.pop(), start, stop, step, self.work))

    def _unary(self, frame: Frame, x: int, y: int, z: int) -> None:
        self.stack.append(unary(x, self.stack.pop()))

    def _binary(self, frame: Frame, x: int, y: int, z: int) -> None:
        left, right = self.take(2)
        self.stack.append(binary(x, left, right, self.work))

    def _compare(self, frame: Frame, x: int, y: int, z: int) -> None:
        left, right = self.take(2)
        self.stack.append(compare(x, left, right))

    def _concat(self, frame: Frame, x: int, y: int, z: int) -> None:
        made = "".join(text(one, self.work) for one in self.take(z))
        self.work.text(len(made))
        self.stack.append(made)

    def _jump(self, frame: Frame, x: int, y: int, z: int) -> None:
        frame.at = z

    def _jump_if_false(self, frame: Frame, x: int, y: int, z: int) -> None:
        if not self.stack.pop():
            frame.at = z

    def _and(self, frame: Frame, x: int, y: int, z: int) -> None:
        if self.stack[-1]:
            self.stack.pop()
        else:
            frame.at = z

    def _or(self, frame: Frame, x: int, y: int, z: int) -> None:
        if self.stack[-1]:
            frame.at = z
        else:
            self.stack.pop()

    def _chain(self, frame: Frame, x: int, y: int, z: int) -> None:
        self.stack.insert(-2, self.stack[-1])

    def _drop_under(self, frame: Frame, x: int, y: int, z: int) -> None:
        del self.stack[-2]

    def _pop(self, frame: Frame, x: int, y: int, z: int) -> None:
        self.stack.pop()

    def _filter(self, frame: Frame, x: int, y: int, z: int) -> None:
        value, *given = self.take(1 + _ARGUMENTS[Op.FILTER][x])
        self.stack.append(filtered(x, value, given, self.work))

    def _map(self, frame: Frame, x: int, y: int, z: int) -> None:
        values, *given = self.take(1 + _ARGUMENTS[Op.FILTER][x])
        self.stack.append(mapped(x, values, given, self.work))

    def _map_attribute(self, frame: Frame, x: int, y: int, z: int) -> None:
        values, path, default = self.take(3)
        self.stack.append(attributes(values, path, default, self.work))

    def _select(self, frame: Frame, x: int, y: int, z: int) -> None:
        values, *given = self.take(1 + bool(y & 2) + _ARGUMENTS[Op.TEST][x])
        self.stack.append(selected(x, y, values, given, self.work))

    def _test(self, frame: Frame, x: int, y: int, z: int) -> None:
        value, *given = self.take(1 + _ARGUMENTS[Op.TEST][x])
        self.stack.append(tested(x, value, given))

    def _method(self, frame: Frame, x: int, y: int, z: int) -> None:
        value, *given = self.take(1 + _ARGUMENTS[Op.METHOD][x])
        self.stack.append(called(x, value, given, self.work))

    DOES: dict[int, Callable[..., None]] = {
        Op.CONSTANT: _constant,
        Op.UNDEFINED: _undefined,
        Op.LIST: _list,
        Op.TUPLE: _tuple,
        Op.DICT: _dict,
        Op.LOAD: _load,
        Op.LOAD_OUTER: _load_outer,
        Op.STORE: _store,
        Op.CLEAR: _clear,
        Op.RESOLVE: _resolve,
        Op.COPY: _copy,
        Op.COPY_OUTER: _copy_outer,
        Op.NEED_NAMESPACE: _need_namespace,
        Op.SET_ATTRIBUTE: _set_attribute,
        Op.SKIP_GIVEN: _skip_given,
        Op.MACRO: _macro,
        Op.ATTRIBUTE: _attribute,
        Op.ITEM: _item,
        Op.SLICE: _slice,
        Op.UNARY: _unary,
        Op.BINARY: _binary,
        Op.COMPARE: _compare,
        Op.CONCAT: _concat,
        Op.JUMP: _jump,
        Op.JUMP_IF_FALSE: _jump_if_false,
        Op.AND: _and,
        Op.OR: _or,
        Op.CHAIN: _chain,
        Op.DROP_UNDER: _drop_under,
        Op.POP: _pop,
        Op.FILTER: _filter,
        Op.MAP: _map,
        Op.MAP_ATTRIBUTE: _map_attribute,
        Op.SELECT: _select,
        Op.TEST: _test,
        Op.METHOD: _method,
    }
