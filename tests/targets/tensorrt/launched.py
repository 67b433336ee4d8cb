"""Launches of plugin layers in Triton's interpreter, and what a session's networks hand to them."""

from __future__ import annotations

from typing import Any

import numpy as np

from g4compile.targets.tensorrt.interpreter.layers import LAYERS
from g4compile.targets.tensorrt.launches import Launch
from tests.targets.onnx.cuda.launched import Guarded, launch_kernel

Array = np.ndarray[Any, Any]
_STORED = {"bf16": np.float32, "fp32": np.float32, "i32": np.int32}


def launched(text: str, operands: list[Array], way: int) -> list[Array]:
    """The outputs of the launch ``text``, by the kernel itself; no number where it wrote nothing."""
    launch = Launch.parse(text)
    shapes = [one.shape for one in operands]
    made = zip(launch.shapes(shapes), launch.outputs, strict=True)
    outputs = [Guarded.unwritten(shape, _STORED[kind]) for shape, (kind, _) in made]
    integers, arguments = iter(launch.integers(shapes)), list[Any]()
    for (_, kind), word in zip(launch.kernel.types, launch.arguments, strict=True):
        if kind == "i32":
            arguments.append(next(integers))
        elif word.startswith("o"):
            arguments.append(outputs[int(word[1:])])
        elif word.startswith("i"):
            array = operands[int(word[1:])]
            arguments.append(Guarded(array.view(np.uint8) if kind == "*u8" else array))
        else:
            arguments.append(None)
    launch_kernel(launch.kernel, arguments, way)
    for number, one in enumerate(outputs):
        one.check(f"o{number} of {launch.kernel.name}")
    return [one.array for one in outputs]


class Watched:
    """Keeps operands and results of the first layer of each launch that an interpreter runs while it is entered."""

    def __init__(self) -> None:
        self.seen: dict[str, tuple[list[Array], list[Array]]] = {}

    def __enter__(self) -> Watched:
        self._rule = LAYERS["PLUGIN_V3"]
        LAYERS["PLUGIN_V3"] = self._watched
        return self

    def __exit__(self, *error: object) -> None:
        LAYERS["PLUGIN_V3"] = self._rule

    def _watched(self, trt: Any, layer: Any, inputs: list[Any]) -> Any:
        made = self._rule(trt, layer, inputs)
        arrays = [x.numpy().copy() for x in inputs]
        self.seen.setdefault(layer.call.launch.text, (arrays, [x.numpy() for x in made]))
        return made
