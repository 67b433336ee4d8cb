"""Seeded changes to bytes, to text and to JSON: what the fuzzers of this folder start from.

Every function takes the `random.Random` of its caller and nothing else that varies. So a seed names an input, and a
failure can be repeated. No function changes what it is given.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    7,
    2**31,
    2**63,
    -(2**63) - 1,
    10**30,
    0.0,
    -0.5,
    1.5,
    1e308,
    float("inf"),
    float("-inf"),
    float("nan"),
    "",
    "x",
    "0",
    "..",
    "../../etc/passwd",
    "/dev/zero",
    "\ud800",
    "\x00",
    "é" * 50,
    "x" * 5000,
    [],
    [None],
    [[]],
    [0, -1, "x"],
    {},
    {"": None},
)
"""A value of every JSON type, and of each the ones at and past the ends of its range."""

ODD_BYTES: tuple[bytes, ...] = (
    b"\x00",
    b"\xff",
    b"\xc3\x28",
    b"\n",
    b'"',
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b"(",
    b")",
    b"-",
    b"e9",
)


def mutate_bytes(rng: random.Random, data: bytes) -> bytes:
    """`data` after one change: a bit flipped, bytes inserted, a slice deleted, doubled, moved, zeroed, or the end cut.

    The result can equal `data` (a slice of zeros that is zeroed), and is never empty unless a cut leaves nothing.
    """
    if not data:
        return _some_bytes(rng)
    start = rng.randrange(len(data))
    end = min(len(data), start + 1 + int(rng.expovariate(1 / 8)))
    piece = data[start:end]
    match rng.randrange(8):
        case 0:
            flipped = data[start] ^ (1 << rng.randrange(8))
            return data[:start] + bytes([flipped]) + data[start + 1 :]
        case 1:
            return data[:start] + _some_bytes(rng) + data[start:]
        case 2:
            return data[:start] + data[end:]
        case 3:
            return data[:start]
        case 4:
            return data[:end] + piece * rng.choice((1, 2, 50)) + data[end:]
        case 5:
            rest = data[:start] + data[end:]
            target = rng.randrange(len(rest) + 1)
            return rest[:target] + piece + rest[target:]
        case 6:
            return data[:start] + bytes(len(piece)) + data[end:]
        case _:
            return data[:start] + _some_bytes(rng) + data[end:]


def mutate_text(rng: random.Random, text: str, words: Sequence[str] = ()) -> str:
    """`text` after one change of characters, or with one of its ``words`` (names that its format knows) for another.

    ``text`` has no lone surrogates, and the result has none: `mutate_bytes` makes what is not UTF-8.
    """
    present = [word for word in words if word in text]
    if present and rng.random() < 0.5:
        return text.replace(rng.choice(present), rng.choice(words), rng.choice((1, -1)))
    return mutate_bytes(rng, text.encode()).decode("utf-8", errors="ignore")


def mutate_json(rng: random.Random, document: Any) -> Any:
    """A copy of `document` after one change at one place, chosen evenly over all values in it.

    The changes: the value becomes one of `ODD_VALUES`, the value of another place, or an empty one; it is deleted or
    doubled; it is put into a list or an object, up to 70 deep. The result can hold NaN, infinities and lone
    surrogates: `json.dumps` writes all of them.
    """
    result = [copy.deepcopy(document)]
    places = list(_places(result))
    holder, key = rng.choice(places)
    value = holder[key]
    match rng.randrange(8):
        case 0 | 1 | 2:
            holder[key] = copy.deepcopy(rng.choice(ODD_VALUES))
        case 3:
            other, name = rng.choice(places)
            holder[key] = copy.deepcopy(other[name])
        case 4:
            if holder is not result:
                del holder[key]
        case 5:
            if isinstance(holder, list) and holder is not result:
                holder.insert(key, copy.deepcopy(value))
            elif isinstance(holder, dict):
                holder[f"{key}_2"] = copy.deepcopy(value)
        case 6:
            holder[key] = _nested(rng, value)
        case _:
            holder[key] = type(value)() if isinstance(value, (list, dict, str, int, float)) else {}
    return result[0]


def several(rng: random.Random, change: Callable[..., Any], value: Any, *extra: Any) -> Any:
    """`value` after one to four of the changes that `change(rng, value, *extra)` makes; mostly one."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        value = change(rng, value, *extra)
    return value


def _some_bytes(rng: random.Random) -> bytes:
    if rng.random() < 0.5:
        return rng.choice(ODD_BYTES) * rng.choice((1, 1, 2, 300))
    return rng.randbytes(rng.randint(1, 8))


def _nested(rng: random.Random, value: Any) -> Any:
    for _ in range(rng.choice((1, 2, 70))):  # deeper than is read; four of these changes can still be copied
        value = [value] if rng.random() < 0.5 else {"x": value}
    return value


def _places(holder: Any) -> Iterator[tuple[Any, Any]]:
    """Every place below `holder`: a list or an object, and an index (the first hundred) or a key of it."""
    pending = [holder]
    while pending:
        current = pending.pop()
        keys = range(min(len(current), 100)) if isinstance(current, list) else list(current)
        for key in keys:
            yield current, key
            if isinstance(current[key], (list, dict)):
                pending.append(current[key])
