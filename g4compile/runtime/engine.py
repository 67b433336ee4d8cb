"""A session over TensorRT engines: weights bound from the checkpoint, caches on the device, a CUDA graph for each step.

The host looks rows of the embedding tables up and decides which step runs which tokens. The device finds the likeliest
tokens, so that greedy and top-k choice bring a few hundred bytes per token back, and not the logits. It imports no
torch. TensorRT itself was never run here: the calls are few, and tests make them against networks interpreted on the
CPU.
"""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from g4compile.bundle.folder import Bundle
from g4compile.bundle.manifest import AUDIO, DECODER, VISION, EngineSpec
from g4compile.errors import G4Error, InputError, MachineError
from g4compile.runtime.conversation import NO_MEDIA, Conversation, Logits
from g4compile.runtime.device import Cuda, Device, DeviceMemory
from g4compile.runtime.device_memory import Memory
from g4compile.runtime.engine_contexts import RTX, CompiledContexts, cache_file, plain_contexts
from g4compile.runtime.engine_decoder import TOP, Decoder, staged_bytes
from g4compile.runtime.engine_encoder import Encoder
from g4compile.runtime.engine_host import EngineHost, StepFeeds
from g4compile.runtime.engine_plans import Plans, open_plans
from g4compile.runtime.engine_steps import Planner
from g4compile.runtime.engine_weights import Weights
from g4compile.runtime.feeds import LOGITS, joined
from g4compile.runtime.in_place import InPlace
from g4compile.runtime.media.placeholders import Media
from g4compile.runtime.media.records import Array, AudioInputs, ImageInputs
from g4compile.runtime.placed import Features, placed
from g4compile.runtime.prompt import media_of
from g4compile.runtime.sampling import Sampling
from g4compile.runtime.tensor_files import TensorFiles

_STAGING = 16 << 20  # least bytes of host memory for copies: weights go through it
_MODULES = {"tensorrt": "tensorrt", RTX: "tensorrt_rtx"}


class EngineSession(Conversation):
    """One conversation with an engine bundle. ``checkpoint``: the folder whose tensors are the weights; None for a
    bundle that holds them itself.

    ``device`` and ``trt``: where it runs and TensorRT's module; found when not given. ``cache``: a folder for kernels
    that TensorRT-RTX compiles, which later sessions load. Raises MachineError when there is no GPU, no TensorRT, not
    enough memory, or the engines are for other GPUs. Whatever is raised, nothing of it stays on the device.
    """

    def __init__(
        self,
        bundle: Bundle,
        checkpoint: Path | None = None,
        device: Device | None = None,
        trt: Any = None,
        cache: Path | None = None,
    ) -> None:
        spec = bundle.manifest.engine
        if spec is None:
            raise InputError(f"{bundle.folder} is no engine bundle")
        if spec.ranks > 1:
            raise MachineError(
                f"these engines are for {spec.ranks} GPUs that compute together, and a session here runs one",
                fix="compile without --tensor-parallel",
            )
        held = bundle.manifest.tensor_files
        if checkpoint is None and not held:
            raise InputError(
                "this engine bundle holds no weights: it reads them from the checkpoint it was compiled from",
                fix="--checkpoint FOLDER, or load(..., checkpoint=FOLDER); or compile with --self-contained",
            )
        super().__init__(bundle)
        self._files = TensorFiles(bundle.folder, held) if checkpoint is None else TensorFiles(checkpoint)
        kernels = cache_file(bundle, cache)
        self._device: Device = Cuda() if device is None else device
        self._compiled: CompiledContexts | None = None
        self._plans: Plans | None = None
        self._decoder: Decoder | None = None
        self._encoders: dict[str, Encoder] = {}
        self._weights, self._kv, self._buffers = (
            Memory(self._device, what) for what in ("weights", "keys and values", "inputs, outputs and what is between")
        )
        self._state = InPlace(bundle.manifest.kv.rewind, spec.ring)
        try:
            self._free_before = self._device.free_memory()
            self._open(spec, _module(spec.product) if trt is None else trt, kernels)
        except BaseException as error:
            traceback.clear_frames(error.__traceback__)  # they hold engines, which go before the stream
            self._close()
            raise

    def _open(self, spec: EngineSpec, trt: Any, kernels: Path | None) -> None:
        manifest, graphs = self.bundle.manifest, self.bundle.manifest.graphs
        if spec.product == RTX:
            self._compiled = CompiledContexts(trt, [step.name for step in spec.steps], kernels)
        make = plain_contexts(trt) if self._compiled is None else self._compiled
        plans = self._plans = open_plans(trt, self.bundle, spec, self._device, make, self._buffers)
        staging = self._device.staging(max(_STAGING, staged_bytes(manifest, spec)))
        weights = Weights(self.bundle.folder, self._files, self._weights, staging)
        addresses = {weight.name: weights.bind(weight) for weight in spec.weights}
        self._decoder = Decoder(manifest, spec, plans, addresses, self._kv, self._buffers, staging)
        self._decoder.prepare(1)
        read = [tensor.name for tensor in graphs[manifest.graph(DECODER, "decode")].inputs]
        planner = Planner(spec.steps, spec.ring, manifest.context)
        self._host = EngineHost(spec.host, self._files.read_rows, planner, read)
        for one in spec.encoders:
            context = plans.context(one.part)
            for name in addresses.keys() & set(plans[one.part].tensors):
                context.set_address(name, addresses[name])
            self._encoders[one.part] = Encoder(one, graphs[manifest.graph(one.part)], context, self._buffers)
        if self._compiled is not None:
            self._compiled.save()

    @property
    def length(self) -> int:
        return self._state.length

    @property
    def batch(self) -> int | None:
        return self._state.batch or None

    @property
    def kv_bytes(self) -> int:
        return self._kv.bytes

    @property
    def device_memory(self) -> DeviceMemory:
        with self._alone():
            free, held = self._device.free_memory(), (self._weights.bytes, self._kv.bytes, self._buffers.bytes)
            return DeviceMemory(*held, max(0, self._free_before - free - sum(held)), free)

    def _reset(self) -> None:
        self._state.reset()

    def _rewind(self, tokens: int) -> None:
        self._state.rewind(tokens)

    @contextmanager
    def _whole(self) -> Iterator[None]:
        try:
            with self._state.whole():
                yield
        except BaseException:  # an interrupt too
            with suppress(G4Error):  # the first error is the one to tell
                self._device.synchronize()  # what is still running reads memory that the next call writes
            raise

    def _close(self) -> None:
        """Graphs before the contexts that they were captured of, these before engines, and all before the stream."""
        try:
            if self._decoder is not None:
                self._device.synchronize()
                self._decoder.close()
            if self._compiled is not None:
                self._compiled.save()
        finally:
            if self._plans is not None:
                self._plans.close()
            if self._compiled is not None:
                self._compiled.close()
            self._device.close()

    def _forward(self, ids: np.ndarray[Any, Any], all_positions: bool, media: Media = NO_MEDIA) -> Logits:
        assert self._decoder is not None  # of an open session
        pieces = []
        for step in self._steps(ids, all_positions, media):
            self._step(step)
            if all_positions:
                pieces.append(self._decoder.fetch(step))
        return joined(pieces or [self._decoder.fetch(step)], all_positions)

    def _next(self, ids: np.ndarray[Any, Any], sampling: Sampling, media: Media = NO_MEDIA, more: bool = False) -> int:
        """From the likeliest tokens, which the engine found, where they decide; else with all logits."""
        assert self._decoder is not None  # of an open session
        for step in self._steps(ids, False, media):
            self._step(step)
        if sampling.enough(self._decoder.top_tokens(step)):
            return sampling.choose_among(*self._decoder.last(step, *TOP))
        return sampling.choose_knowing(*self._decoder.last(step, LOGITS, *TOP))

    def _steps(self, ids: np.ndarray[Any, Any], all_positions: bool, media: Media) -> Iterator[StepFeeds]:
        """What the caller runs in turn for ``ids`` with ``media``."""
        spec = self.bundle.manifest.engine
        assert spec is not None  # `__init__` has seen to it
        if ids.shape[0] > spec.batch:
            raise InputError(
                f"the engines take {spec.batch} sequences at most, got {ids.shape[0]}", fix="compile with --batch"
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
        assert self._decoder is not None  # of an open session
        self._state.writes(step.end)
        self._decoder.run(step)
        self._state.length += step.tokens.shape[1]


def _module(product: str) -> Any:
    name = _MODULES[product]
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MachineError(f"{product} is not installed", why=str(error), fix="`g4compile doctor` says how") from error
    except Exception as error:  # the bindings raise whatever the loader of their libraries says
        raise MachineError(f"{product} cannot be loaded", why=str(error), fix="`g4compile doctor` says why") from error
