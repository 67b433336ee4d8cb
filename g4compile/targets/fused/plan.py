"""The plan of a node: which kernels run for how many rows, and how large its outputs are, as libg4cuda reads it.

The language of conditions, expressions and arguments is stated in `docs/design/0010-onnx-cuda.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from g4compile.errors import Defect
from g4compile.targets.fused.expressions import evaluated
from g4compile.targets.kernels.kernel import Kernel

LAUNCHES, SIZES = "launches", "sizes"  # attributes of a node
ALWAYS, NOTHING, NULL, UNUSED = "*", "-", "null", "1"

_WIDE, _NARROW, _INDEX = ir.DataType.FLOAT, ir.DataType.BFLOAT16, ir.DataType.INT32
OUTPUTS: dict[str, tuple[ir.DataType, ...]] = {  # of ops that have scratch, or a result that may have no reader
    "CachedAttention": (_NARROW, _NARROW, _WIDE),
    "NextToken": (ir.DataType.INT64, _WIDE),
    "NormLogits": (_WIDE, _WIDE, _NARROW, _NARROW),
    "NormProduct": (_NARROW, _WIDE, _NARROW, _NARROW),
    "Product": (_NARROW, _NARROW),
    "TopTokens": (_WIDE, ir.DataType.INT64, ir.DataType.INT64),
    "Router": (_NARROW, _WIDE, _INDEX, _INDEX, _INDEX, _WIDE, _WIDE, _INDEX, _INDEX),
}


@dataclass(frozen=True)
class Plan:
    """Strings for the attributes ``launches`` and ``sizes``, and the ``kernels`` that they name."""

    launches: list[str] = field(default_factory=list)
    sizes: list[str] = field(default_factory=list)
    kernels: list[Kernel] = field(default_factory=list)

    def write(self, node: ir.Node) -> None:
        """Let ``node`` say it."""
        node.attributes[LAUNCHES] = ir.AttrStrings(LAUNCHES, self.launches)
        node.attributes[SIZES] = ir.AttrStrings(SIZES, self.sizes)

    def launch(self, condition: str, kernel: Kernel, *arguments: str | int) -> None:
        self.launches.append(" ".join((condition, kernel.name, *map(str, arguments))))
        self.kernels.append(kernel)

    def under(self, size: Callable[[str], int]) -> tuple[list[list[str]], list[list[str]]]:
        """Launches and sizes, as words behind the condition, of the first condition that holds. ``size``: as
        `evaluated` has it. Raises Defect where none holds."""
        for line in (*self.launches, *self.sizes):
            condition = line.split(" ")[0]
            left, _, limit = condition.partition("<=")
            if condition == ALWAYS or evaluated(left, size) <= int(limit):
                return _behind(condition, self.launches), _behind(condition, self.sizes)
        raise Defect(f"no condition of a plan holds, of {', '.join(dict.fromkeys(self.launches))}")

    def nothing(self, condition: str) -> None:
        """Under ``condition`` no kernel runs."""
        self.launches.append(f"{condition} {NOTHING}")

    def size(self, condition: str, output: int, *dims: str | int) -> None:
        """Of ``output``; of scratch that is not used, one number."""
        self.sizes.append(" ".join((condition, f"o{output}", *map(str, dims or (UNUSED,)))))


def _behind(condition: str, lines: Sequence[str]) -> list[list[str]]:
    split = [line.split(" ") for line in lines]
    return [words for first, *words in split if first == condition and words[0] != NOTHING]
