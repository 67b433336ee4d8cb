"""Run a graph at any stage on ONNX Runtime, through the bodies of its ops.

Every stage from [traced] to [legal:TARGET] computes the same logits, so a defect is found by running stage after
stage against the reference until one diverges. Up to [fused], past keys grow without limit; from [scheduled] on
they are laid out as the target wants them. Both are driven here, plainly; `runtime.Session` is the fast way.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort

from g4compile.model.config import ModelFacts
from g4compile.ops.registry import attach_bodies
from g4compile.runtime import feeds
from g4compile.weights.writer import write_graphs

Array = np.ndarray[Any, Any]


class StageRunner:
    """One graph, its weights bound, with its past. ``capacity``: slots of full layers' buffers, where it has such."""

    def __init__(self, model: ir.Model, facts: ModelFacts, capacity: int = 1024) -> None:
        attach_bodies(model)
        self._layers, self._capacity = facts.text.kv_layers, capacity
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "stage.onnx"
            write_graphs({file.stem: model}, file.parent)
            options = ort.SessionOptions()
            options.intra_op_num_threads, options.log_severity_level = 1, 3
            self._session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        self._inputs = {value.name: value for value in self._session.get_inputs()}
        self._outputs = [value.name for value in self._session.get_outputs()]
        self.reset()

    def reset(self) -> None:
        self.length, self._past = 0, dict[str, Array]()

    def forward(self, input_ids: Array, keep: int | None = None) -> Array:
        """Append int64 [B, S]; float32 logits [B, S, V], or of the last ``keep`` positions where the graph can."""
        batch, new = input_ids.shape
        if not self._past:
            self._past = {name: self._start(name, batch) for name in feeds.past_names(self._inputs)}
        fed = {"input_ids": input_ids, feeds.POSITIONS: feeds.positions(self.length, batch, new), **self._past}
        if feeds.KEEP in self._inputs:
            fed[feeds.KEEP] = feeds.keep(keep or new)
        outputs: dict[str, Array] = dict(zip(self._outputs, self._session.run(None, fed), strict=True))
        self._past = feeds.carried(self._past, outputs)
        self.length += new
        logits = outputs[feeds.LOGITS]
        return logits

    def _start(self, name: str, batch: int) -> Array:
        layer = next(layer for layer in self._layers if name.startswith(f"{feeds.PAST}{layer.index}."))
        slots = self._capacity if self._inputs[name].shape[2] == "capacity" else 0
        dtype = np.int8 if self._inputs[name].type == "tensor(int8)" else np.float32
        return np.zeros((batch, layer.kv_heads, slots, self._inputs[name].shape[3]), dtype)
