"""Plans of ops, carried out as libg4cuda does, but by Triton's interpreter and in float32: it knows no bfloat16.

The interpreter is chosen when Triton is imported, so `Interpreter` has a process of its own. What goes there and comes
back are arrays, strings and kernel records. Memory of every operand stands between guards: numbers that no kernel may
read into a result, or write.
"""

from __future__ import annotations

import importlib
import math
import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx_ir as ir

from g4compile.targets.fused.plan import ALWAYS, LAUNCHES, NOTHING, NULL, SIZES
from g4compile.targets.kernels.kernel import ALIGNED, Kernel
from g4compile.targets.onnx.cuda.lower_to_launches import kernels_of

Array = np.ndarray[Any, Any]
_GUARD = 4096  # numbers in front of an operand and behind it
_UNWRITTEN = {"f": np.nan, "i": -77_777, "u": 0x5A}  # by the kind of a dtype
_STORED = {  # what a kernel is told, as arrays have it here
    "*bf16": np.float32, "*fp32": np.float32, "*i32": np.int32, "*i64": np.int64, "*u8": np.uint8,
}  # fmt: skip
_ARRAYS = {
    ir.DataType.BFLOAT16: np.float32, ir.DataType.FLOAT: np.float32, ir.DataType.INT32: np.int32,
    ir.DataType.INT64: np.int64,
}  # fmt: skip


@dataclass(frozen=True)
class Step:
    """A node with a plan, or (without launches) one of ONNX Runtime's own: names of its inputs and outputs, '' where
    one is absent; the dtypes of outputs by `oN`, and of scratch."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    dtypes: Mapping[str, Any]
    launches: tuple[str, ...]
    sizes: tuple[str, ...]
    attributes: tuple[tuple[str, Any], ...]
    kernels: Mapping[str, Kernel]


def step_of(node: ir.Node) -> Step:
    """``node`` behind the pass lower-to-launches."""
    kernels = {kernel.name: kernel for kernel in kernels_of([node])}
    launches = tuple(node.attributes[LAUNCHES].as_strings()) if LAUNCHES in node.attributes else ()
    outputs = {f"o{i}": _ARRAYS[value.dtype or ir.DataType.UNDEFINED] for i, value in enumerate(node.outputs)}
    return Step(
        node.op_type,
        tuple("" if value is None else str(value.name) for value in node.inputs),
        tuple(str(value.name) for value in node.outputs),
        {**_taken(launches, kernels), **outputs},
        launches,
        tuple(node.attributes[SIZES].as_strings()) if launches else (),
        tuple((one.name, one.value) for one in node.attributes.values() if one.name not in (LAUNCHES, SIZES)),
        kernels,
    )


def _taken(launches: Sequence[str], kernels: Mapping[str, Kernel]) -> dict[str, Any]:
    """The dtypes of what ``launches`` take, as their kernels read and write it."""
    words = [one.split(" ")[1:] for one in launches]
    named = [(kernels[name], arguments) for name, *arguments in words if name != NOTHING]
    pairs = [pair for kernel, arguments in named for pair in zip(arguments, kernel.types, strict=True)]
    return {word: np.dtype(_STORED[kind]) for word, (_, kind) in pairs if word.startswith("o")}


class Guarded:
    """``array`` in memory of its own, with guards on both sides."""

    def __init__(self, array: Array) -> None:
        self._sentinel = np.array(_UNWRITTEN[array.dtype.kind], array.dtype)
        self._memory = np.full(array.size + 2 * _GUARD, self._sentinel)
        self.array = self._memory[_GUARD : _GUARD + array.size].reshape(array.shape)
        self.array[...] = array

    @classmethod
    def unwritten(cls, shape: Sequence[int], dtype: Any) -> Guarded:
        return cls(np.full(shape, _UNWRITTEN[np.dtype(dtype).kind], dtype))

    def check(self, what: str) -> None:
        for part in (self._memory[:_GUARD], self._memory[_GUARD + self.array.size :]):
            np.testing.assert_array_equal(part, np.broadcast_to(self._sentinel, part.shape), f"{what} and beyond it")


def carry_out(step: Step, inputs: Sequence[Guarded | None], way: int) -> list[Guarded]:
    """The outputs of ``step``, and its scratch. Inputs may change in place. ``way``: which of each kernel's ladder, 0
    or -1."""
    shapes = [None if one is None else one.array.shape for one in inputs]

    def size(factor: str) -> int:
        if factor == "r":
            return math.prod((shapes[0] or ())[:-1])
        place, _, axis = factor.removeprefix("i").partition(".")
        return int((shapes[int(place)] or ())[int(axis)])

    condition = _chosen([*step.launches, *step.sizes], size)
    outputs: dict[str, Guarded] = {}
    for text in step.sizes:
        under, name, *dims = text.split(" ")
        if under == condition:
            shape = [evaluated(one, size) for one in dims]
            outputs[name] = Guarded.unwritten(shape, step.dtypes.get(name, np.float32))
    missing = {f"o{index}" for index in range(len(step.outputs))} - set(outputs)
    if missing:
        raise AssertionError(f"{step.op} under {condition} has no sizes of {sorted(missing)}")
    operands = {**outputs, **{f"i{index}": one for index, one in enumerate(inputs)}}
    for text in step.launches:
        under, name, *arguments = text.split(" ")
        if under == condition and name != NOTHING:
            given = [_argument(word, operands, size) for word in arguments]
            launch_kernel(step.kernels[name], given, way)
    for name, one in operands.items():
        if one is not None:
            one.check(f"{name} of {step.op}")
    return [outputs[f"o{index}"] for index in range(len(outputs))]


def evaluated(expression: str, size: Callable[[str], int]) -> int:
    """A sum of products, each divided and rounded up."""
    total = 0
    for term in expression.split("+"):
        product, _, over = term.partition("/")
        factors = (int(one) if one.isdigit() else size(one) for one in product.split("*"))
        total += -(-math.prod(factors) // int(over or 1))
    return total


def _chosen(texts: Sequence[str], size: Callable[[str], int]) -> str:
    for text in texts:
        condition = text.split(" ")[0]
        left, _, limit = condition.partition("<=")
        if condition == ALWAYS or evaluated(left, size) <= int(limit):
            return condition
    raise AssertionError(f"no condition of {texts} holds")


def _argument(word: str, operands: Mapping[str, Guarded | None], size: Callable[[str], int]) -> Guarded | int | None:
    if word[0] in "io" and word[1:].isdigit():
        return operands.get(word)
    if word == NULL:
        return None
    return evaluated(word, size)


def launch_kernel(kernel: Kernel, arguments: Sequence[Guarded | int | None], which: int) -> None:
    """``kernel`` as its record says. What the record promises of alignment must be true."""
    torch = importlib.import_module("torch")
    function = getattr(importlib.import_module(f"g4compile.targets.kernels.{kernel.module}"), kernel.function)
    given, integers, way = dict[str, Any](), [], kernel.ways[which]
    for (name, kind), argument in zip(kernel.types, arguments, strict=True):
        if isinstance(argument, int) != (kind == "i32"):
            raise AssertionError(f"{name} of {kernel.name} is {kind}, and the launch has {argument}")
        if isinstance(argument, int):
            if name in kernel.aligned and argument % ALIGNED:
                raise AssertionError(f"{name} of {kernel.name} is {argument}, no multiple of {ALIGNED}")
            integers.append(argument)
            given[name] = argument
            continue
        dtype = np.dtype(_STORED[kind])
        array = Guarded.unwritten((1,), dtype).array if argument is None else argument.array.reshape(-1)
        if array.dtype not in (dtype, np.uint8):
            raise AssertionError(f"{name} of {kernel.name} is {kind}, and the operand is {array.dtype}")
        given[name] = torch.from_numpy(array.view(dtype))
    grid = tuple(evaluated(one, lambda factor: integers[int(factor.removeprefix("a"))]) for one in way.grid)
    if math.prod(grid):
        function[grid](**given, **dict(kernel.constants), **dict(way.constants), DEPENDENT=0)


def run_step(step: Step, inputs: Sequence[Array | None], way: int = 0) -> tuple[list[Array], list[Array | None]]:
    """Outputs, and the inputs as they are then."""
    guarded = [None if one is None else Guarded(one) for one in inputs]
    outputs = carry_out(step, guarded, way)
    return [one.array for one in outputs], [None if one is None else one.array for one in guarded]


def run_graph(
    steps: Sequence[Step], weights: Mapping[str, Array], runs: Sequence[Mapping[str, Array]], results: Sequence[str]
) -> list[dict[str, Array]]:
    """``results`` of each of ``runs``, one behind the other: feeds by name. What the first run alone feeds (caches)
    is kept between them, and may change."""
    kept = {name: Guarded(array) for name, array in {**weights, **runs[0]}.items()}
    answers = []
    for number, feeds in enumerate(runs):
        values = dict(kept)
        if number:
            values.update({name: Guarded(array) for name, array in feeds.items()})
        for step in steps:
            inputs = [values[name] if name else None for name in step.inputs]
            found = carry_out(step, inputs, 0) if step.launches else [_gathered(step, *inputs)]
            values.update(zip(step.outputs, found, strict=False))  # what is left is scratch
        answers.append({name: values[name].array for name in results})
    return answers


def _gathered(step: Step, value: Guarded | None, index: Guarded | None) -> Guarded:
    """GatherND, the one stock op."""
    if step.op != "GatherND" or dict(step.attributes) != {"batch_dims": 1} or value is None or index is None:
        raise AssertionError(f"{step.op} {dict(step.attributes)} is not known here")
    rows = [one[at[:, 0]] for one, at in zip(value.array, index.array, strict=True)]
    return Guarded(np.stack(rows))


def _begin() -> None:
    """In the interpreter's process, in front of all else there."""
    os.environ["TRITON_INTERPRET"] = "1"
    importlib.import_module("torch").set_num_threads(1)
    np.seterr(all="ignore")  # masked parts of a block are computed too
    _patch_once()


def _patch_once() -> None:
    """Triton puts the interpreter's functions into its language again for each call of each function, which takes half
    of the time of small programs. Here they stay."""
    module = importlib.import_module("triton.runtime.interpreter")
    patch, done = getattr(module, "_patch_lang", None), SimpleNamespace(restore=lambda: None)
    if patch is None:  # a release that does it in another way
        return
    products = importlib.import_module("g4compile.targets.kernels.products")
    for function in (products.product_one, products.tl.zeros):  # `triton.language`, and `core` behind its own functions
        patch(function.fn)
    module._patch_lang = lambda fn: done


class Interpreter:
    """A process that runs functions of this file."""

    def __init__(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(1, mp_context=spawn, initializer=_begin)

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return self._pool.submit(function, *arguments).result()

    def close(self) -> None:
        self._pool.shutdown()
