"""A legal graph as an `INetworkDefinition`: one layer (or a few) a node, named after the module it came from.

Works on any module with TensorRT's Python API (`tensorrt`, `tensorrt_rtx`), which is handed in. Weights of the
checkpoint become network inputs of their own names, bound when an engine is loaded, so that a plan holds code and no
weights; what the graph computed itself (frequencies, masks' slots) becomes constants. 64-bit integers become 32-bit
ones behind the inputs. What a layer cannot say is an error here, before any builder sees it. Source: NVIDIA,
`INetworkDefinition`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from g4compile.errors import SpecError
from g4compile.graph.edit import constant_array
from g4compile.graph.stage import describe, op_name
from g4compile.targets.tensorrt.refusal import Refusal

Array = np.ndarray[Any, Any]
Tensor = Any  # ITensor of whichever module

_INT32_MAX, _WORD = 2**31 - 1, 4  # bytes of an int32


class _Adding:
    """A network that refuses aloud: for a layer that it does not take, the bindings return None."""

    def __init__(self, network: Any, emitter: Emitter) -> None:
        self._network, self._emitter = network, emitter

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._network, name)
        if not name.startswith("add_"):
            return method

        def add(*arguments: Any) -> Any:
            made = method(*arguments)
            if made is None:
                raise Refusal(f"{name} makes no layer of these operands", where=self._emitter.where)
            return made

        return add


class Emitter:
    """Emits nodes into ``network``. ``constants``: the data of every constant by tensor name, because the bindings
    cannot give bfloat16 and 4-bit constants back; it also keeps that memory alive until the engine is built.
    ``plugins``: makes what `add_plugin` takes of a launch and its operands, of an edition that has plugin layers."""

    def __init__(self, trt: Any, network: Any, plugins: Any = None) -> None:
        self.trt, self.network, self.plugins = trt, _Adding(network, self), plugins
        self.constants: dict[str, Array] = {}
        self.weights: dict[str, ir.TensorProtocol] = {}
        self.node: ir.Node | None = None  # the one being emitted
        self._tensors: dict[ir.Value, Tensor] = {}
        self._padded: dict[tuple[ir.Value, int], Tensor] = {}
        self._used: dict[str, int] = {}
        self._dtypes = {
            ir.DataType.FLOAT: trt.float32,
            ir.DataType.BFLOAT16: trt.bfloat16,
            ir.DataType.INT64: trt.int32,
            ir.DataType.INT32: trt.int32,
            ir.DataType.BOOL: trt.bool,
            ir.DataType.INT4: trt.int4,
            ir.DataType.FLOAT8E4M3FN: trt.fp8,
        }

    def emit(self, graph: ir.Graph, layers: Any) -> None:
        """Emit all of ``graph``. ``layers``: op name -> function of (emitter, node) that returns the node's tensors."""
        for value in graph.inputs:
            self._input(value)
        for node in graph:
            self.node = node
            rule = layers.get(op_name(node))
            if rule is None:
                raise SpecError(f"no TensorRT layer is known for {op_name(node)}", where=describe(node))
            outputs = rule(self, node)
            for value, tensor in zip(node.outputs, outputs, strict=True):
                self._tensors[value] = tensor
        for value in graph.outputs:
            tensor = self._tensors[value]
            if value.dtype == ir.DataType.INT64:  # as the graph says, whatever the layers computed in
                tensor = self.layer(self.network.add_cast(tensor, self.trt.int64), f"{value.name}/int64")
            tensor.name = str(value.name)
            self.network.mark_output(tensor)

    def dtype(self, dtype: ir.DataType | None) -> Any:
        """TensorRT's name of a graph dtype."""
        if dtype not in self._dtypes:
            raise SpecError(f"TensorRT networks hold no {dtype} values here", where=self.where)
        return self._dtypes[dtype]

    @property
    def where(self) -> str:
        return describe(self.node) if self.node is not None else ""

    def layer(self, layer: Any, part: str = "", output: int = 0) -> Tensor:
        """Name ``layer`` after the node being emitted; one of its outputs."""
        name = f"{self.node.name if self.node is not None else 'network'}{'/' if part else ''}{part}"
        count = self._used[name] = self._used.get(name, 0) + 1
        layer.name = name if count == 1 else f"{name}#{count}"
        for index in range(layer.num_outputs):
            layer.get_output(index).name = f"{layer.name}:{index}"
        return layer.get_output(output)

    def tensor(self, value: ir.Value | None, rank: int | None = None) -> Tensor:
        """``value`` in the network, with leading sizes of 1 up to ``rank``: layers do not broadcast ranks."""
        assert value is not None
        if value not in self._tensors:
            self._tensors[value] = self._initializer(value)
        found = self._tensors[value]
        if rank is None or len(found.shape) == rank:
            return found
        if (value, rank) not in self._padded:
            self._padded[value, rank] = self._pad(value, found, rank)
        return self._padded[value, rank]

    def constant(self, array: Array, dtype: Any, part: str = "constant") -> Tensor:
        """``array``, in ``dtype``'s memory layout, as a constant of its own shape."""
        data = np.array(array, order="C")
        layer = self.network.add_constant(tuple(data.shape), self.trt.Weights(dtype, data.ctypes.data, data.size))
        tensor = self.layer(layer, part)
        self.constants[tensor.name] = data
        return tensor

    def integers(self, value: ir.Value | None) -> list[int]:
        """The numbers of a constant operand."""
        array = constant_array(value)
        if array is None:
            raise SpecError("an operand must be constant", where=self.where)
        return [int(number) for number in array.reshape(-1)]

    def _input(self, value: ir.Value) -> None:
        trt = self.trt
        shape = tuple(size if isinstance(size, int) else -1 for size in value.shape or ())
        wide = value.dtype == ir.DataType.INT64
        tensor = self.network.add_input(str(value.name), trt.int64 if wide else self.dtype(value.dtype), shape)
        if wide:
            tensor = self.layer(self.network.add_cast(tensor, trt.int32), f"{value.name}/int32")
        self._tensors[value] = tensor

    def _initializer(self, value: ir.Value) -> Tensor:
        stored = value.const_value
        assert stored is not None
        array = constant_array(value)
        if array is None:  # of the checkpoint: read when an engine is loaded
            shape = tuple(int(size) for size in stored.shape)  # type: ignore[arg-type]  # weights are static
            self.weights[str(value.name)] = stored
            if value.dtype == ir.DataType.UINT8:  # codes for a plugin, which TensorRT gives no bytes to
                return self.network.add_input(str(value.name), self.trt.int32, (*shape[:-1], shape[-1] // _WORD))
            return self.network.add_input(str(value.name), self.dtype(value.dtype), shape)
        if value.dtype == ir.DataType.INT64:
            array = np.clip(array, -_INT32_MAX - 1, _INT32_MAX).astype(np.int32)
        return self.constant(array, self.dtype(value.dtype), str(value.name))

    def _pad(self, value: ir.Value, tensor: Tensor, rank: int) -> Tensor:
        sizes = tuple(tensor.shape)
        if -1 in sizes or len(sizes) > rank:
            raise SpecError(f"operands of ranks {len(sizes)} and {rank} cannot be joined", where=self.where)
        array = self.constants.get(tensor.name)
        if array is not None:
            return self.constant(
                array.reshape((1,) * (rank - len(sizes)) + sizes), tensor.dtype, f"{value.name}/{rank}d"
            )
        shuffle = self.network.add_shuffle(tensor)
        shuffle.reshape_dims = (1,) * (rank - len(sizes)) + sizes
        return self.layer(shuffle, f"{value.name}/{rank}d")
