"""A graph of `onnx-cuda` in NumPy as `scenario.py` drives it: caches, positions, and which of them have logits."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from g4compile.bundle.kv import PAST
from tests.targets.onnx.cuda.reference import Array, Graph


class Runner:
    """``model``, its weights bound, for sequences that begin together; `step` takes others."""

    def __init__(self, model: ir.Model, exact: bool = True) -> None:
        self.graph, self._inputs = Graph(model, exact), model.graph.inputs
        self.reset()

    def reset(self) -> None:
        self.length, self._caches = 0, dict[str, Array]()

    def forward(self, input_ids: Array) -> Array:
        """Append int64 [B, S]; logits [B, S, V]. The next token must be the likeliest of the last."""
        batch, new = input_ids.shape
        positions = np.broadcast_to(np.arange(self.length, self.length + new), (batch, new))
        index = np.broadcast_to(np.arange(new), (batch, new))
        self.length += new
        logits, token = self.step(input_ids, positions, index)
        np.testing.assert_array_equal(token, logits[:, -1:].argmax(-1))
        return logits

    def step(self, input_ids: Array, positions: Array, index: Array) -> tuple[Array, Array]:
        """One run: logits [B, K, V] and the next token [B, 1], of columns ``index`` [B, K]."""
        if not self._caches:
            pasts = (value for value in self._inputs if str(value.name).startswith(PAST))
            shapes = {str(value.name): (len(input_ids), *list(value.shape or ())[1:]) for value in pasts}
            self._caches = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        feeds = {"input_ids": input_ids, "position_ids": positions, "logit_index": index[..., None]}
        outputs = self.graph.run({**feeds, **self._caches})
        return outputs["logits"], outputs["next_token"]
