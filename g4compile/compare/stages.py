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

from g4compile.model.config import ModelFacts
from g4compile.ops.registry import attach_bodies
from g4compile.runtime import feeds
from g4compile.runtime.kv_tensors import tensor_of, zeros
from g4compile.runtime.onnx_runtime import ort
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
        self.length, self._past = 0, dict[str, Any]()  # OrtValues

    def forward(self, input_ids: Array, keep: int | None = None) -> Array:
        """Append int64 [B, S]; float32 logits [B, S, V], or of the last ``keep`` positions where the graph can."""
        batch, new = input_ids.shape
        if not self._past:
            self._past = {name: self._start(name, batch) for name in feeds.past_names(self._inputs)}
        ids = np.ascontiguousarray(input_ids)
        arrays = {"input_ids": ids, feeds.POSITIONS: feeds.positions(self.length, batch, new)}
        if feeds.KEEP in self._inputs:
            arrays[feeds.KEEP] = feeds.keep(keep or new)
        fed = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in arrays.items()} | self._past
        outputs = dict(zip(self._outputs, self._session.run_with_ort_values(None, fed), strict=True))
        self._past = feeds.carried(self._past, outputs)
        self.length += new
        logits: Array = outputs[feeds.LOGITS].numpy()
        return logits

    def _start(self, name: str, batch: int) -> Any:
        layer = next(layer for layer in self._layers if name.startswith(f"{feeds.PAST}{layer.index}."))
        _, _, slots, width = self._inputs[name].shape
        if not isinstance(slots, int):  # else a ring
            slots = self._capacity if slots == "capacity" else 0
        kind = self._inputs[name].type.removeprefix("tensor(").removesuffix(")")
        return tensor_of(kind, zeros(kind, (batch, layer.kv_heads, slots, width)))
