"""What a tensor is of a weight that is stored as codes: the words behind the weight's steps.

    codes=int4:128:symmetric:search:64       codes in blocks of 128 (0: a whole row), rows of 64 weights; also `scales=`
                                             and `zero_points=`. `search` made them; `stored` keeps a checkpoint's own
                                             :bfloat16 behind it: codes are for scales that were rounded to bfloat16
    flat                                     those codes as a table of rows: the last two axes joined
    panels=264                               a part of such codes of 264 rows in panels of 32 rows
    narrow                                   a part of such codes in blocks, whose scales are stored as bfloat16
    engine-codes=int4:128                    codes as an engine reads them, in blocks of 128; also `engine-scales=`
    engine-codes=fp8

Formats are described in `weights/formats/`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from g4compile.bundle.weight_steps import WeightStep, parse_step
from g4compile.errors import InputError

PARTS = ("codes", "scales", "zero_points")
_ENGINE = "engine-"
_BITS = ("int2", "int4", "int8")
_EXAMPLES = "codes=int4:128:symmetric:nearest:64, flat, engine-codes=int4:128 or engine-codes=fp8"


@dataclass(frozen=True)
class BlockPart:
    """``part`` of a weight with rows of ``columns`` weights of ``bits`` each. ``block`` (0: a row) share a scale, which
    was rounded to ``scales``."""

    part: str
    bits: int
    block: int
    symmetric: bool
    quantizer: str
    columns: int
    scales: str = "float32"

    def __str__(self) -> str:
        zero = "symmetric" if self.symmetric else "asymmetric"
        rounded = "" if self.scales == "float32" else f":{self.scales}"
        return f"{self.part}=int{self.bits}:{self.block}:{zero}:{self.quantizer}:{self.columns}{rounded}"


@dataclass(frozen=True)
class Flat:
    """The codes of a `BlockPart` as a table of rows."""

    def __str__(self) -> str:
        return "flat"


@dataclass(frozen=True)
class Panels:
    """A `BlockPart` of a weight of ``rows`` rows, in panels."""

    rows: int

    def __str__(self) -> str:
        return f"panels={self.rows}"


@dataclass(frozen=True)
class Narrow:
    """A `BlockPart` of codes whose scales are stored as bfloat16."""

    def __str__(self) -> str:
        return "narrow"


@dataclass(frozen=True)
class EnginePart:
    """``part`` (codes or scales) of a weight that an engine reads in ``format``: int4 or fp8. ``block`` weights
    share a scale; None where one scale stands for the whole tensor."""

    part: str
    format: str
    block: int | None = None

    def __str__(self) -> str:
        return f"{_ENGINE}{self.part}={self.format}{'' if self.block is None else f':{self.block}'}"


CodeWord = BlockPart | Flat | Panels | Narrow | EnginePart
Word = WeightStep | CodeWord


def parse_words(words: Sequence[str]) -> tuple[Word, ...]:
    """The values of the words of one weight. Raises InputError for one that cannot be read, or whose numbers no weight
    has."""
    return tuple(_parse(word) for word in words)


def parse_steps(words: Sequence[str]) -> tuple[WeightStep, ...]:
    """The steps among ``words``, which stand before what says of codes."""
    found = parse_words(words)
    return tuple(word for word in found if not isinstance(word, CodeWord))


def _parse(word: str) -> Word:
    name, _, rest = word.partition("=")
    if word in ("flat", "narrow"):
        return Flat() if word == "flat" else Narrow()
    try:
        match name.removeprefix(_ENGINE), name.startswith(_ENGINE), rest.split(":"):
            case ("codes" | "scales" | "zero_points") as part, False, [
                bits,
                block,
                zero,
                quantizer,
                columns,
                *scales,
            ] if scales in ([], ["bfloat16"]):
                symmetric = zero == "symmetric"
                made = BlockPart(part, int(bits[3:]), int(block), symmetric, quantizer, int(columns), *scales)
                if bits in _BITS and zero in ("symmetric", "asymmetric") and made.block >= 0 < made.columns:
                    return made
            case "panels", False, [rows]:
                if int(rows) >= 1:
                    return Panels(int(rows))
            case ("codes" | "scales") as part, True, [format]:
                return EnginePart(part, format)
            case ("codes" | "scales") as part, True, [format, block]:
                if int(block) >= 1:
                    return EnginePart(part, format, int(block))
            case (("codes" | "scales" | "zero_points" | "panels"), _, _):
                pass
            case _:
                return parse_step(word)
    except ValueError as error:
        raise InputError(f"the step {word!r} of a weight cannot be read", why=str(error), fix=_EXAMPLES) from error
    raise InputError(f"the step {word!r} of a weight cannot be read", fix=_EXAMPLES)
