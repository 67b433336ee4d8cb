"""The weights in the graphs of a bundle, read from its own files."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from g4compile.bundle.folder import Bundle

Array = np.ndarray[Any, Any]


def initializers(bundle: Bundle) -> dict[str, Array]:
    """The initializers of all graphs by name, mapped from the files. A table of rows (`KEY.codes.rows`) is
    `KEY.codes`."""
    found: dict[str, Array] = {}
    for name in bundle.manifest.graphs:
        graph = onnx.load(str(bundle.graph_path(name)), load_external_data=False).graph
        for tensor in graph.initializer:
            found[tensor.name.removesuffix(".rows")] = _array(bundle, tensor)
    return found


def _array(bundle: Bundle, tensor: onnx.TensorProto) -> Array:
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        small: Array = onnx.numpy_helper.to_array(tensor)
        return small
    place = {entry.key: entry.value for entry in tensor.external_data}
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return np.memmap(
        bundle.folder / place["location"], dtype, "r", offset=int(place["offset"]), shape=tuple(tensor.dims)
    )
