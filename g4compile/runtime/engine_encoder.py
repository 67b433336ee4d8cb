"""An encoder of an engine bundle on a device: one item at a time, in the profile that its size is for."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from g4compile.bundle.manifest import EngineEncoder, GraphSpec, TensorSpec
from g4compile.bundle.media import PatchSpec
from g4compile.errors import InputError
from g4compile.runtime.device_memory import Memory
from g4compile.runtime.engine_plans import DTYPES, Context
from g4compile.runtime.media.patches import in_token_order
from g4compile.runtime.media.records import Array, AudioInputs, ImageInputs


class Encoder:
    """A ``context`` of the plan of a part, as ``spec`` and its ``graph`` describe it. Its ``buffers`` hold the largest
    item."""

    def __init__(self, spec: EngineEncoder, graph: GraphSpec, context: Context, buffers: Memory) -> None:
        self._spec, self._graph, self._context, self._device = spec, graph, context, buffers.device
        most = {name: sizes[2] for profile in spec.profiles for name, sizes in profile.items()}  # the last is largest
        self._addresses = {}
        for tensor in (*graph.inputs, *graph.outputs):
            size = math.prod(_shape(tensor, most)) * DTYPES[tensor.dtype].itemsize
            address = self._addresses[tensor.name] = buffers.allocate(size, zero=True)
            context.set_address(tensor.name, address)

    def image(self, image: ImageInputs, patches: PatchSpec) -> Array:
        """Features float32 [tokens, H] of an image. Raises InputError for one that no profile is for, MachineError when
        it cannot be run."""
        values, positions = in_token_order(image, patches)
        found = {"pixel_values": values, "pixel_position_ids": positions}
        return self._run(found, {"tokens": image.tokens, "patches": len(values)}, "an image")

    def sound(self, sound: AudioInputs) -> Array:
        """Features float32 [tokens, H] of a sound, of the frames that are wholly of it. Raises as `image`."""
        frames = sound.input_features[sound.input_features_mask]
        return self._run({"input_features": frames}, {"tokens": sound.tokens, "frames": len(frames)}, "a sound")

    def _run(self, feeds: Mapping[str, Array], sizes: Mapping[str, int], item: str) -> Array:
        self._context.take_profile(self._profile(sizes, item))
        for tensor in self._graph.inputs:
            array = np.ascontiguousarray(feeds[tensor.name].astype(DTYPES[tensor.dtype]))
            self._context.set_shape(tensor.name, array.shape)
            self._device.upload(self._addresses[tensor.name], array)
        self._context.run()
        (output,) = self._graph.outputs
        made = np.empty(_shape(output, sizes), DTYPES[output.dtype])
        self._device.download(made, self._addresses[output.name])
        self._device.synchronize()
        return made.astype(np.float32)

    def _profile(self, sizes: Mapping[str, int], item: str) -> int:
        """The index of the profile for an ``item`` of these ``sizes``."""
        for index, profile in enumerate(self._spec.profiles):
            if all(least <= sizes[name] <= most for name, (least, _, most) in profile.items()):
                return index
        _, _, most = self._spec.profiles[-1]["tokens"]
        raise InputError(
            f"{item} of {sizes['tokens']:,} tokens is not possible here", why=f"the engine takes 1 to {most:,}"
        )


def _shape(tensor: TensorSpec, sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else sizes[size] for size in tensor.shape)
