"""TensorRT's module with a builder that refuses what a test says, as real ones were seen to refuse: the rest is
TensorRT-RTX's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from g4compile.targets.tensorrt.attention_forms import FOLDED, FUSED, SELECT

# Of TensorRT 11.1 on an A100, of a mask beside queries, keys and values.
FOURTH = "wrap_attention_op_in_kgen.cpp: MyelinCheckException: Expected 3 live inputs, got 4"


def form_of(trt: Any, network: Any) -> str:
    """The form of attention of an emitted network of the decoder, none of whose heads is too wide."""
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    if any(layer.type == trt.LayerType.ATTENTION_INPUT for layer in layers):
        return FUSED
    grouped = (layer for layer in layers if layer.type == trt.LayerType.SELECT and len(layer.get_output(0).shape) == 5)
    return SELECT if any(grouped) else FOLDED


class Refusing:
    """``trt``, of another ``version``. ``plan``: called with the form of a network and a function that logs an error,
    gives a plan, None, or raises. ``layer``: what `add_attention` gives in the place of its own."""

    def __init__(
        self,
        trt: Any,
        plan: Callable[[str, Callable[[str], None]], bytes | None],
        layer: Callable[[Any], Any] = lambda one: one,
        version: str = "11.2.1.2",
    ) -> None:
        self._trt, self._plan, self._layer, self.__version__ = trt, plan, layer, version

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trt, name)

    def Builder(self, logger: Any) -> Any:
        return _Builder(self, self._trt.Builder(logger), logger)


class _Builder:
    def __init__(self, module: Refusing, builder: Any, logger: Any) -> None:
        self._module, self._builder, self._logger = module, builder, logger

    def __getattr__(self, name: str) -> Any:
        return getattr(self._builder, name)

    def create_network(self, flags: int) -> Any:
        return _Network(self._module, self._builder.create_network(flags))

    def build_serialized_network(self, network: Any, config: Any) -> bytes | None:
        trt = self._module._trt
        return self._module._plan(
            form_of(trt, network._network), lambda text: self._logger.log(trt.ILogger.ERROR, text)
        )


class _Network:
    def __init__(self, module: Refusing, network: Any) -> None:
        self._module, self._network = module, network

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def add_attention(self, *operands: Any) -> Any:
        return self._module._layer(self._network.add_attention(*operands))
