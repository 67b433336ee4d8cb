"""Exported program -> [traced] graph, node by node, straight into `onnx_ir`.

Each ATen op has one rule (`aten.py`); an op without a rule is an error that names it and the line of model code
it came from. Node names are module paths. Shapes and dtypes come from the export; dynamic sizes get the names that the
part gives to those of its inputs and outputs (`batch`, `new`, `past_full`; `patches`, `tokens`).
"""

from __future__ import annotations

import operator
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from onnx_ir import tensor_adapters

from g4compile.errors import Defect
from g4compile.graph.edit import constant_name
from g4compile.graph.stage import set_stage
from g4compile.ops.op import Op
from g4compile.ops.registry import attach_bodies
from g4compile.ops.schema import DOMAIN, OPSET
from g4compile.trace.export import Exported
from g4compile.weights.references import CheckpointTensor

Scalar = int | float | bool


class Importer:
    """State of one import: the values of FX nodes seen so far, and the graph built from them by ``rules``."""

    def __init__(self, exported: Exported, rules: Mapping[str, Callable[..., Any]]) -> None:
        self.exported, self.rules = exported, rules
        self.values: dict[torch.fx.Node, Any] = {}
        self.nodes: list[ir.Node] = []
        self.initializers: dict[str, ir.Value] = {}
        self.inputs: list[ir.Value] = []
        self._symbols: dict[Any, str] = {}
        self._sizes: dict[Any, str] = {}
        self._names: Counter[str] = Counter()
        self._here: torch.fx.Node | None = None

    def run(self) -> ir.Model:
        """Import all nodes. Raises Defect for an ATen op without a rule."""
        graph = self.exported.program.graph
        names = iter(self.exported.inputs)
        self._name_sizes(graph)
        stored = self._stored_names()
        outputs: list[ir.Value] = []
        for node in graph.nodes:
            self._here = node
            if node.op == "placeholder":
                self.values[node] = (
                    self._weight(node, stored[node.name]) if node.name in stored else self._input(node, next(names))
                )
            elif node.op == "output":
                outputs = [self.values[arg] for arg in torch.utils._pytree.tree_leaves(node.args[0])]
            elif node.target is operator.getitem:
                self.values[node] = self.values[node.args[0]][node.args[1]]
            else:
                rule = self.rules.get(str(node.target))
                if rule is None:
                    raise Defect(f"no rule imports {node.target}", where=f"{self._module(node)}: {_source_line(node)}")
                self.values[node] = rule(self, node, *self._resolve(node.args), **self._resolve(node.kwargs))
        return self._model(outputs)

    # What rules use.

    def op(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Any] | None = None,
        *,
        domain: str = "",
        like: Any = None,
        count: int = 1,
    ) -> Any:
        """Append a node. ``like`` is the exported value (or tuple) its outputs look like; default: the node's."""
        assert self._here is not None
        meta = self._here.meta["val"] if like is None else like
        metas = meta if isinstance(meta, (tuple, list)) else [meta]
        base = f"{self._module(self._here)}/{op_type}".lstrip("/")
        self._names[base] += 1
        name = base if self._names[base] == 1 else f"{base}_{self._names[base]}"
        outputs = [self._value(meta) for meta in metas[:count]]
        node = ir.node(op_type, inputs, dict(attributes or {}), domain=domain, outputs=outputs, name=name)
        self.nodes.append(node)
        return outputs[0] if count == 1 else outputs

    def ours(self, kind: type[Op], *inputs: ir.Value, **attributes: Any) -> ir.Value:
        """Append a node of an op of ours, with one output. Raises Defect for operands or attributes that it does not
        have."""
        kind.check_names(len(inputs), attributes)
        ordered = {name: attributes[name] for name in kind.attributes}
        value: ir.Value = self.op(kind.__name__, inputs, ordered, domain=DOMAIN)
        return value

    def constant(
        self, value: Scalar | list[int] | np.ndarray[Any, Any], dtype: ir.DataType = ir.DataType.INT64
    ) -> ir.Value:
        """An initializer holding ``value``; equal constants are one."""
        array = np.asarray(value).astype(dtype.numpy())
        return self._initializer(constant_name(array, dtype), ir.Tensor(array))

    def dims(self, value: torch.Tensor) -> list[int | str]:
        """The sizes of an exported tensor, dynamic ones by name."""
        return [size if isinstance(size, int) else self._dim(size) for size in value.shape]

    def dtype(self, value: torch.Tensor) -> ir.DataType:
        return tensor_adapters.from_torch_dtype(value.dtype)

    # How the graph is put together.

    def _stored_names(self) -> dict[str, str]:
        signature = self.exported.program.graph_signature
        return {**signature.inputs_to_parameters, **signature.inputs_to_buffers}

    def _input(self, node: torch.fx.Node, name: str) -> ir.Value:
        value = self._value(node.meta["val"], name)
        self.inputs.append(value)
        return value

    def _name_sizes(self, graph: torch.fx.Graph) -> None:
        """Take the names of dynamic sizes from the inputs and outputs, before any other value has one of them."""
        stored = self._stored_names()
        given = [node for node in graph.nodes if node.op == "placeholder" and node.name not in stored]
        made = torch.utils._pytree.tree_leaves(next(node for node in graph.nodes if node.op == "output").args[0])
        ends = zip((*given, *made), (*self.exported.inputs, *self.exported.outputs), strict=True)
        for node, end in ends:
            for size, name in zip(node.meta["val"].shape, self.exported.axes.get(end, ()), strict=False):
                if name and not isinstance(size, int):
                    expression = size.node.expr
                    (self._symbols if expression.is_Symbol else self._sizes)[expression] = name

    def _weight(self, node: torch.fx.Node, path: str) -> ir.Value:
        meta, dtype = node.meta["val"], self.dtype(node.meta["val"])
        if path in self.exported.buffers:
            return self._initializer(
                path.removeprefix("model."), ir.Tensor(self.exported.buffers[path].astype(dtype.numpy()))
            )
        key = self.exported.key(path)
        return self._initializer(key, CheckpointTensor(key, dtype, tuple(meta.shape)))

    def _initializer(self, name: str, tensor: ir.TensorProtocol) -> ir.Value:
        if name not in self.initializers:
            value = ir.Value(
                name=name, shape=ir.Shape(tensor.shape.numpy()), type=ir.TensorType(tensor.dtype), const_value=tensor
            )
            self.initializers[name] = value
        return self.initializers[name]

    def _value(self, meta: torch.Tensor, name: str | None = None) -> ir.Value:
        return ir.Value(name=name, shape=ir.Shape(self.dims(meta)), type=ir.TensorType(self.dtype(meta)))

    def _dim(self, size: torch.SymInt) -> int | str:
        """A number, where the size has come to be one; else an identifier, as the text form of ONNX wants it: `new +
        past_full` is `new_plus_past_full`, and `2*tokens` is `tokens_times_2`."""
        expression = size.node.expr
        if expression.is_Integer:
            return int(expression)
        if expression not in self._sizes:
            named = str(expression.subs({symbol: _symbol(name) for symbol, name in self._symbols.items()}))
            named = re.sub(r"\b(\d+)\*(\w+)", r"\2*\1", named)  # an identifier begins with a letter
            self._sizes[expression] = named.replace(" + ", "_plus_").replace("*", "_times_")
        return self._sizes[expression]

    def _resolve(self, args: Any) -> Any:
        return torch.fx.node.map_arg(args, lambda node: self.values[node])

    def _module(self, node: torch.fx.Node) -> str:
        stack = list(node.meta.get("nn_module_stack", {}).values())
        return stack[-1][0].removeprefix("model.").removeprefix("model.") if stack else ""

    def _model(self, outputs: list[ir.Value]) -> ir.Model:
        for value, name in zip(outputs, self.exported.outputs, strict=True):
            value.name = name
        used = {operand for node in self.nodes for operand in node.inputs}
        initializers = [value for value in self.initializers.values() if value in used]
        graph = ir.Graph(
            self.inputs,
            outputs,
            nodes=self.nodes,
            initializers=initializers,
            opset_imports={"": OPSET},
            name=self.exported.part,
        )
        model = ir.Model(graph, ir_version=11)
        set_stage(model, "traced")
        attach_bodies(model)
        return model


def _symbol(name: str) -> Any:
    import sympy

    return sympy.Symbol(name, integer=True, nonnegative=True)


def _source_line(node: torch.fx.Node) -> str:
    frames = re.findall(r'File "(.*?)", line (\d+), in (\w+)', node.meta.get("stack_trace") or "")
    return "{}:{} in {}".format(*frames[-1]) if frames else "unknown source line"
