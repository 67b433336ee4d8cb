"""Networks with plugin layers on a machine whose TensorRT has none: TensorRT-RTX's, and stand-ins where a plugin is.

What a plugin gives are tensors that the network cannot compute: inputs, to the bindings. `PluggedNetwork` shows them as
outputs of a plugin layer, at the place where that was added, so that an interpreter finds the network that full
TensorRT gets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from g4compile.targets.tensorrt.launches import Launch

PLUGIN = SimpleNamespace(name="PLUGIN_V3")  # as a `LayerType`
_DTYPES = {"bf16": "BF16", "fp32": "FLOAT", "i32": "INT32"}  # members of `DataType`


@dataclass(frozen=True)
class Call:
    """A plugin asked for: ``launch`` over ``operands``."""

    launch: Launch
    operands: tuple[Any, ...]

    def __call__(self) -> None:
        """Full TensorRT makes the plugin here; nothing does so on this machine."""

    @property
    def name(self) -> str:
        """Of the kernel."""
        return self.launch.kernel.function


def stand_in(launch: Launch, operands: Sequence[Any]) -> Call:
    """In the place of `Plugins` where there is no module that makes them."""
    return Call(launch, tuple(operands))


class PluginLayer:
    """As `IPluginV3Layer`: operands of ``call``, and ``outputs``."""

    type = PLUGIN

    def __init__(self, call: Call, outputs: Sequence[Any]) -> None:
        self.call, self._outputs, self.name = call, outputs, ""

    @property
    def num_inputs(self) -> int:
        return len(self.call.operands)

    @property
    def num_outputs(self) -> int:
        return len(self._outputs)

    def get_input(self, index: int) -> Any:
        return self.call.operands[index]

    def get_output(self, index: int) -> Any:
        return self._outputs[index]


class PluggedNetwork:
    """An `INetworkDefinition` that has `add_plugin`; all else is the real one's."""

    def __init__(self, network: Any) -> None:
        self._network = network
        self._plugins: list[tuple[int, PluginLayer]] = []  # how many layers stand before it

        self._outputs: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def mark_output(self, tensor: Any) -> None:
        """Also of a stand-in, which is an input of the real network, and cannot be its output."""
        self._outputs.append(tensor)
        if tensor.name not in self._stand_ins:
            self._network.mark_output(tensor)

    @property
    def num_outputs(self) -> int:
        return len(self._outputs)

    def get_output(self, index: int) -> Any:
        return self._outputs[index]

    def add_plugin(self, call: Call, aot: bool) -> PluginLayer:
        kinds = type(call.operands[0].dtype)
        shapes, number = _shapes(call), len(self._plugins)
        tensors = [
            self._network.add_input(f"plugin {number}:{place}", getattr(kinds, _DTYPES[kind]), shape)
            for place, (shape, (kind, _)) in enumerate(zip(shapes, call.launch.outputs, strict=True))
        ]
        layer = PluginLayer(call, tensors)
        self._plugins.append((self._network.num_layers, layer))
        return layer

    @property
    def _stand_ins(self) -> list[Any]:
        return [layer.get_output(place).name for _, layer in self._plugins for place in range(layer.num_outputs)]

    @property
    def num_inputs(self) -> int:
        return int(self._network.num_inputs) - len(self._stand_ins)

    def get_input(self, index: int) -> Any:
        stand_ins = set(self._stand_ins)
        inputs = (self._network.get_input(place) for place in range(self._network.num_inputs))
        return [tensor for tensor in inputs if tensor.name not in stand_ins][index]

    @property
    def num_layers(self) -> int:
        return int(self._network.num_layers) + len(self._plugins)

    def get_layer(self, index: int) -> Any:
        before = 0
        for count, layer in self._plugins:
            if count + before == index:
                return layer
            before += count + before < index
        return self._network.get_layer(index - before)


def _shapes(call: Call) -> list[tuple[int, ...]]:
    """Of the outputs; -1 where a size follows from one that changes."""
    read = [[math.nan if size < 0 else size for size in one.shape] for one in call.operands]
    made = call.launch.shapes(read, lambda value, over: value / over)
    return [tuple(-1 if math.isnan(size) else size for size in shape) for shape in made]


class PluggedBuilder:
    """An `IBuilder` of such networks."""

    def __init__(self, builder: Any) -> None:
        self._builder = builder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._builder, name)

    def create_network(self, flags: int) -> PluggedNetwork:
        return PluggedNetwork(self._builder.create_network(flags))
