"""What the fields of a package for onnxruntime-genai say of each other: its graphs, and the file that names them."""

from __future__ import annotations

from g4compile.bundle.faults import Expected, Faults, kv_tensors, misfits
from g4compile.bundle.kv import FLOAT32, PAST, PRESENT
from g4compile.bundle.manifest import ANY, DECODER, Manifest
from g4compile.bundle.requires import ATTENTION_MASK, GENAI

CONFIG = "genai_config.json"
_STEP: Expected = dict.fromkeys((ATTENTION_MASK, "position_ids"), ("int64", (None, None)))


def genai_faults(manifest: Manifest) -> Faults:
    """The contradictions of the fields of a package; none of another bundle."""
    if GENAI not in manifest.requires:
        return
    if manifest.engine is not None or manifest.cuda is not None:
        yield f"requires has {GENAI} in a bundle with an engine or cuda", "a package has neither"
        return
    if (manifest.kv.dtype, manifest.activations) not in ((FLOAT32, FLOAT32), (FLOAT32, "int8")):
        yield f"kv.dtype is {manifest.kv.dtype} and activations {manifest.activations}", "a package has float32 KV"
    if CONFIG not in manifest.files:
        yield f"the manifest does not list {CONFIG} among its files", "onnxruntime-genai reads it first"
    found = {(graph.part, graph.variant, graph.rank): graph for graph in manifest.graphs.values()}
    decoder = found.get((DECODER, ANY, 0))
    if decoder is None:
        yield f"the bundle has no graph of the part {DECODER}, variant {ANY}, rank 0", "a package has one"
        return
    inputs: Expected = {**kv_tensors(manifest.kv, PAST, False), **_STEP, "input_ids": ("int64", (None, None))}
    outputs: Expected = {
        **kv_tensors(manifest.kv, PRESENT, False),
        "logits": ("float", (None, 1, manifest.vocab_size)),
    }
    yield from misfits("an input of decoder", decoder.inputs, inputs)
    yield from misfits("an output of decoder", decoder.outputs, outputs)
