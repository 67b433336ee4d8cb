"""One op with a plan, of given operands: what the interpreter makes of it, and what the reference says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from g4compile.ops.schema import DOMAIN
from g4compile.targets.onnx.cuda.lower_to_launches import LowerToLaunches
from tests.targets.onnx.cuda.launched import Interpreter, Step, run_step, step_of
from tests.targets.onnx.cuda.reference import OPS, Array, as_it_is

_DTYPES = {
    "float32": ir.DataType.FLOAT,
    "int32": ir.DataType.INT32,
    "int64": ir.DataType.INT64,
    "uint8": ir.DataType.UINT8,
}
_WITHOUT = {"NextToken": ir.DataType.INT64}  # the first output of all others is a float


@dataclass(frozen=True)
class Case:
    """``op`` of ``operands``, None where one is absent. ``dynamic``: by operand, how many of its first sizes the plan
    must not know; all but the last of operand 0 without."""

    op: str
    operands: Sequence[Array | None]
    attributes: dict[str, Any]
    dynamic: dict[int, int]

    @property
    def step(self) -> Step:
        inputs = [None if one is None else self._value(index, one) for index, one in enumerate(self.operands)]
        node = ir.node(self.op, inputs, self.attributes, domain=DOMAIN, num_outputs=1, name=f"the {self.op}")
        node.outputs[0].name, node.outputs[0].type = "y", ir.TensorType(_WITHOUT.get(self.op, ir.DataType.FLOAT))
        graph = ir.Graph([one for one in inputs if one is not None], [node.outputs[0]], nodes=[node], name="case")
        LowerToLaunches(ops=1).apply(ir.Model(graph, ir_version=10))
        return step_of(graph[0])

    def _value(self, index: int, array: Array) -> ir.Value:
        free = self.dynamic.get(index, 0 if index else array.ndim - 1)
        shape = ir.Shape([f"d{index}_{axis}" if axis < free else size for axis, size in enumerate(array.shape)])
        return ir.Value(name=f"i{index}", type=ir.TensorType(_DTYPES[str(array.dtype)]), shape=shape)

    def run(self, interpreter: Interpreter, way: int = 0) -> tuple[list[Array], list[Array | None]]:
        """Outputs with scratch, and the operands as they are behind it."""
        outputs, operands = interpreter(run_step, self.step, self.operands, way)
        return outputs, operands

    def reference(self) -> list[Array]:
        """As the reference has it; it changes caches in place."""
        made = OPS[self.op](*self.operands, **self.attributes, narrow=as_it_is)
        return list(made) if isinstance(made, tuple) else [made]


def case(op: str, *operands: Array | None, dynamic: dict[int, int] | None = None, **attributes: Any) -> Case:
    return Case(op, operands, attributes, dynamic or {})


def assert_close(found: Array, wanted: Array, limit: float = 1e-5) -> None:
    """No number is further away than ``limit`` of the greatest. Zeros must be zeros. Orders of
    summation alone make 2e-6."""
    assert found.shape == wanted.shape
    worst = np.abs(found.astype(np.float64) - wanted).max() / (np.abs(wanted).max() or np.finfo(np.float32).tiny)
    assert worst <= limit, f"{worst:.2e} of the greatest number"  # which NaN is not


def normal(seed: int, *shape: int) -> Array:
    made: Array = np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)
    return made


def coded(seed: int, bits: int, block: int, *shape: int) -> tuple[Array, Array | None]:
    """A weight [.., N, K] as numbers, or as codes and scales. What is behind K in the last block is not zero."""
    if bits == 16:
        return normal(seed, *shape), None
    random = np.random.default_rng([seed, bits, *shape])
    blocks = -(-shape[-1] // block)
    codes = random.integers(0, 256, (*shape[:-1], blocks, block * bits // 8), np.uint8)
    return codes, random.uniform(0.01, 0.1, (*shape[:-1], blocks)).astype(np.float32)
