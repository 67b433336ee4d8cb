"""A walker of chat tables in Python: what the one in C++ does, and what a compile compares with jinja2.

It runs a table that `chat_table` has just made. The one in C++ trusts no table.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from g4compile.runtime.template import prepared
from g4compile.runtime.text_files import DEFAULT, WITH_TOOLS
from g4compile.text_tables.chat_code import Op
from g4compile.text_tables.chat_format import Program, decode
from g4compile.text_tables.walk_filters import iterate, listed
from g4compile.text_tables.walk_loop import Loop
from g4compile.text_tables.walk_machine import EMPTY, Frame, Machine
from g4compile.text_tables.walk_methods import function
from g4compile.text_tables.walk_values import (
    LONGEST,
    Function,
    Macro,
    Undefined,
    WalkError,
    Work,
    text,
    undefined_is_used,
)

STEPS = 1 << 28  # instructions, and items of lists, that a conversation may take
DEEPEST = 200  # macros in each other


def walk(table: bytes, conversation: Mapping[str, Any], steps: int = STEPS) -> str:
    """The text of ``conversation``: `messages`, perhaps `tools`, and other variables. Raises WalkError."""
    program = decode(table)
    tools = conversation.get("tools")
    name = WITH_TOOLS if tools is not None and WITH_TOOLS in program.templates else DEFAULT
    if name not in program.templates:
        raise WalkError(f"the bundle has no chat template that is named {DEFAULT}")
    variables = {"documents": None, "add_generation_prompt": True, **program.variables, **conversation}
    variables.update(messages=prepared(conversation["messages"]), tools=tools)
    walker = _Walker(program, variables, Work(steps))
    try:
        return walker.run(program.templates[name])
    except RecursionError as error:
        raise WalkError("a value is nested too deep") from error
    except WalkError as error:
        raise WalkError(f"{error} (line {walker.line()})", error.refused) from error


class _Walker(Machine):
    """A machine that writes, loops and calls."""

    def __init__(self, program: Program, variables: Mapping[str, Any], work: Work) -> None:
        super().__init__(program, variables, work)
        self.buffers: list[list[str]] = []
        self.written = 0

    def run(self, template: int) -> str:
        """The text of the routine ``template``."""
        code, does = self.program.code, {**self.DOES, **self._DOES}
        self._begin(template, ())
        while self.frames:
            frame = self.frames[-1]
            op, x, y, z = code[frame.at]
            frame.at += 1
            self.work.step()
            does[op](self, frame, x, y, z)
        made: str = self.stack.pop()
        return made

    def line(self) -> int:
        """Of the source, where the walker stands."""
        at = self.frames[-1].at - 1
        return self.program.lines[bisect.bisect_right(self.program.lines, (at, 1 << 32)) - 1][1]

    def _begin(self, number: int, given: Sequence[Any]) -> None:
        if len(self.frames) > DEEPEST:
            raise WalkError(f"more than {DEEPEST} macros in each other")
        routine = self.program.routines[number]
        slots = [*given, *[EMPTY] * (routine.slots - len(given))]
        self.frames.append(Frame(routine, routine.begin, slots, len(self.stack)))
        self.buffers.append([])

    def _put(self, made: str) -> None:
        self.work.text(len(made))
        if len(self.buffers) == 1:
            self.written += len(made)
            if self.written > LONGEST:
                raise WalkError(f"the template writes more than {LONGEST:,} characters")
        self.buffers[-1].append(made)

    def _text(self, frame: Frame, x: int, y: int, z: int) -> None:
        self._put(self.program.strings[z])

    def _write(self, frame: Frame, x: int, y: int, z: int) -> None:
        self._put(text(self.stack.pop(), self.work))

    def _buffer(self, frame: Frame, x: int, y: int, z: int) -> None:
        self.buffers.append([])

    def _capture(self, frame: Frame, x: int, y: int, z: int) -> None:
        pieces = self.buffers.pop()
        self.work.text(sum(map(len, pieces)))
        self.stack.append("".join(pieces))

    def _discard(self, frame: Frame, x: int, y: int, z: int) -> None:
        del self.buffers[len(self.buffers) - z :]

    def _return(self, frame: Frame, x: int, y: int, z: int) -> None:
        self.frames.pop()
        self._capture(frame, x, y, z)

    def _loop(self, frame: Frame, x: int, y: int, z: int) -> None:
        values = self.stack.pop()
        size = len(values) if not x and hasattr(type(values), "__len__") else None
        frame.loops.append(Loop(iterate(values, self.work), z if x else None, size))

    def _offer(self, frame: Frame, loop: Loop) -> bool:
        """Take one more item into `ahead`, or judge it first: then false."""
        for one in loop.source:
            if loop.accept is None:
                loop.ahead.append(one)
                return True
            self.stack.append(one)
            frame.at = loop.accept
            return False
        loop.ended = True
        return True

    def _next(self, frame: Frame, x: int, y: int, z: int) -> None:
        loop = frame.loops[-1]
        if not loop.ahead and not loop.ended and not self._ask(frame, loop):
            return
        if loop.ahead:
            self.stack.append(loop.step())
        else:
            frame.at = z

    def _ask(self, frame: Frame, loop: Loop) -> bool:
        """One more item; false where code has to judge it. `ACCEPT` and `PULL` of that code go back to the instruction
        that asked, `NEXT` or `LOOP_ATTRIBUTE`, which runs again."""
        again = frame.at - 1
        if self._offer(frame, loop):
            return True
        frame.accepting.append((loop, again))
        return False

    def _pull(self, frame: Frame, x: int, y: int, z: int) -> None:
        loop, again = frame.accepting[-1]
        if self._offer(frame, loop):
            frame.accepting.pop()
            frame.at = again

    def _accept(self, frame: Frame, x: int, y: int, z: int) -> None:
        loop, frame.at = frame.accepting.pop()
        loop.ahead.append(self.stack.pop())

    def _done(self, frame: Frame, x: int, y: int, z: int) -> None:
        frame.loops[-1].done = True

    def _end(self, frame: Frame, x: int, y: int, z: int) -> None:
        if frame.loops.pop().done and x:
            frame.at = z

    def _loop_attribute(self, frame: Frame, x: int, y: int, z: int) -> None:
        loop = frame.loops[y]
        while not loop.knows(x):
            if not self._ask(frame, loop):
                return
        self.stack.append(loop.attribute(x))

    def _unpack(self, frame: Frame, x: int, y: int, z: int) -> None:
        values = listed(self.stack.pop(), self.work)
        if len(values) != z:
            raise WalkError(f"{len(values)} values for {z} names")
        self.stack += reversed(values)

    def _call(self, frame: Frame, x: int, y: int, z: int) -> None:
        callee, *given = self.take(1 + y + 2 * z)
        named = dict(zip(given[y::2], given[y + 1 :: 2], strict=True))
        if isinstance(callee, Function):
            self.stack.append(function(callee.name, given[:y], named, self.work))
        elif isinstance(callee, Macro):
            parameters = self.program.routines[callee.routine].parameters
            if y > len(parameters) or not named.keys() <= set(parameters[y:]):
                raise WalkError("a macro is called with arguments that it does not take")
            self._begin(callee.routine, [*given[:y], *(named.get(name, EMPTY) for name in parameters[y:])])
        elif isinstance(callee, Undefined):
            undefined_is_used(callee)
        else:
            raise WalkError(f"a {type(callee).__name__} is called")

    _DOES: dict[int, Callable[..., None]] = {
        Op.TEXT: _text,
        Op.WRITE: _write,
        Op.BUFFER: _buffer,
        Op.CAPTURE: _capture,
        Op.DISCARD: _discard,
        Op.RETURN: _return,
        Op.LOOP: _loop,
        Op.NEXT: _next,
        Op.PULL: _pull,
        Op.ACCEPT: _accept,
        Op.DONE: _done,
        Op.END: _end,
        Op.LOOP_ATTRIBUTE: _loop_attribute,
        Op.UNPACK: _unpack,
        Op.CALL: _call,
    }
