"""What a graph knows of a weight: where it is, and what was done to it. Its data stands in a checkpoint, not in the graph."""

from __future__ import annotations

import onnx_ir as ir


class Reference(ir.LazyTensor):
    """A tensor of a checkpoint, by its ``key`` there, after ``steps`` (in words, as the text form prints them)."""

    key: str

    @property
    def steps(self) -> tuple[str, ...]:
        """What is done to the stored tensor, in order."""
        raise NotImplementedError
