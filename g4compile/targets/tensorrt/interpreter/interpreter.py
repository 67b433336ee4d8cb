"""What a TensorRT network means: a torch interpreter that walks an `INetworkDefinition` through its Python API.

It reads back what was really emitted (layers, attributes, constants), so a test of it is a test of the emitter, on a
machine without a GPU. `exact` computes what is declared bfloat16 or float16 in float32, which shows the structure;
otherwise every tensor is rounded to the type that the strongly typed network declares, which shows the numerics. It
says nothing about the kernels that a builder picks. Several networks that speak to each other run together, layer by
layer, one per rank.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import torch

from g4compile.errors import Defect
from g4compile.targets.tensorrt.interpreter.layers import LAYERS
from g4compile.targets.tensorrt.interpreter.plugged import PluginLayer

Array = np.ndarray[Any, Any]
Values = dict[str, Any]


class Interpreter:
    """``networks``: one, or one per rank. ``constants``: data by tensor name, for types that bindings cannot give
    back."""

    def __init__(
        self, trt: Any, networks: Sequence[Any], constants: Sequence[Mapping[str, Array]], exact: bool = True
    ) -> None:
        self.trt, self.exact = trt, exact
        self._networks, self._constants = list(networks), list(constants)
        names = trt.DataType
        self._dtypes = {
            names.FLOAT: torch.float32,
            names.BF16: torch.bfloat16,
            names.HALF: torch.float16,
            names.INT32: torch.int32,
            names.INT64: torch.int64,
            names.BOOL: torch.bool,
            names.INT4: torch.int8,
            names.INT8: torch.int8,
            names.FP8: torch.float32,
        }
        self._layers = [[self._concrete(network, i) for i in range(network.num_layers)] for network in self._networks]

    def run(self, feeds: Sequence[Mapping[str, Any]]) -> list[Values]:
        """Outputs by name of each network. ``feeds``: torch tensors or arrays by input name, of each."""
        ranks: list[Values] = []
        for network, given in zip(self._networks, feeds, strict=True):
            inputs = [network.get_input(index) for index in range(network.num_inputs)]
            ranks.append({tensor.name: self._checked(tensor, given) for tensor in inputs})
        for step in zip(*self._layers, strict=True):
            kind = step[0][0]
            if kind == self.trt.LayerType.DIST_COLLECTIVE:
                total = sum(
                    values[layer.get_input(0).name].float() for (_, layer), values in zip(step, ranks, strict=True)
                )
                for (_, layer), values in zip(step, ranks, strict=True):
                    values[layer.get_output(0).name] = self.fit(total, layer.get_output(0))
                continue
            for rank, ((kind, layer), values) in enumerate(zip(step, ranks, strict=True)):
                self._execute(kind, layer, values, self._constants[rank])
        return [
            {(out := network.get_output(index)).name: values[out.name] for index in range(network.num_outputs)}
            for network, values in zip(self._networks, ranks, strict=True)
        ]

    def fit(self, value: Any, tensor: Any) -> Any:
        """``value`` in the type that ``tensor`` declares, or wider when exact."""
        dtype = self._dtypes[tensor.dtype]
        if self.exact and dtype in (torch.bfloat16, torch.float16):
            dtype = torch.float32
        return value.to(dtype)

    def _checked(self, tensor: Any, given: Mapping[str, Any]) -> Any:
        if tensor.name not in given:
            raise Defect(f"the network input {tensor.name} was not fed")
        value = torch.as_tensor(given[tensor.name])
        wanted = tuple(tensor.shape)
        if len(value.shape) != len(wanted) or any(w not in (-1, s) for w, s in zip(wanted, value.shape, strict=True)):
            raise Defect(f"the network input {tensor.name} is {list(wanted)}, it was fed {list(value.shape)}")
        return self.fit(value, tensor)

    def _execute(self, kind: Any, layer: Any, values: Values, constants: Mapping[str, Array]) -> None:
        outputs = [layer.get_output(index) for index in range(layer.num_outputs)]
        if kind == self.trt.LayerType.CONSTANT:
            values[outputs[0].name] = self._constant(layer, constants)
            return
        inputs = [
            values[tensor.name] for index in range(layer.num_inputs) if (tensor := layer.get_input(index)) is not None
        ]
        rule = LAYERS.get(kind.name)
        if rule is None:
            raise Defect(f"the interpreter knows no layer {kind.name}", where=layer.name)
        results = rule(self.trt, layer, inputs)
        for tensor, value in zip(outputs, results if isinstance(results, tuple) else (results,), strict=True):
            fitted = self.fit(value, tensor)
            declared = tuple(tensor.shape)
            if any(size not in (-1, real) for size, real in zip(declared, fitted.shape, strict=True)):
                raise Defect(f"{layer.name} declares {declared}, it computes {tuple(fitted.shape)}")
            values[tensor.name] = fitted

    def _constant(self, layer: Any, constants: Mapping[str, Array]) -> Any:
        tensor = layer.get_output(0)
        array = constants.get(tensor.name)
        if array is None:
            raise Defect(f"the data of the constant {tensor.name} is not at hand")
        if array.dtype == ml_dtypes.bfloat16:
            array = array.astype(np.float32)
        elif array.dtype == ml_dtypes.int4:
            array = array.astype(np.int8)
        return self.fit(torch.from_numpy(np.array(array)).reshape(tuple(tensor.shape)), tensor)

    def _concrete(self, network: Any, index: int) -> tuple[Any, Any]:
        """A layer's type, and the layer as the class of that type. The type is read first: `IActivationLayer.type`,
        say, stands for something else."""
        layer = network.get_layer(index)
        kind = layer.type
        if isinstance(layer, PluginLayer):
            return kind, layer
        name = "".join(part.capitalize() for part in kind.name.split("_"))
        special = {"Elementwise": "ElementWise", "Softmax": "SoftMax", "Topk": "TopK", "KvCacheUpdate": "KVCacheUpdate"}
        layer.__class__ = getattr(self.trt, f"I{special.get(name, name)}Layer")
        return kind, layer
