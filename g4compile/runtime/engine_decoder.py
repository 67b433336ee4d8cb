"""The decoder's engines on a device: inputs in one copy, a CUDA graph for each step and number of sequences.

Every step has one number of tokens, so a step of a number of sequences has fixed shapes and addresses: a context of its
own, made when it is first run, whose second run is captured. All contexts share their working memory, and all steps the
memory of inputs and of outputs: one run follows another on the stream. Contexts and graphs stay until `close`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from g4compile.bundle.manifest import DECODER, EngineSpec, Manifest, TensorSpec
from g4compile.errors import MachineError
from g4compile.runtime.device_memory import Memory
from g4compile.runtime.engine_host import StepFeeds
from g4compile.runtime.engine_plans import DTYPES, Context, Plans
from g4compile.runtime.feeds import LOGITS, PAST, past_of

Array = np.ndarray[Any, Any]
TOP = ("top_logits", "top_tokens")
_LINE = 256  # bytes: TensorRT wants addresses at multiples of it


@dataclass(frozen=True)
class Place:
    """Where a tensor stands behind the beginning of its region."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def of(self, region: Array) -> Array:
        """Its part of ``region``, uint8."""
        return region[self.offset : self.offset + self.bytes].view(self.dtype).reshape(self.shape)


def places(tensors: Sequence[TensorSpec], batch: int) -> dict[str, Place]:
    """One behind the other, for ``batch`` sequences."""
    found, end = {}, 0
    for tensor in tensors:
        shape = tuple(size if isinstance(size, int) else batch for size in tensor.shape)
        found[tensor.name] = place = Place(end, shape, DTYPES[tensor.dtype])
        end += -(-place.bytes // _LINE) * _LINE
    return found


def extent(found: dict[str, Place]) -> int:
    """Bytes of a region that holds all that was ``found``."""
    return max((place.offset + place.bytes for place in found.values()), default=0)


@dataclass
class _Run:
    """A step of a number of sequences. ``fed``: host memory of its inputs, by name, and their ``bytes`` in all."""

    context: Context
    fed: dict[str, Array]
    bytes: int
    made: dict[str, Place]
    graph: int | None = field(default=None)
    plain: bool = field(default=False)


class Decoder:
    """``plans`` of the steps of ``spec``, over the ``weights``, addresses by name. Caches are in ``kv``, inputs and
    outputs in ``buffers``, all for the most sequences. ``staging``: uint8 of host memory that the device reads
    directly, at least `staged_bytes`."""

    def __init__(
        self, manifest: Manifest, spec: EngineSpec, plans: Plans, weights: dict[str, int], kv: Memory, buffers: Memory,
        staging: Array,
    ) -> None:  # fmt: skip
        self._manifest, self._plans, self._device = manifest, plans, kv.device
        self._inputs, self._outputs = _sizes(manifest, spec)
        self._fed, self._made = (buffers.allocate(size, zero=True) for size in (self._inputs, self._outputs))
        self._addresses = {**weights, **_caches(manifest, spec, kv)}
        self._staging, self._runs = staging, dict[tuple[str, int], _Run]()
        self._told = False

    def prepare(self, batch: int) -> None:
        """Make contexts of all steps for ``batch`` sequences, and not when they are first run. Raises MachineError."""
        for name in {graph.variant for graph in self._manifest.graphs.values() if graph.part == DECODER}:
            self._open(name, batch)

    def run(self, step: StepFeeds) -> None:
        """Put a run of ``step`` on the stream. Raises MachineError."""
        one = self._run_of(step)
        self._device.wait()  # until the last copy has read the staging memory
        for name, array in one.fed.items():
            array[...] = step.inputs[name]  # rounded to its dtype
        self._device.upload(self._fed, self._staging[: one.bytes])
        self._device.mark()
        if one.graph is not None:
            self._device.launch(one.graph)
            return
        one.context.run()
        if not one.plain:
            self._capture(one)

    def fetch(self, step: StepFeeds) -> Array:
        """Logits [B, n, V] of the tokens of ``step``, which ran last, or [B, 1, V] of the last of them."""
        place = self._run_of(step).made[LOGITS]
        array = np.empty(place.shape, place.dtype)
        self._device.download(array, self._made + place.offset)
        self._device.synchronize()
        return step.real(array)

    def last(self, step: StepFeeds, *names: str) -> list[Array]:
        """Of the last token of ``step``, which ran last, over one sequence: rows of the outputs ``names``."""
        made, row = self._run_of(step).made, step.tokens.shape[1] - 1 if step.every else 0
        found, end = [], self._inputs
        for name in names:
            place = made[name]
            size = place.shape[-1] * place.dtype.itemsize
            staged = self._staging[end : end + size]
            self._device.download(staged, self._made + place.offset + row * size)
            found.append(staged.view(place.dtype))
            end += -(-size // _LINE) * _LINE
        self._device.synchronize()
        return found

    def top_tokens(self, step: StepFeeds) -> int:
        """How many of the likeliest tokens it finds."""
        return self._run_of(step).made[TOP[1]].shape[-1]

    def close(self) -> None:
        """Give the graphs back, which go before their contexts. It is used no more."""
        for one in self._runs.values():
            if one.graph is not None:
                self._device.destroy(one.graph)
        self._runs.clear()

    def _run_of(self, step: StepFeeds) -> _Run:
        key = step.name, len(step.tokens)
        found = self._runs.get(key)
        return self._open(*key) if found is None else found

    def _open(self, name: str, batch: int) -> _Run:
        graph = self._manifest.graphs[self._manifest.graph(DECODER, name)]
        fed, made = (places(tensors, batch) for tensors in _own(graph.inputs, graph.outputs))
        context = self._plans.context(name)
        for tensor in graph.inputs:
            if any(isinstance(size, str) for size in tensor.shape):
                context.set_shape(tensor.name, tuple(size if isinstance(size, int) else batch for size in tensor.shape))
        begins = [(fed, self._fed), (made, self._made)]
        addresses = {tensor: begin + place.offset for region, begin in begins for tensor, place in region.items()}
        for tensor_name in self._plans[name].tensors:
            address = addresses.get(tensor_name, self._addresses.get(past_of(tensor_name)))
            if address is None:
                raise MachineError(
                    f"the engine {name} has a tensor {tensor_name} of which the manifest says nothing",
                    fix="compile again",
                )
            context.set_address(tensor_name, address)
        views = {tensor: place.of(self._staging) for tensor, place in fed.items()}
        one = self._runs[name, batch] = _Run(context, views, extent(fed), made)
        return one

    def _capture(self, one: _Run) -> None:
        """Make a graph of its runs, behind the first: TensorRT allots what it needs then."""
        self._device.synchronize()
        why = "TensorRT says that its runs cannot be captured"
        try:
            if one.context.capturable:
                one.graph = self._device.capture(one.context.run)
                return
        except MachineError as error:
            why = str(error).splitlines()[0]
        one.plain = True
        if not self._told:
            warnings.warn(
                f"the engine {one.context.name} runs without a CUDA graph, which costs time on the host: {why}",
                stacklevel=2,
            )
            self._told = True


def staged_bytes(manifest: Manifest, spec: EngineSpec) -> int:
    """Bytes of host memory that a `Decoder` uses: for the inputs of a step, and a row of each output."""
    inputs, _ = _sizes(manifest, spec)
    return inputs + 4 * manifest.vocab_size + 2 * _LINE * len(TOP) + _LINE


def _sizes(manifest: Manifest, spec: EngineSpec) -> tuple[int, int]:
    """Bytes of the largest inputs and outputs of a step that are neither caches nor weights."""
    inputs, outputs = [_LINE], [_LINE]
    for step in spec.steps:
        graph = manifest.graphs[manifest.graph(DECODER, step.name)]
        fed, made = _own(graph.inputs, graph.outputs)
        inputs.append(extent(places(fed, spec.batch)))
        outputs.append(extent(places(made, spec.batch)))
    return tuple(-(-max(sizes) // _LINE) * _LINE for sizes in (inputs, outputs))  # type: ignore[return-value]


def _own(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Those that are no caches."""
    first, second = (
        [tensor for tensor in tensors if not past_of(tensor.name).startswith(PAST)] for tensors in (inputs, outputs)
    )
    return first, second


def _caches(manifest: Manifest, spec: EngineSpec, memory: Memory) -> dict[str, int]:
    """Addresses by input name, of zeros: what a slot holds that nothing was written to is multiplied by 0, and must be
    finite."""
    found = {}
    for step in spec.steps:
        for tensor in manifest.graphs[manifest.graph(DECODER, step.name)].inputs:
            if tensor.name.startswith(PAST) and tensor.name not in found:
                (place,) = places([tensor], spec.batch).values()
                found[tensor.name] = memory.allocate(place.bytes, zero=True)
    return found
