"""A session over TensorRT engines: weights bound from the checkpoint, caches on the device, a CUDA graph per
decoded token.

The host looks rows of the embedding tables up and decides which step runs which tokens. The device finds the likeliest
tokens, so that greedy and top-k choice bring a few hundred bytes per token back, and not the logits. It imports no
torch. TensorRT itself was never run here: the calls are few, and tests make them against networks interpreted on the
CPU.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from g4compile.bundle.folder import Bundle
from g4compile.bundle.manifest import DATA, DECODER, EngineStep, TensorSpec, WeightSpec
from g4compile.bundle.weight_codes import parse_steps
from g4compile.bundle.weight_steps import prepare
from g4compile.errors import CheckpointError, InputError, MachineError
from g4compile.runtime.conversation import NO_MEDIA, Conversation, Logits
from g4compile.runtime.device import Cuda, Device
from g4compile.runtime.engine_steps import plan_chunks
from g4compile.runtime.feeds import LOGITS, PAST, POSITIONS, joined, past_of, positions
from g4compile.runtime.media.placeholders import Media
from g4compile.runtime.sampling import Sampling
from g4compile.runtime.tables import look_up
from g4compile.runtime.tensor_files import TensorFiles

_STAGING = 64 << 20  # bytes of host memory that is kept for copies of weights
_MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
_DTYPES = {
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float": np.dtype(np.float32),
    "int64": np.dtype(np.int64),
}


class EngineSession(Conversation):
    """One conversation with an engine bundle. ``checkpoint``: the folder whose tensors are the weights.

    ``device`` and ``trt``: where it runs and TensorRT's module; found when not given. Raises MachineError when
    there is no GPU, no TensorRT, or the engines are for other GPUs.
    """

    def __init__(self, bundle: Bundle, checkpoint: Path, device: Device | None = None, trt: Any = None) -> None:
        spec = bundle.manifest.engine
        if spec is None:
            raise InputError(f"{bundle.folder} is no engine bundle")
        if spec.ranks > 1:
            raise MachineError(
                f"these engines are for {spec.ranks} GPUs that compute together, and a session here runs one",
                fix="compile without --tensor-parallel",
            )
        super().__init__(bundle)
        self._spec = spec
        self._device: Device = Cuda() if device is None else device
        self._files = TensorFiles(checkpoint)
        module = trt or _module(spec.product)
        self._absent = module.TensorIOMode.NONE
        self._contexts = self._open(module)
        self._staging = self._device.staging(_STAGING)
        self._addresses: dict[str, int] = {}
        self._length, self._batch = 0, 0
        self._written = 0  # tokens of this call whose keys and values may be in the caches
        self._damaged = False
        self._graph: int | None = None
        for weight in spec.weights:
            self._bind_weight(weight)
        for step in spec.steps:
            self._allocate(step)

    def _open(self, trt: Any) -> dict[str, Any]:
        runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
        self._engines = {}  # an engine must outlive its contexts
        contexts = {}
        for step in self._spec.steps:
            engine = runtime.deserialize_cuda_engine(self.bundle.graph_path(self._graph_of(step.name)).read_bytes())
            if engine is None:
                gpus = ", ".join(f"sm{capability}" for capability in self._spec.compute_capabilities)
                raise MachineError(
                    f"the engine {step.name} cannot be loaded on this GPU",
                    why=f"it was built by {self._spec.product} {self._spec.version} "
                    f"for {gpus or 'the GPU of that machine'}",
                    fix="compile for this GPU, with this TensorRT",
                )
            self._engines[step.name], contexts[step.name] = engine, engine.create_execution_context()
        return contexts

    def _bind_weight(self, weight: WeightSpec) -> None:
        """Copy a tensor to the device, in the dtype that the engines want."""
        if weight.offset is not None:
            data = np.memmap(self.bundle.folder / DATA, np.uint8, "r", offset=weight.offset, shape=(weight.bytes,))
            self._send(weight.name, np.asarray(data))
            return
        array = prepare(self._files.read(weight.key), weight.dtype, parse_steps(weight.steps))
        if array.shape != weight.shape:
            raise CheckpointError(
                f"tensor {weight.key} has the shape {list(array.shape)}, "
                f"the engine was compiled for {list(weight.shape)}",
                where=str(self._files.folder),
                fix="give the checkpoint that the bundle was compiled from",
            )
        self._send(weight.name, np.ascontiguousarray(array).reshape(-1).view(np.uint8))

    def _send(self, weight: str, data: np.ndarray[Any, Any]) -> None:
        address = self._addresses[weight] = self._device.allocate(data.nbytes)
        for start in range(0, data.nbytes, len(self._staging)):
            piece = data[start : start + len(self._staging)]
            staged = self._staging[: len(piece)]
            staged[:] = piece
            self._device.upload(address + start, staged)
            self._device.synchronize()  # before the next piece takes the place of this one
        for step, engine in self._engines.items():
            if engine.get_tensor_mode(weight) != self._absent:  # not every step asks for every weight
                self._set_address(step, weight, address)

    def _allocate(self, step: EngineStep) -> None:
        """Buffers of a step's inputs and outputs, as large as they can be; a cache's output is its input."""
        graph = self.bundle.manifest.graphs[self._graph_of(step.name)]
        for tensor in (*graph.inputs, *graph.outputs):
            cache = past_of(tensor.name)
            key = cache if cache.startswith(PAST) else f"{step.name}/{tensor.name}"
            if key not in self._addresses:
                size = math.prod(self._shape(tensor, self._spec.batch, step.tokens[2])) * _DTYPES[tensor.dtype].itemsize
                self._addresses[key] = self._device.allocate(size)
                self._device.zero(self._addresses[key], size)
            self._set_address(step.name, tensor.name, self._addresses[key])

    def _set_address(self, step: str, name: str, address: int) -> None:
        if not self._contexts[step].set_tensor_address(name, address):
            raise MachineError(
                f"the engine {step} does not take the tensor {name}", fix="compile again, with this TensorRT"
            )

    def _shape(self, tensor: TensorSpec, batch: int, tokens: int) -> tuple[int, ...]:
        known = {"batch": batch, "new": tokens}
        return tuple(size if isinstance(size, int) else known[size] for size in tensor.shape)

    @property
    def length(self) -> int:
        return self._length

    @property
    def batch(self) -> int | None:
        return self._batch or None

    @property
    def kv_bytes(self) -> int:
        return self._spec.kv_bytes

    def _reset(self) -> None:
        self._length, self._batch, self._graph, self._damaged = 0, 0, None, False

    def _rewind(self, tokens: int) -> None:
        if tokens > self.bundle.manifest.kv.rewind:
            raise InputError(
                f"cannot rewind {tokens} tokens: the rings of sliding layers "
                f"hold {self.bundle.manifest.kv.rewind} more than"
                " their window",
                fix="reset and run the prompt again",
            )
        self._length -= tokens

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Caches are written in place. Full layers are written behind the state only; a ring gives up its oldest
        tokens, and holds `rewind` more than are seen. When an error leaves more than that, the state is lost, and only
        a reset is possible."""
        if self._damaged:
            raise InputError(
                "an error has damaged the state of this session",
                why="it came when the rings of sliding layers had been written over",
                fix="reset() the session and run the whole prompt again",
            )
        before, self._written = (self._length, self._batch), 0
        try:
            yield
        except BaseException:  # an interrupt too
            self._length, batch = before
            if batch != self._batch:
                self._batch, self._graph = batch, None
            self._damaged = self._length > 0 and self._written > self.bundle.manifest.kv.rewind
            raise

    def _forward(self, ids: np.ndarray[Any, Any], all_positions: bool, media: Media = NO_MEDIA) -> Logits:
        pieces = []
        for name, piece in self._pieces(ids, all_positions):
            self._step(name, piece)
            if all_positions:
                pieces.append(self._fetch(name, LOGITS, piece.shape))
        return joined(pieces or [self._fetch(name, LOGITS, piece.shape)], all_positions)

    def _next(self, ids: np.ndarray[Any, Any], sampling: Sampling, media: Media = NO_MEDIA) -> int:
        """From the likeliest tokens, which the engine found, where they decide; else from all logits."""
        for name, piece in self._pieces(ids, False):
            self._step(name, piece)
        if not sampling.enough(int(self._output(name, "top_tokens").shape[-1])):
            return sampling.choose(self._fetch(name, LOGITS, piece.shape)[0, -1])
        top, tokens = (self._fetch(name, output, piece.shape)[0, -1] for output in ("top_logits", "top_tokens"))
        return sampling.choose_among(top, tokens)

    def _pieces(self, ids: np.ndarray[Any, Any], all_positions: bool) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
        """``ids`` as (step, its ids), which the caller runs in turn."""
        if ids.shape[0] > self._spec.batch:
            raise InputError(
                f"the engines take {self._spec.batch} sequences at most, got {ids.shape[0]}", fix="compile with --batch"
            )
        if ids.shape[0] != self._batch:
            self._batch, self._graph = ids.shape[0], None
        for name, start, stop in plan_chunks(self._length, ids.shape[1], self._spec.chunk, all_positions):
            yield name, ids[:, start:stop]

    def _step(self, name: str, ids: np.ndarray[Any, Any]) -> None:
        batch, new = ids.shape
        self._written += new
        graph, context = self.bundle.manifest.graphs[self._graph_of(name)], self._contexts[name]
        feeds = look_up(self._spec.host, ids, self._files.read_rows)
        feeds[POSITIONS] = positions(self._length, batch, new)
        for tensor in graph.inputs:
            shape = self._shape(tensor, batch, new)
            dynamic = any(isinstance(size, str) for size in tensor.shape)
            if dynamic and not context.set_input_shape(tensor.name, shape):
                raise MachineError(f"the engine {name} does not take {tensor.name} of the shape {list(shape)}")
            if tensor.name in feeds:
                array = np.ascontiguousarray(feeds[tensor.name].astype(_DTYPES[tensor.dtype]))
                self._device.upload(self._addresses[f"{name}/{tensor.name}"], array)
        self._execute(name)
        self._device.synchronize()  # before what was fed goes away
        self._length += new

    def _fetch(self, name: str, output: str, sizes: tuple[int, ...]) -> np.ndarray[Any, Any]:
        """An output of the step ``name``, which just ran over ids of ``sizes``."""
        spec = self._output(name, output)
        array = np.empty(self._shape(spec, *sizes), _DTYPES[spec.dtype])
        self._device.download(array, self._addresses[f"{name}/{output}"])
        self._device.synchronize()
        return array

    def _output(self, name: str, output: str) -> TensorSpec:
        graph = self.bundle.manifest.graphs[self._graph_of(name)]
        return next(tensor for tensor in graph.outputs if tensor.name == output)

    def _graph_of(self, step: str) -> str:
        """The name of the graph that the decoder runs in a ``step``."""
        return self.bundle.manifest.graph(DECODER, step)

    def _execute(self, name: str) -> None:
        """Run a step; a decode step from its second time on as a graph, which costs one launch."""

        def enqueue() -> None:
            if not self._contexts[name].execute_async_v3(self._device.stream):
                raise MachineError(f"TensorRT could not run the step {name}", fix="see TensorRT's own message above")

        if name != "decode":
            enqueue()
        elif self._graph is None:
            enqueue()  # TensorRT wants one run before a capture
            self._device.synchronize()
            self._graph = self._device.capture(enqueue)
        else:
            self._device.launch(self._graph)


def _module(product: str) -> Any:
    name = _MODULES[product]
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MachineError(f"{product} is not installed", why=str(error), fix="`g4compile doctor` says how") from error
