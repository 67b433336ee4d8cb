"""What the fields of a bundle for ONNX Runtime on CUDA say of each other: graphs, their inputs and rings.

Without kernels of ours the caches are outputs too: they are bound to the same memory.
"""

from __future__ import annotations

from g4compile.bundle.faults import Expected, Faults, kv_tensors, misfits
from g4compile.bundle.kv import BFLOAT16, PAST, PRESENT
from g4compile.bundle.manifest import ANY, CHOICE, DECODER, TOP_TOKENS, CudaSpec, GraphSpec, Manifest


def cuda_faults(manifest: Manifest) -> Faults:
    """The contradictions of the fields of a bundle for CUDA; none of another one."""
    cuda = manifest.cuda
    if cuda is None:
        return
    if manifest.engine is not None:
        yield "the manifest has an engine and cuda", "a bundle is for one of them"
    if (manifest.activations, manifest.kv.dtype) != (BFLOAT16, BFLOAT16):
        yield (
            f"activations is {manifest.activations} and kv.dtype {manifest.kv.dtype}",
            f"both are {BFLOAT16} on CUDA",
        )
    if cuda.kernels is None and cuda.compute_capabilities:
        yield (
            f"cuda has no kernels, and machine code for {list(cuda.compute_capabilities)}",
            "machine code is of kernels",
        )
    graphs = {(graph.part, graph.variant, graph.rank): graph for graph in manifest.graphs.values()}
    decoder, choice = (graphs.pop((part, ANY, 0), None) for part in (DECODER, CHOICE))
    if decoder is None or graphs or (choice is not None and cuda.kernels is None):
        why = f"on CUDA it has one of the part {DECODER}, and with kernels one of {CHOICE}: variant {ANY}, rank 0"
        yield f"the bundle has the graphs {', '.join(manifest.graphs)}", why
        return
    yield from _ring_faults(manifest, cuda)
    yield from _decoder_faults(manifest, cuda, decoder)
    if choice is not None:
        yield from _choice_faults(manifest, choice)


def _ring_faults(manifest: Manifest, cuda: CudaSpec) -> Faults:
    for layer in manifest.kv.layers:
        if layer.keep is not None and (layer.slots is None or layer.slots < layer.keep + cuda.chunk):
            yield (
                f"kv layer {layer.layer} has {layer.slots} slots and keep {layer.keep}",
                f"a ring on CUDA has a slot for each token that is kept, and for each of the {cuda.chunk} of a run",
            )


def _choice_faults(manifest: Manifest, graph: GraphSpec) -> Faults:
    outputs: Expected = {"top_logits": ("float", (None, TOP_TOKENS)), "top_tokens": ("int64", (None, TOP_TOKENS))}
    yield from misfits("an input of choice", graph.inputs, {"logits": ("float", (None, None, manifest.vocab_size))})
    yield from misfits("an output of choice", graph.outputs, outputs)


def _decoder_faults(manifest: Manifest, cuda: CudaSpec, graph: GraphSpec) -> Faults:
    whole = {f"{PAST}{layer.layer}." for layer in manifest.kv.layers if layer.keep is None}
    caches: Expected = {}
    for name, (dtype, shape) in kv_tensors(manifest.kv, PAST, False).items():
        batch, heads, slots, width = shape
        full = any(name.startswith(begin) for begin in whole)
        caches[name] = dtype, (batch, heads, manifest.context if full else slots, width)
    inputs: Expected = {
        **caches,
        "input_ids": ("int64", (None, None)),
        "position_ids": ("int64", (None, None)),
        "logit_index": ("int64", (None, None, 1)),
    }
    presents = {PRESENT + name.removeprefix(PAST): one for name, one in caches.items()}
    outputs: Expected = {
        **(presents if cuda.kernels is None else {}),
        "logits": ("float", (None, None, manifest.vocab_size)),
        "next_token": ("int64", (None, 1)),
    }
    yield from misfits("an input of decoder", graph.inputs, inputs)
    yield from misfits("an output of decoder", graph.outputs, outputs)
