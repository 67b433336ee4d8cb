"""Which decoder layer diverges first: every layer's output of the bundle's graph beside the HF module's.

Nodes of a bundle keep the module path they came from, so a layer's output is the last value its nodes compute.
The graph is run once with those values as extra outputs, and the HF module once with hooks. Only the last
position is compared: behind the last KV producer it is the only one the graph computes.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
import numpy as np
import onnx

from g4compile.bundle.folder import Bundle
from g4compile.bundle.manifest import DECODER, EMBED
from g4compile.compare.reference import Reference
from g4compile.errors import BundleError
from g4compile.runtime.feeds import KEEP, POSITIONS, keep, positions
from g4compile.runtime.graphs import open_graph
from g4compile.runtime.kv_cache import empty_past
from g4compile.runtime.native import add_ops
from g4compile.runtime.onnx_runtime import ort
from g4compile.weights.stored import STORED

Ids = np.ndarray[Any, Any]
# Rounding grows with depth; a wrong pass is off by far more than this part of the activations' size. By how products
# read activations: 8 bits of a block's largest add up to percents over the layers, and where activations are also
# rounded by fixed steps, to whole steps: at most 0.39 of a right layer on tiny models, at least 0.48 of a wrong one.
_RELATIVE_LIMIT = {"float32": 1e-3, "int8": 0.1, STORED: 0.45}


class LayerDifference(msgspec.Struct, frozen=True):
    """``relative_difference``: largest difference over the largest HF activation of that layer's output."""

    layer: int
    max_abs_difference: float
    relative_difference: float
    diverges: bool


def localize(bundle: Bundle, reference: Reference, input_ids: Ids) -> tuple[LayerDifference, ...]:
    """Compare each layer's output for one prefill of ``input_ids`` [B, S]. Raises BundleError when names are lost."""
    expected = _reference_layers(reference, input_ids)
    ours = _bundle_layers(bundle, input_ids, len(expected))
    manifest = bundle.manifest
    limit = _RELATIVE_LIMIT[STORED if manifest.weights == STORED else manifest.activations]
    differences = []
    for index, (theirs, mine) in enumerate(zip(expected, ours, strict=True)):
        largest = float(np.abs(theirs - mine).max())
        relative = largest / max(float(np.abs(theirs).max()), 1e-30)
        differences.append(LayerDifference(index, largest, relative, not relative <= limit))
    return tuple(differences)


def _reference_layers(reference: Reference, input_ids: Ids) -> list[Ids]:
    seen: list[Ids] = []
    hooks = [
        layer.register_forward_hook(lambda module, args, output: seen.append(output[:, -1].numpy().copy()))
        for layer in reference.layers
    ]
    try:
        reference.reset()
        reference.forward(input_ids)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _bundle_layers(bundle: Bundle, input_ids: Ids, count: int) -> list[Ids]:
    file = bundle.graph_path(bundle.manifest.graph(DECODER))
    model = onnx.load(str(file), load_external_data=False)
    last: dict[int, str] = {}
    for node in model.graph.node:
        found = re.match(r"layers\.(\d+)/", node.name)
        if found:
            last[int(found[1])] = node.output[0]
    if sorted(last) != list(range(count)):
        raise BundleError(
            "the graph's nodes do not name all layers, so they cannot be compared",
            where=str(file),
            fix="compile it again",
        )
    for index in range(count):
        model.graph.output.add(name=last[index])
    options = ort.SessionOptions()
    options.log_severity_level = 3
    add_ops(options, bundle.manifest.requires)
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(bundle.folder.resolve())
    )
    graph = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    outputs = graph.run_with_ort_values([last[index] for index in range(count)], _empty_feeds(bundle, input_ids))
    return [output.numpy()[:, -1] for output in outputs]


def _empty_feeds(bundle: Bundle, input_ids: Ids) -> dict[str, Any]:
    """OrtValues by name."""
    batch, new = input_ids.shape
    embed = open_graph(bundle, EMBED, 1)
    rows = embed.run(None, {"input_ids": input_ids})
    arrays = {
        **dict(zip((output.name for output in embed.get_outputs()), rows, strict=True)),
        POSITIONS: positions(0, batch, new),
        KEEP: keep(1),
    }
    feeds = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in arrays.items()}
    return {**feeds, **empty_past(bundle.manifest.kv, batch, slots=new)}
