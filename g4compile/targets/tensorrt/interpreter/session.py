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
from g4compile.runtime.engine_host import EngineHost, StepFeeds
from g4compile.runtime.engine_steps import Planner
from g4compile.runtime.placed import Features
from g4compile.targets.tensorrt.build import EmittedNetwork
from g4compile.targets.tensorrt.interpreter.interpreter import Interpreter
from g4compile.weights.checkpoint import Checkpoint
from g4compile.weights.engine_tensors import EngineTensor
from g4compile.weights.quantized import QuantizedTensor
from g4compile.weights.references import CheckpointTensor

Array = np.ndarray[Any, Any]


class NetworkSession:
    """``networks``: of each step, by name, in ranks. ``host``: the lookups before them. ``planner``: which step runs
    which tokens. ``exact``: everything in float32, weights unrounded."""

    def __init__(
        self,
        trt: Any,
        networks: Mapping[str, Sequence[EmittedNetwork]],
        host: HostSpec,
        checkpoint: Checkpoint,
        planner: Planner,
        exact: bool,
    ) -> None:
        self._checkpoint, self._networks = checkpoint, networks
        self._interpreters = {
            name: Interpreter(trt, [one.network for one in ranks], [one.constants for one in ranks], exact)
            for name, ranks in networks.items()
        }
        ranks = next(iter(networks.values()))
        read = [str(value.name) for value in ranks[0].graph.inputs]
        self._host = EngineHost(host, self._read_rows, planner, read)
        self._weights: list[dict[str, Any]] = [{} for _ in ranks]
        for steps in networks.values():
            for rank, one in enumerate(steps):
                for name, tensor in one.weights.items():
                    if name not in self._weights[rank]:
                        self._weights[rank][name] = weight_of(tensor, exact)
        self.reset()

    def reset(self) -> None:
        self.length = 0
        self._past: list[dict[str, Any]] = []

    def forward(self, input_ids: Array, all_positions: bool = False, features: Features | None = None) -> Array:
        """Append int64 [B, S], with ``features`` in the place of some; float32 logits [B, V] of the last position, or
        [B, S, V]."""
        steps = self._host.steps(input_ids, self.length, all_positions, features)
        return feeds.joined([self._step(step) for step in steps], all_positions)

    def _step(self, step: StepFeeds) -> Array:
        batch, new = step.tokens.shape
        if not self._past:
            self._past = [self._empty(one.graph, batch) for one in self._networks[step.name]]
        fed = [{**weights, **past, **step.inputs} for weights, past in zip(self._weights, self._past, strict=True)]
        outputs = self._interpreters[step.name].run(fed)
        self._past = [feeds.carried(past, found) for past, found in zip(self._past, outputs, strict=True)]
        self.length += new
        return step.real(outputs[0][feeds.LOGITS].float().numpy())

    def _empty(self, graph: ir.Graph, batch: int) -> dict[str, Any]:
        shapes = {str(value.name): list(value.shape or ()) for value in graph.inputs}
        return {
            name: torch.zeros([batch, *(int(size) for size in shapes[name][1:])])  # type: ignore[arg-type]  # static
            for name in feeds.past_names(shapes)
        }

    def _read_rows(self, key: str, ids: Sequence[int]) -> Array:
        return np.concatenate([self._checkpoint.read_rows(key, row, row + 1) for row in ids])


def weight_of(tensor: ir.TensorProtocol, exact: bool) -> Any:
    """What a network is fed as ``tensor``, in float32; unrounded when ``exact``."""
    if isinstance(tensor, CheckpointTensor):
        wanted = tensor.unrounded() if exact else tensor
        return torch.from_numpy(wanted.numpy().astype(np.float32))
    if isinstance(tensor, QuantizedTensor) and tensor.part == "codes":
        return torch.from_numpy(tensor.numpy().view(np.int32))
    if isinstance(tensor, EngineTensor | QuantizedTensor):
        return torch.from_numpy(tensor.numpy().astype(np.float32))  # codes too: what they are is the network's to say
    raise Defect(f"the weight {tensor.name} is of no kind that is known here")
