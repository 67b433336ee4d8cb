"""What a graph knows of a weight: where it is, and what is done to it. The data is in a checkpoint."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from g4compile.bundle.weight_codes import Word
from g4compile.errors import Defect


class Reference(ir.LazyTensor):
    """A tensor of a checkpoint, by its ``key`` there, after the steps that ``words`` say."""

    key: str

    @property
    @abstractmethod
    def words(self) -> tuple[Word, ...]:
        """The steps of the weight in order, then what part of which codes this is, if of any."""


@dataclass(frozen=True)
class Recorded:
    """A reference as the text form states it."""

    key: str
    dtype: ir.DataType
    shape: tuple[int, ...]
    words: tuple[Word, ...]


# All references of one graph -> the tensors that stand for them, in the same order.
Reader = Callable[[Sequence[Recorded]], list[Reference]]


def static_shape(tensor: ir.TensorProtocol | ir.Value) -> tuple[int, ...]:
    """The sizes of ``tensor``, all known, as those of a weight are. Raises Defect for an unknown or dynamic size."""
    sizes = tensor.shape
    if sizes is None or not all(isinstance(size, int) for size in sizes):
        raise Defect(f"the shape of {tensor.name} is {sizes}, where all sizes must be known")
    return tuple(size for size in sizes if isinstance(size, int))
