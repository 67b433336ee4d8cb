"""The bytes of a chat table (`chat.g4`). `docs/chat-tables.md` is normative for them.

A head, then sections behind each other. All numbers are little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from g4compile.text_tables.chat_code import Constant, Instruction
from g4compile.text_tables.chat_unicode import UNICODE_SECTIONS, CaseTables

MAGIC, VERSION = b"G4CHAT\x00\x00", 1
SECTIONS = (
    "string_ends", "characters", "constants", "variables", "templates", "routines", "parameters", "code", "lines",
    *UNICODE_SECTIONS,
)  # fmt: skip
_HEAD = struct.Struct(f"<8sII{2 * len(SECTIONS)}I")  # magic, version, bytes, and each section's place and bytes
_CONSTANT = struct.Struct("<Iiq")  # kind, unused, value
_FLOAT = struct.Struct("<Iid")
_INSTRUCTION = struct.Struct("<BBHI")
_ROUTINE = struct.Struct("<6I")
_PAIR = struct.Struct("<II")
_KINDS = (type(None), bool, int, float, str)


@dataclass(frozen=True)
class Routine:
    """Instructions ``begin`` to ``end``: of a template or a macro, with ``slots``, the first for ``parameters``."""

    name: str
    begin: int
    end: int
    slots: int
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True)
class Program:
    """What a chat table holds. ``templates``: name -> routine. ``lines``: the first instruction of a line of the
    source, and the line, ascending. ``variables``: those that all conversations have, special tokens."""

    strings: Sequence[str]
    constants: Sequence[Constant]
    variables: Mapping[str, str]
    templates: Mapping[str, int]
    routines: Sequence[Routine]
    code: Sequence[Instruction]
    lines: Sequence[tuple[int, int]]
    cases: CaseTables = field(default_factory=CaseTables)


def encode(program: Program) -> bytes:
    """The table of ``program``."""
    number = {text: index for index, text in enumerate(program.strings)}
    texts = [text.encode() for text in program.strings]
    ends, at = [], 0
    for text in texts:
        at += len(text)
        ends.append(at)
    parameters = [number[name] for routine in program.routines for name in routine.parameters]
    sections = {
        "string_ends": struct.pack(f"<{len(ends)}I", *ends),
        "characters": b"".join(texts),
        "constants": b"".join(_constant(value, number) for value in program.constants),
        "variables": b"".join(_PAIR.pack(number[name], number[text]) for name, text in program.variables.items()),
        "templates": b"".join(_PAIR.pack(number[name], routine) for name, routine in program.templates.items()),
        "routines": b"".join(_routines(program.routines, number)),
        "parameters": struct.pack(f"<{len(parameters)}I", *parameters),
        "code": b"".join(_INSTRUCTION.pack(*one) for one in program.code),
        "lines": b"".join(_PAIR.pack(*one) for one in program.lines),
        **program.cases.encode(),
    }
    places, body, at = [], [], _HEAD.size
    for name in SECTIONS:
        data = sections[name]
        places += [at, len(data)]
        padding = -len(data) % 8
        body.append(data + bytes(padding))
        at += len(data) + padding
    return _HEAD.pack(MAGIC, VERSION, at, *places) + b"".join(body)


def _constant(value: Constant, number: Mapping[str, int]) -> bytes:
    kind = _KINDS.index(type(value))
    if isinstance(value, float):
        return _FLOAT.pack(kind, 0, value)
    return _CONSTANT.pack(kind, 0, number[value] if isinstance(value, str) else int(value or 0))


def _routines(routines: Sequence[Routine], number: Mapping[str, int]) -> list[bytes]:
    packed, first = [], 0
    for one in routines:
        packed.append(_ROUTINE.pack(number[one.name], one.begin, one.end, one.slots, first, len(one.parameters)))
        first += len(one.parameters)
    return packed


def decode(table: bytes) -> Program:
    """What ``table`` holds, for the walker in Python: of a table that `encode` made. The cases of letters are left out,
    Python has its own."""
    head = _HEAD.unpack_from(table)
    if head[0] != MAGIC or head[1] != VERSION or head[2] != len(table):
        raise ValueError("this is no chat table")
    places = {name: table[at : at + size] for name, at, size in zip(SECTIONS, head[3::2], head[4::2], strict=True)}
    ends = [end for (end,) in struct.iter_unpack("<I", places["string_ends"])]
    strings = [places["characters"][a:b].decode() for a, b in zip([0, *ends], ends, strict=False)]
    parameters = [strings[one] for (one,) in struct.iter_unpack("<I", places["parameters"])]
    return Program(
        strings,
        [_value(places["constants"][at : at + 16], strings) for at in range(0, len(places["constants"]), 16)],
        {strings[a]: strings[b] for a, b in _PAIR.iter_unpack(places["variables"])},
        {strings[a]: b for a, b in _PAIR.iter_unpack(places["templates"])},
        [
            Routine(strings[name], begin, end, slots, tuple(parameters[first : first + count]))
            for name, begin, end, slots, first, count in _ROUTINE.iter_unpack(places["routines"])
        ],
        [Instruction(*one) for one in _INSTRUCTION.iter_unpack(places["code"])],
        list(_PAIR.iter_unpack(places["lines"])),
    )


def _value(packed: bytes, strings: Sequence[str]) -> Constant:
    kind, _, value = _CONSTANT.unpack(packed)
    if kind == _KINDS.index(float):
        number: float = _FLOAT.unpack(packed)[2]
        return number
    return (None, bool(value), value, None, strings[value] if kind == _KINDS.index(str) else "")[kind]
