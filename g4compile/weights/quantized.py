"""Quantised weights as references: codes, scales and zero points of one matrix, made when a bundle is written.

A `QuantizedTensor` is one part of a matrix that a checkpoint stores in float. The parts of one matrix are made
together, some rows at a time, by the writer; asked for alone (small graphs in tests), each makes itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from g4compile.errors import Defect, InputError
from g4compile.graph.references import Reference
from g4compile.weights.formats.blocks import Array, BlockFormat, Codes
from g4compile.weights.quantize import QUANTIZERS
from g4compile.weights.references import CheckpointTensor
from g4compile.weights.stored import STORED, read_stored, stored_codes

PARTS = ("codes", "scales", "zero_points")
_ROWS_AT_ONCE = 16  # keeps the arrays of one step in a core's cache


@dataclass(frozen=True, eq=False)
class CodedMatrix(ABC):
    """``weight`` [..., K] as codes and what they are multiplied by: made by rows, and all parts of some rows at once."""

    weight: CheckpointTensor
    unit: ClassVar[int] = 1  # rows that are made together

    @property
    def leading(self) -> tuple[int, ...]:
        return tuple(int(size) for size in self.weight.shape)[:-1]  # type: ignore[arg-type]  # weights are static

    @property
    def columns(self) -> int:
        return int(self.weight.shape[-1])  # type: ignore[arg-type]  # weights are static

    @property
    def rows(self) -> int:
        return int(np.prod(self.leading))

    @abstractmethod
    def shape(self, part: str) -> tuple[int, ...]:
        """Sizes of ``part``."""

    @abstractmethod
    def quantize(self, start: int, stop: int) -> Codes:
        """Rows ``start`` to ``stop``, packed."""

    def measure(self) -> None:  # noqa: B027 - most formats look at nothing but the rows they code
        """What must be known of the whole weight before its rows are coded: called once, before `quantize` in threads."""

    def strips(self, part: str, made: Codes, start: int, stop: int) -> Iterator[tuple[int, Array]]:
        """Where in a part's bytes its share of the rows ``made`` goes, and what: one strip, unless rows are not in a row."""
        array: Array = getattr(made, part)
        yield start * array.nbytes // (stop - start), array


@dataclass(frozen=True, eq=False)
class QuantizedMatrix(CodedMatrix):
    """``weight`` as rows of K weights, in ``form``, by ``quantizer``, or as the checkpoint holds them."""

    form: BlockFormat
    quantizer: str

    def shape(self, part: str) -> tuple[int, ...]:
        """Sizes of ``part``, the leading sizes of the weight in front."""
        shapes = {
            "codes": self.form.codes_shape,
            "scales": self.form.scales_shape,
            "zero_points": self.form.zero_points_shape,
        }
        return (*self.leading, *shapes[part](1, self.columns)[1:])

    @property
    def parts(self) -> tuple[str, ...]:
        return PARTS[:2] if self.form.symmetric else PARTS

    def quantize(self, start: int, stop: int) -> Codes:
        """Rows ``start`` to ``stop``, packed."""
        if self.quantizer == STORED:
            return self._stored(start, stop)
        quantizer = QUANTIZERS[self.quantizer]
        rows = self.weight.read_rows(start, stop)
        pieces = [quantizer(rows[i : i + _ROWS_AT_ONCE], self.form) for i in range(0, len(rows), _ROWS_AT_ONCE)]
        zeros = [piece.zero_points for piece in pieces if piece.zero_points is not None]
        return Codes(
            np.concatenate([piece.codes for piece in pieces]),
            np.concatenate([piece.scales for piece in pieces]),
            np.concatenate(zeros) if zeros else None,
        )

    def _stored(self, start: int, stop: int) -> Codes:
        checkpoint = self.weight.bound
        stored = stored_codes(checkpoint, self.weight.key, (*self.leading, self.columns))
        if stored is None:
            raise Defect(f"the weight {self.weight.key} is not stored as codes")
        codes = read_stored(checkpoint, stored, self.form, (start, stop))
        return Codes(codes.codes, codes.scales * np.float32(self.weight.scale), None)

    def dequantized(self) -> Array:
        """What the codes stand for: float32 of the weight's shape."""
        rows = self.form.dequantize(self.quantize(0, self.rows), self.columns)
        return rows.reshape(*self.leading, self.columns)


class QuantizedTensor(Reference):
    """One ``part`` of ``matrix``. ``flat`` joins the last two sizes of the codes, as lookups want them."""

    def __init__(self, matrix: QuantizedMatrix, part: str, flat: bool = False) -> None:
        shape = matrix.shape(part)
        if flat:
            shape = (*shape[:-2], shape[-2] * shape[-1])
        dtype = ir.DataType.FLOAT if part == "scales" else ir.DataType.UINT8
        super().__init__(self._load, dtype=dtype, shape=ir.Shape(shape), name=f"{matrix.weight.key}.{part}")
        self.matrix, self.part, self.flat = matrix, part, flat
        self.key = matrix.weight.key

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps of the weight, then what part of which format this is."""
        form = self.matrix.form
        zero = "symmetric" if form.symmetric else "asymmetric"
        last = f"{self.part}=int{form.bits}:{form.block}:{zero}:{self.matrix.quantizer}:{self.matrix.columns}"
        return (*self.matrix.weight.steps, last, *(["flat"] if self.flat else []))

    def flattened(self) -> QuantizedTensor:
        """The same bytes as a table of rows."""
        return QuantizedTensor(self.matrix, self.part, flat=True)

    def _load(self) -> ir.TensorProtocol:
        array = getattr(self.matrix.quantize(0, self.matrix.rows), self.part)
        sizes = [int(size) for size in self.shape]  # type: ignore[arg-type]  # weights are static
        return ir.Tensor(array.reshape(sizes), name=self.name)


def parse_reference(key: str, dtype: ir.DataType, shape: tuple[int, ...], steps: tuple[str, ...]) -> Reference:
    """A weight reference from its text form: a `CheckpointTensor`, or the part of a quantised one.

    Raises InputError for steps that cannot be read.
    """
    places = [index for index, step in enumerate(steps) if step.partition("=")[0] in PARTS]
    if not places:
        return CheckpointTensor(key, dtype, shape, steps)
    flat = steps[-1] == "flat"
    part, _, words = steps[places[0]].partition("=")
    try:
        bits, block, zero, quantizer, columns = words.split(":")
        form = BlockFormat(int(bits.removeprefix("int")), int(block), zero == "symmetric")
        leading = shape[:-1] if flat or part != "codes" else shape[:-2]
        weight = CheckpointTensor(key, ir.DataType.FLOAT, (*leading, int(columns)), steps[: places[0]])
        return QuantizedTensor(QuantizedMatrix(weight, form, quantizer), part, flat)
    except ValueError as error:
        raise InputError(
            f"the steps of weight {key} cannot be read",
            where=" ".join(steps),
            fix="codes=int4:128:symmetric:nearest:64",
        ) from error
