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
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from g4compile.bundle.folder import Bundle
from g4compile.bundle.manifest import AUDIO, DATA, DECODER, VISION, EngineStep, TensorSpec, WeightSpec
from g4compile.bundle.weight_codes import parse_steps
from g4compile.bundle.weight_steps import prepare
from g4compile.errors import CheckpointError, InputError, MachineError
from g4compile.runtime.conversation import NO_MEDIA, Conversation, Logits
from g4compile.runtime.device import Cuda, Device
from g4compile.runtime.engine_encoder import Encoder
from g4compile.runtime.engine_host import EngineHost, StepFeeds
from g4compile.runtime.engine_plans import DTYPES, open_plans
from g4compile.runtime.feeds import LOGITS, PAST, joined, past_of
from g4compile.runtime.in_place import InPlace
from g4compile.runtime.media.placeholders import Media
from g4compile.runtime.media.records import Array, AudioInputs, ImageInputs
from g4compile.runtime.placed import Features, placed
from g4compile.runtime.prompt import media_of
from g4compile.runtime.sampling import Sampling
from g4compile.runtime.tensor_files import TensorFiles

_STAGING = 64 << 20  # bytes of host memory that is kept for copies of weights
_MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}


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
        self._plans = open_plans(trt or _module(spec.product), bundle, spec, self._device)
        self._staging = self._device.staging(_STAGING)
        self._addresses: dict[str, int] = {}
        self._state = InPlace(bundle.manifest.kv.rewind)
        self._graph: tuple[int, int] | None = None  # of a decode step: for how many sequences, and which
        for weight in spec.weights:
            self._bind_weight(weight)
        for step in spec.steps:
            self._allocate(step)
        graphs = bundle.manifest.graphs
        read = [tensor.name for tensor in graphs[self._graph_of("decode")].inputs]
        self._host = EngineHost(spec.host, self._files.read_rows, spec.chunk, read)
        self._encoders = {
            one.part: Encoder(one, graphs[bundle.manifest.graph(one.part)], self._plans[one.part], self._device)
            for one in spec.encoders
        }

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
        for plan in self._plans.values():
            if plan.reads(weight):
                plan.set_address(weight, address)

    def _allocate(self, step: EngineStep) -> None:
        """Buffers of a step's inputs and outputs, as large as they can be; a cache's output is its input."""
        graph = self.bundle.manifest.graphs[self._graph_of(step.name)]
        for tensor in (*graph.inputs, *graph.outputs):
            cache = past_of(tensor.name)
            key = cache if cache.startswith(PAST) else f"{step.name}/{tensor.name}"
            if key not in self._addresses:
                size = math.prod(self._shape(tensor, self._spec.batch, step.tokens[2])) * DTYPES[tensor.dtype].itemsize
                self._addresses[key] = self._device.allocate(size)
                self._device.zero(self._addresses[key], size)
            self._plans[step.name].set_address(tensor.name, self._addresses[key])

    def _shape(self, tensor: TensorSpec, batch: int, tokens: int) -> tuple[int, ...]:
        known = {"batch": batch, "new": tokens}
        return tuple(size if isinstance(size, int) else known[size] for size in tensor.shape)

    @property
    def length(self) -> int:
        return self._state.length

    @property
    def batch(self) -> int | None:
        return self._state.batch or None

    @property
    def kv_bytes(self) -> int:
        return self._spec.kv_bytes

    def _reset(self) -> None:
        self._state.reset()

    def _rewind(self, tokens: int) -> None:
        self._state.rewind(tokens)

    def _whole(self) -> AbstractContextManager[None]:
        return self._state.whole()

    def _close(self) -> None:
        self._plans.clear()
        self._encoders.clear()
        self._device.close()

    def _forward(self, ids: np.ndarray[Any, Any], all_positions: bool, media: Media = NO_MEDIA) -> Logits:
        pieces = []
        for step in self._steps(ids, all_positions, media):
            self._step(step)
            if all_positions:
                pieces.append(self._fetch(step.name, LOGITS, step.tokens.shape))
        return joined(pieces or [self._fetch(step.name, LOGITS, step.tokens.shape)], all_positions)

    def _next(self, ids: np.ndarray[Any, Any], sampling: Sampling, media: Media = NO_MEDIA, more: bool = False) -> int:
        """From the likeliest tokens, which the engine found, where they decide; else from all logits."""
        for step in self._steps(ids, False, media):
            self._step(step)
        name, sizes = step.name, step.tokens.shape
        if not sampling.enough(int(self._output(name, "top_tokens").shape[-1])):
            return sampling.choose(self._fetch(name, LOGITS, sizes)[0, -1])
        top, tokens = (self._fetch(name, output, sizes)[0, -1] for output in ("top_logits", "top_tokens"))
        return sampling.choose_among(top, tokens)

    def _steps(self, ids: np.ndarray[Any, Any], all_positions: bool, media: Media) -> Iterator[StepFeeds]:
        """What the caller runs in turn for ``ids`` with ``media``."""
        if ids.shape[0] > self._spec.batch:
            raise InputError(
                f"the engines take {self._spec.batch} sequences at most, got {ids.shape[0]}", fix="compile with --batch"
            )
        features = None if media.is_empty else self._features(ids, media)
        self._state.batch = ids.shape[0]
        yield from self._host.steps(ids, self._state.length, all_positions, features)

    def _features(self, ids: np.ndarray[Any, Any], media: Media) -> Features:
        spec, encoders = (
            media_of(self.bundle),
            self._encoders,
        )  # of what the bundle takes: `Conversation` has seen to it

        def see(image: ImageInputs) -> Array:
            assert spec.image is not None  # `bundle/media_consistency.py` has seen to it
            return encoders[VISION].image(image, spec.image)

        def hear(sound: AudioInputs) -> Array:
            return encoders[AUDIO].sound(sound)

        return placed(ids, media, spec.tokens, see, hear)

    def _step(self, step: StepFeeds) -> None:
        batch, new = step.tokens.shape
        self._state.writes(new)
        graph, plan = self.bundle.manifest.graphs[self._graph_of(step.name)], self._plans[step.name]
        for tensor in graph.inputs:
            if any(isinstance(size, str) for size in tensor.shape):
                plan.set_shape(tensor.name, self._shape(tensor, batch, new))
            if tensor.name in step.inputs:
                array = np.ascontiguousarray(step.inputs[tensor.name].astype(DTYPES[tensor.dtype]))
                self._device.upload(self._addresses[f"{step.name}/{tensor.name}"], array)
        self._execute(step.name)
        self._device.synchronize()  # before what was fed goes away
        self._state.length += new

    def _fetch(self, name: str, output: str, sizes: tuple[int, ...]) -> np.ndarray[Any, Any]:
        """An output of the step ``name``, which just ran over ids of ``sizes``."""
        spec = self._output(name, output)
        array = np.empty(self._shape(spec, *sizes), DTYPES[spec.dtype])
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
        enqueue = self._plans[name].run
        if name != "decode":
            enqueue()
        elif self._graph is None or self._graph[0] != self._state.batch:
            enqueue()  # TensorRT wants one run before a capture
            self._device.synchronize()
            self._graph = self._state.batch, self._device.capture(enqueue)
        else:
            self._device.launch(self._graph[1])


def _module(product: str) -> Any:
    name = _MODULES[product]
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MachineError(f"{product} is not installed", why=str(error), fix="`g4compile doctor` says how") from error
