"""A copy of a bundle with one tensor changed: what comparisons must see."""

import shutil

import numpy as np
import onnx

from g4compile.bundle.folder import Bundle


def with_negated(bundle, name, folder, part="decoder"):
    """A copy in ``folder``, the signs of the float32 initializer ``name`` of ``part`` changed."""
    copy = Bundle.open(shutil.copytree(bundle.folder, folder))
    graph = onnx.load(str(copy.graph_path(part)), load_external_data=False).graph
    tensor = next(tensor for tensor in graph.initializer if tensor.name == name)
    place = {entry.key: entry.value for entry in tensor.external_data}
    data = np.memmap(folder / place["location"], np.float32, "r+", int(place["offset"]), int(place["length"]) // 4)
    data *= -1
    data.flush()
    return copy
