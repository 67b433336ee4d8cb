"""The plan of a node: which kernels run for how many rows, and how large its outputs are, as libg4cuda reads it.

The language of conditions, expressions and arguments is stated in `docs/design/0010-onnx-cuda.md`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx_ir as ir

from g4compile.targets.kernels.kernel import Kernel

LAUNCHES, SIZES = "launches", "sizes"  # attributes of a node
ALWAYS, NOTHING, NULL, UNUSED = "*", "-", "null", "1"


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

    def nothing(self, condition: str) -> None:
        """Under ``condition`` no kernel runs."""
        self.launches.append(f"{condition} {NOTHING}")

    def size(self, condition: str, output: int, *dims: str | int) -> None:
        """Of ``output``; of scratch that is not used, one number."""
        self.sizes.append(" ".join((condition, f"o{output}", *map(str, dims or (UNUSED,)))))
