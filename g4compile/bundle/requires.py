"""What a bundle may require of a runtime: the words of the manifest's ``requires``, and what each means.

A runtime refuses a bundle that names a word it does not know, because it would compute something else. An addition that
a runtime may leave out is an optional field of the manifest, and no word here.
"""

from __future__ import annotations

from collections.abc import Iterable

from g4compile.bundle.kv import BFLOAT16, INT8
from g4compile.bundle.manifest import BLOCKS, PANELS, CudaSpec, EngineSpec, GraphSpec, KVSpec

WEIGHT_STEPS = "weight-steps"
HOST_TABLES = "host-tables"
RING_KV = "ring-kv"
TENSOR_PARALLEL = "tensor-parallel"
BFLOAT16_KV = "bfloat16-kv"
INT8_KV = "int8-kv"
ONNXRUNTIME_OPS = "onnxruntime-ops"
G4OPS = "g4ops"
G4CUDA = "g4cuda"
GENAI = "onnxruntime-genai"
IMAGE_BLOCKS = "image-blocks"
ATTENTION_MASK = "attention_mask"  # an input of decoders that onnxruntime-genai feeds, and of no other
BLOCK_BOUNDS = ("block_starts", "block_ends")  # inputs of a decoder in which the tokens of an image see each other

KNOWN = {
    WEIGHT_STEPS: "weights are read from the checkpoint and changed by steps before they are bound (`weight_steps.py`)",
    HOST_TABLES: "rows of tables are looked up by the host in the checkpoint, and fed to the graph",
    RING_KV: "a sliding layer's KV is a ring: the token at position p stands in slot p modulo the ring's size",
    TENSOR_PARALLEL: "several devices compute one model together, each with graphs and weights of its rank",
    BFLOAT16_KV: "keys and values of ONNX graphs are bfloat16; those of engines always are, without this word",
    INT8_KV: "keys and values are int8 codes with a float32 scale per token and head",
    ONNXRUNTIME_OPS: "graphs have ops of ONNX Runtime's domain `com.microsoft`, which read weights as they are stored",
    G4OPS: "graphs have ops of the library libg4ops, in domain `g4`",
    G4CUDA: "graphs have ops of the library libg4cuda, whose kernels lie in the bundle",
    IMAGE_BLOCKS: "the decoder reads the first and last position of the image that each token is of, in one call",
    GENAI: "graphs have the inputs and caches that onnxruntime-genai feeds, as `genai_config.json` says; no other does",
    PANELS: "codes, scales and zero points lie in panels of 32 rows, layout 1 of `native/LAYOUT.md`",
}


def required(
    kv: KVSpec,
    engine: EngineSpec | None = None,
    layouts: Iterable[str] = (),
    graphs: Iterable[GraphSpec] = (),
    cuda: CudaSpec | None = None,
) -> tuple[str, ...]:
    """What a runtime must understand for a decoder with ``kv``, with an ``engine`` or for ``cuda``, and with ``graphs``
    that read codes in ``layouts``."""
    graphs = tuple(graphs)
    found, rings = set(layouts), any(layer.slots is not None for layer in kv.layers)
    bfloat16 = kv.dtype == BFLOAT16 and engine is None
    stock = cuda is not None and cuda.kernels is None
    asked = {
        WEIGHT_STEPS: engine is not None,
        HOST_TABLES: engine is not None and bool(engine.host.tables),
        RING_KV: engine is not None or rings,
        TENSOR_PARALLEL: engine is not None and engine.ranks > 1,
        BFLOAT16_KV: bfloat16,
        INT8_KV: kv.dtype == INT8,
        ONNXRUNTIME_OPS: stock or (BLOCKS in found and cuda is None),
        G4OPS: (PANELS in found or rings or bfloat16) and cuda is None,
        G4CUDA: cuda is not None and not stock,
        PANELS: PANELS in found,
        GENAI: any(tensor.name == ATTENTION_MASK for graph in graphs for tensor in graph.inputs),
        IMAGE_BLOCKS: any(tensor.name in BLOCK_BOUNDS for graph in graphs for tensor in graph.inputs),
    }
    return tuple(word for word, needed in asked.items() if needed)
