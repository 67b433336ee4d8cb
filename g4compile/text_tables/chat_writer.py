"""Code of a chat table as it is written: routines, their slots, and the names of Jinja's scopes in them.

Which variable a name means is Jinja's own analysis (`jinja2.idtracking`): it gives each scope's variables identifiers
`l_LEVEL_NAME`, and says how each begins. An identifier is a slot here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from jinja2 import nodes
from jinja2.idtracking import (
    VAR_LOAD_ALIAS,
    VAR_LOAD_PARAMETER,
    VAR_LOAD_RESOLVE,
    VAR_LOAD_UNDEFINED,
    Symbols,
)

from g4compile.text_tables.chat_code import Constant, Instruction, Op
from g4compile.text_tables.no_table import NoTable

MOST_SLOTS, MOST_PARAMETERS, MOST_LOOPS = 1000, 100, 30  # of a routine, and arguments of a call; walkers refuse more
MOST_TAKEN = 1 << 16  # values that one instruction takes from the stack
_WIDEST = 1 << 63


def refused(node: nodes.Node, what: str) -> NoTable:
    """For a construct that tables do not hold."""
    lines = (one.lineno for one in (node, *node.find_all(nodes.Node)) if one.lineno is not None)  # some nodes have none
    return NoTable(f"line {next(lines, 1)}: {what}")


@dataclass
class Pool:
    """Strings and constants of a program, each once."""

    strings: dict[str, int] = field(default_factory=dict)
    constants: dict[tuple[type, str], int] = field(default_factory=dict)
    values: list[Constant] = field(default_factory=list)

    def string(self, text: str) -> int:
        return self.strings.setdefault(text, len(self.strings))

    def constant(self, value: Constant) -> int:
        if isinstance(value, str):
            self.string(value)
        key = (type(value), repr(value))
        if key not in self.constants:
            self.constants[key] = len(self.values)
            self.values.append(value)
        return self.constants[key]


@dataclass
class OpenLoop:
    """A loop whose body is being written: where its next item is taken, and jumps that leave it."""

    begin: int
    buffers: int
    exits: list[int] = field(default_factory=list)


@dataclass
class Writer:
    """One routine. ``outer``: that of the template, in a macro."""

    name: str
    pool: Pool
    outer: Writer | None = None
    parameters: tuple[str, ...] = ()  # they have the first slots
    code: list[Instruction] = field(default_factory=list)
    lines: list[tuple[int, int]] = field(default_factory=list)
    slots: dict[str, int] = field(default_factory=dict)
    loops: dict[str, int] = field(default_factory=dict)  # identifier of a `loop` -> which, from the outermost
    open: list[OpenLoop | None] = field(default_factory=list)  # None: no `break` leads out of here
    depth: int = 0  # loops that run where the next instruction stands
    buffers: int = 0
    tests: int = 0

    def emit(self, node: nodes.Node, op: Op, x: int = 0, y: int = 0, z: int = 0) -> int:
        """Append an instruction; its place."""
        if not self.lines or self.lines[-1][1] != node.lineno:
            self.lines.append((len(self.code), node.lineno))
        self.code.append(Instruction(op, x, y, z))
        return len(self.code) - 1

    def land(self, *jumps: int) -> None:
        """Let ``jumps`` lead to the next instruction."""
        for one in jumps:
            self.code[one] = self.code[one]._replace(z=len(self.code))

    def many(self, node: nodes.Node, op: Op, count: int) -> None:
        """What takes ``count`` values from the stack. Raises NoTable for more than walkers take."""
        if count >= MOST_TAKEN:
            raise refused(node, f"{count:,} values in one list, dict or text")
        self.emit(node, op, z=count)

    def constant(self, node: nodes.Node, value: Constant) -> None:
        """Put ``value`` on the stack. Raises NoTable for what has no place in a table."""
        if isinstance(value, int) and not -_WIDEST <= value < _WIDEST:
            raise refused(node, "a whole number of more than 64 bits")
        if isinstance(value, float) and not abs(value) < float("inf"):
            raise refused(node, "a number that is not finite")
        if isinstance(value, str):
            check_text(node, value)
        self.emit(node, Op.CONSTANT, z=self.pool.constant(value))

    def slot(self, node: nodes.Node, identifier: str) -> int:
        number = self.slots.setdefault(identifier, len(self.slots))
        if number >= MOST_SLOTS:
            raise refused(node, f"more than {MOST_SLOTS:,} variables in one template or macro")
        return number


def check_text(node: nodes.Node, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise refused(node, "half of a surrogate pair in a text") from error


@dataclass
class Scope:
    """Where names have one meaning. ``toplevel``: the template itself, `if` included. ``own``: in front of identifiers
    that the test of a loop has to itself, since it runs while the loop's variables are in use."""

    writer: Writer
    symbols: Symbols
    toplevel: bool = False
    own: str = ""

    def inner(self, analyze: Callable[[Symbols], object], own: str = "") -> Scope:
        """A scope in this one; ``analyze`` finds its names."""
        symbols = Symbols(parent=self.symbols)
        analyze(symbols)
        return Scope(self.writer, symbols, own=own)

    def enter(self, node: nodes.Node) -> None:
        """Let the variables of this scope begin."""
        for identifier, (action, other) in self.symbols.loads.items():
            if action == VAR_LOAD_PARAMETER:
                continue
            _, slot = self.place(node, identifier)
            if action == VAR_LOAD_RESOLVE:
                self.writer.emit(node, Op.RESOLVE, y=slot, z=self.writer.pool.string(other))
            elif action == VAR_LOAD_ALIAS:
                outer, source = self.place(node, other)
                self.writer.emit(node, Op.COPY_OUTER if outer else Op.COPY, y=slot, z=source)
            elif action == VAR_LOAD_UNDEFINED:
                self.writer.emit(node, Op.CLEAR, y=slot)

    def place(self, node: nodes.Node, identifier: str) -> tuple[bool, int]:
        """Whether ``identifier`` is of the template while this is a macro, and its slot."""
        if self.own and identifier in self.symbols.loads:
            return False, self.writer.slot(node, self.own + identifier)
        if self.writer.outer is not None and identifier.startswith("l_0_"):
            return True, self.writer.outer.slot(node, identifier)
        return False, self.writer.slot(node, identifier)

    def resolved(self, name: str) -> bool:
        """Whether ``name`` is no variable of the template, but one that a conversation or Jinja gives."""
        load = self.symbols.find_load(self.symbols.ref(name))
        return load is not None and load[0] == VAR_LOAD_RESOLVE
