"""Networks with plugin layers on a machine whose TensorRT has none: TensorRT-RTX's, and stand-ins where a plugin is.

What a plugin gives is a tensor that the network cannot compute: an input, to the bindings. `PluggedNetwork` shows it as
the output of a plugin layer, at the place where that was added, so that an interpreter finds the network that full
TensorRT gets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from g4compile.targets.tensorrt.plugins import NAMESPACE

PLUGIN = SimpleNamespace(name="PLUGIN_V3")  # as a `LayerType`


@dataclass(frozen=True)
class Call:
    """A plugin asked for: `tensorrt.plugin.op.g4.NAME (*operands, **attributes)`."""

    name: str
    operands: tuple[Any, ...]
    attributes: dict[str, int]

    def __call__(self) -> None:
        """Full TensorRT makes the plugin here; nothing does so on this machine."""


class PluginLayer:
    """As `IPluginV3Layer`: operands of ``call``, and one output."""

    type, num_outputs = PLUGIN, 1

    def __init__(self, call: Call, output: Any) -> None:
        self.call, self._output, self.name = call, output, ""

    @property
    def num_inputs(self) -> int:
        return len(self.call.operands)

    def get_input(self, index: int) -> Any:
        return self.call.operands[index]

    def get_output(self, index: int) -> Any:
        return self._output


class PluggedNetwork:
    """An `INetworkDefinition` that has `add_plugin`; all else is the real one's."""

    def __init__(self, network: Any) -> None:
        self._network = network
        self._plugins: list[tuple[int, PluginLayer]] = []  # how many layers stand before it

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def add_plugin(self, call: Call, aot: bool) -> PluginLayer:
        shape = _SHAPES[call.name](call)
        tensor = self._network.add_input(f"plugin {len(self._plugins)}", call.operands[0].dtype, shape)
        layer = PluginLayer(call, tensor)
        self._plugins.append((self._network.num_layers, layer))
        return layer

    @property
    def num_inputs(self) -> int:
        return int(self._network.num_inputs) - len(self._plugins)

    def get_input(self, index: int) -> Any:
        stand_ins = {layer.get_output(0).name for _, layer in self._plugins}
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


class PluggedBuilder:
    """An `IBuilder` of such networks."""

    def __init__(self, builder: Any) -> None:
        self._builder = builder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._builder, name)

    def create_network(self, flags: int) -> PluggedNetwork:
        return PluggedNetwork(self._builder.create_network(flags))


_SHAPES: dict[str, Callable[[Call], tuple[int, ...]]] = {
    "expert_gate_up": lambda call: (call.operands[1].shape[0], call.attributes["inner"]),
    "expert_down": lambda call: (call.operands[1].shape[0], call.attributes["width"]),
    "flash_attention": lambda call: tuple(call.operands[0].shape),
}


def _maker(name: str) -> Callable[..., Call]:
    return lambda *operands, **attributes: Call(name, operands, attributes)


PLUGINS = SimpleNamespace(
    op=SimpleNamespace(**{NAMESPACE: SimpleNamespace(**{name: _maker(name) for name in _SHAPES})})
)
