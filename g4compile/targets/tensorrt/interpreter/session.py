"""The networks of an engine bundle run on the CPU, through the interpreter, as a session: the host's part is the
runner's.

It proves what is emitted: lookups, ring positions, which step takes which tokens. No engine is built and none runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from g4compile.bundle.manifest import HostSpec
from g4compile.errors import Defect
from g4compile.runtime import feeds
from g4compile.runtime.engine_steps import plan_chunks
from g4compile.runtime.tables import look_up
from g4compile.targets.tensorrt.build import EmittedNetwork
from g4compile.targets.tensorrt.interpreter.interpreter import Interpreter
from g4compile.weights.checkpoint import Checkpoint
from g4compile.weights.engine_tensors import EngineTensor
from g4compile.weights.references import CheckpointTensor

Array = np.ndarray[Any, Any]


class NetworkSession:
    """``networks``: of each step, by name, in ranks. ``host``: the lookups before them. ``chunk``: tokens per
    prefill step. ``exact``: everything in float32, weights unrounded."""

    def __init__(
        self,
        trt: Any,
        networks: Mapping[str, Sequence[EmittedNetwork]],
        host: HostSpec,
        checkpoint: Checkpoint,
        chunk: int,
        exact: bool,
    ) -> None:
        self._checkpoint, self._chunk, self._exact = checkpoint, chunk, exact
        self._networks, self._host = networks, host
        self._interpreters = {
            name: Interpreter(trt, [one.network for one in ranks], [one.constants for one in ranks], exact)
            for name, ranks in networks.items()
        }
        ranks = next(iter(networks.values()))
        self._weights: list[dict[str, Any]] = [{} for _ in ranks]
        for steps in networks.values():
            for rank, one in enumerate(steps):
                for name, tensor in one.weights.items():
                    if name not in self._weights[rank]:
                        self._weights[rank][name] = self._weight(tensor)
        self.reset()

    def reset(self) -> None:
        self.length = 0
        self._past: list[dict[str, Any]] = []

    def forward(self, input_ids: Array, all_positions: bool = False) -> Array:
        """Append int64 [B, S]; float32 logits [B, V] of the last position, or [B, S, V]."""
        pieces = []
        for name, start, stop in plan_chunks(self.length, input_ids.shape[1], self._chunk, all_positions):
            pieces.append(self._step(name, input_ids[:, start:stop]))
        return feeds.joined(pieces, all_positions)

    def _step(self, name: str, ids: Array) -> Array:
        batch, new = ids.shape
        ranks = self._networks[name]
        if not self._past:
            self._past = [self._empty(one.graph, batch) for one in ranks]
        tables = look_up(self._host, ids, self._read_rows)
        positions = feeds.positions(self.length, batch, new)
        fed = [
            {**weights, **past, **tables, feeds.POSITIONS: positions}
            for weights, past in zip(self._weights, self._past, strict=True)
        ]
        outputs = self._interpreters[name].run(fed)
        self._past = [feeds.carried(past, found) for past, found in zip(self._past, outputs, strict=True)]
        self.length += new
        logits: Array = outputs[0][feeds.LOGITS].float().numpy()
        return logits

    def _empty(self, graph: ir.Graph, batch: int) -> dict[str, Any]:
        shapes = {str(value.name): list(value.shape or ()) for value in graph.inputs}
        return {
            name: torch.zeros([batch, *(int(size) for size in shapes[name][1:])])  # type: ignore[arg-type]  # static
            for name in feeds.past_names(shapes)
        }

    def _weight(self, tensor: ir.TensorProtocol) -> Any:
        if isinstance(tensor, CheckpointTensor):
            wanted = tensor.unrounded() if self._exact else tensor
            return torch.from_numpy(wanted.numpy().astype(np.float32))
        if isinstance(tensor, EngineTensor):
            return torch.from_numpy(
                tensor.numpy().astype(np.float32)
            )  # codes too: what they are is the network's to say
        raise Defect(f"the weight {tensor.name} is of no kind that is known here")

    def _read_rows(self, key: str, ids: Array) -> Array:
        return np.concatenate([self._checkpoint.read_rows(key, int(row), int(row) + 1) for row in ids])
