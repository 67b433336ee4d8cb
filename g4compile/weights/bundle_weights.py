"""The weights in the graphs of a bundle, read from its own files."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from g4compile.bundle.folder import Bundle
from g4compile.bundle.manifest import DATA
from g4compile.errors import BundleError

Array = np.ndarray[Any, Any]


def initializers(bundle: Bundle) -> dict[str, Array]:
    """The initializers of all graphs by name, mapped from the files. A table of rows (`KEY.codes.rows`) is
    `KEY.codes`. Raises BundleError for a graph that says something else of `weights.data` than is there."""
    found: dict[str, Array] = {}
    for name in bundle.manifest.graphs:
        file = bundle.graph_path(name)
        try:
            graph = onnx.load(str(file), load_external_data=False).graph
            for tensor in graph.initializer:
                found[tensor.name.removesuffix(".rows")] = _array(bundle, tensor)
        except (
            DecodeError,
            KeyError,
            ValueError,
            TypeError,
            OverflowError,
            RuntimeError,
        ) as error:  # of protobuf, onnx
            raise BundleError(
                f"the weights of the graph {name} cannot be read",
                where=str(file),
                why=f"{type(error).__name__}: {error}"[:200],
                fix="do not use this bundle; compile it again",
            ) from error
    return found


def _array(bundle: Bundle, tensor: onnx.TensorProto) -> Array:
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        small: Array = onnx.numpy_helper.to_array(tensor)
        return small
    place = {entry.key: entry.value for entry in tensor.external_data}
    if place["location"] != DATA:  # another file of this machine, perhaps
        raise ValueError(f"{tensor.name} is said to be in {place['location']!r}, not in {DATA}")
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return np.memmap(bundle.folder / DATA, dtype, "r", offset=int(place["offset"]), shape=tuple(tensor.dims))
