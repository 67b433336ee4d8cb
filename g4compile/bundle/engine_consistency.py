"""What the fields of an engine bundle say of each other: steps, rings, tables, weights, and bytes on the device.

The device's memory is taken by these fields before an engine runs, so the sums stand here too.
"""

from __future__ import annotations

from g4compile.bundle.encoder_consistency import encoder_faults
from g4compile.bundle.faults import Faults, repeated
from g4compile.bundle.kv import PARTS, PAST, PRESENT, width
from g4compile.bundle.manifest import ANY, DATA, DECODER, EngineSpec, Manifest
from g4compile.bundle.requires import BLOCK_BOUNDS, IMAGE_BLOCKS

INDEX = "logit_index"
_SINGLE = "decode"  # the step of one token, which runs what no other takes


def engine_faults(manifest: Manifest) -> Faults:
    """The contradictions of the fields of a TensorRT bundle; none of another one."""
    engine = manifest.engine
    if engine is None:
        return
    yield from _step_faults(manifest, engine)
    yield from _kv_faults(manifest, engine)
    yield from _host_faults(manifest, engine)
    yield from _weight_faults(manifest, engine)
    yield from _tensor_faults(manifest, engine)
    yield from encoder_faults(manifest, engine)


def _step_faults(manifest: Manifest, engine: EngineSpec) -> Faults:
    names = tuple(step.name for step in engine.steps)
    if _SINGLE not in names or len(set(names)) < len(names):
        yield (
            f"engine.steps has {', '.join(names) or 'nothing'}",
            f"an engine has the step {_SINGLE}, and each step once",
        )
    known = {"decode": 1, "prefill": engine.chunk}
    for step in engine.steps:
        if step.tokens != known.get(step.name, step.tokens) or step.tokens > engine.chunk:
            yield (
                f"the step {step.name} takes {step.tokens} tokens",
                f"a decode step takes 1, a prefill step a chunk of {engine.chunk}, and others are between",
            )
        if step.keep != "all" and step.name in ("decode", "verify"):
            yield f"the step {step.name} keeps the logits of {step.keep} position", "all are wanted of it"
    asked = {(DECODER, step, rank) for step in names for rank in range(engine.ranks)}
    asked |= {(encoder.part, ANY, 0) for encoder in engine.encoders}
    found = {(graph.part, graph.variant, graph.rank) for graph in manifest.graphs.values()}
    for part, variant, rank in sorted(asked ^ found):
        there = "no" if (part, variant, rank) in asked else "a"
        yield (
            f"there is {there} graph of the part {part}, variant {variant}, rank {rank}",
            "a step has one for each rank, and an encoder one",
        )


def _kv_faults(manifest: Manifest, engine: EngineSpec) -> Faults:
    kv = manifest.kv
    if kv.dtype != "bfloat16":
        yield f"kv.dtype is {kv.dtype}, and engines have bfloat16", ""
    if engine.chunk & (engine.chunk - 1) or engine.ring % engine.chunk:
        yield (
            f"engine.chunk is {engine.chunk} and engine.ring {engine.ring}",
            "a ring is a multiple of a chunk, which is a power of two",
        )
    if IMAGE_BLOCKS in manifest.requires and engine.ring < manifest.context:
        yield (
            f"engine.ring is {engine.ring:,}, and the context {manifest.context:,}",
            "with image-blocks a ring never wraps: an image may begin anywhere, and is written at once",
        )
    least = max((layer.window for layer in kv.layers if layer.window), default=1) - 1 + engine.chunk
    if engine.ring < least:
        yield f"engine.ring is {engine.ring:,}", f"a window and a chunk behind it take {least:,} slots"
    for layer in kv.layers:
        if layer.keep not in (None, engine.ring):
            yield f"kv layer {layer.layer} keeps {layer.keep} tokens, but engine.ring is {engine.ring}", ""
    needed = engine.batch * sum(layer.bytes_per_token * (layer.keep or manifest.context) for layer in kv.layers)
    if engine.kv_bytes != needed:
        yield f"engine.kv_bytes is {engine.kv_bytes:,}", f"the layers of kv take {needed:,} bytes"


def _host_faults(manifest: Manifest, engine: EngineSpec) -> Faults:
    host = engine.host
    for token in (*host.placeholders, host.pad):
        if token >= manifest.vocab_size:
            yield f"engine.host has the token id {token:,}, but the vocabulary has {manifest.vocab_size:,} ids", ""
    for name in repeated(table.name for table in host.tables):
        yield f"engine.host.tables has {name} twice", ""


def _weight_faults(manifest: Manifest, engine: EngineSpec) -> Faults:
    for place in repeated(f"{weight.name} of rank {weight.rank}" for weight in engine.weights):
        yield f"engine.weights has {place} twice", ""
    held = manifest.files[DATA].bytes if DATA in manifest.files else 0
    for weight in engine.weights:
        if weight.rank >= engine.ranks:
            yield f"the weight {weight.name} is of rank {weight.rank}, and there are {engine.ranks}", ""
        if weight.offset is not None and weight.offset + weight.bytes > held:
            yield (
                f"the weight {weight.name} is {weight.bytes:,} bytes from byte {weight.offset:,} of {DATA} on",
                f"the file has {held:,} bytes",
            )
    needed = sum(weight.bytes for weight in engine.weights if weight.rank == 0)
    if engine.weight_bytes != needed:
        yield f"engine.weight_bytes is {engine.weight_bytes:,}", f"the weights of rank 0 take {needed:,} bytes"


def _tensor_faults(manifest: Manifest, engine: EngineSpec) -> Faults:
    """Inputs and outputs have the dtypes and shapes that other fields say; `batch` alone may be dynamic."""
    steps = {step.name: step for step in engine.steps}
    tables = {table.name: table.row for table in engine.host.tables}
    past, present = (_kv_shapes(manifest, begin) for begin in (PAST, PRESENT))
    known = past | present
    bounds = set(BLOCK_BOUNDS[1:]) if IMAGE_BLOCKS in manifest.requires else set()
    for name, graph in ((name, graph) for name, graph in manifest.graphs.items() if graph.part == DECODER):
        for tensor in (*graph.inputs, *graph.outputs):
            said = f"{tensor.name} of the graph {name} is {tensor.dtype}{list(tensor.shape)}"
            unknown = [size for size in tensor.shape if isinstance(size, str) and size != "batch"]
            if unknown:
                yield said, f"{unknown[0]} is neither a number, nor batch"
            if tensor.name in known and (tensor.dtype, tensor.shape[1:]) != ("bfloat16", known[tensor.name]):
                yield said, f"by the layers of kv it is bfloat16[batch, {', '.join(map(str, known[tensor.name]))}]"
            if tensor.name in tables and tensor.shape[2:] != tables[tensor.name]:
                yield said, f"the rows of its table have the shape {list(tables[tensor.name])}"
        step = steps.get(graph.variant)
        fed = {"position_ids": (step.tokens,), INDEX: (1, 1)} if step is not None else {}
        for tensor in graph.inputs:
            if tensor.name in fed and (tensor.dtype, tensor.shape[1:]) != ("int64", fed[tensor.name]):
                shape = ", ".join(map(str, fed[tensor.name]))
                yield (
                    f"{tensor.name} of the graph {name} is {tensor.dtype}{list(tensor.shape)}",
                    (f"in the step {graph.variant} it is int64[batch, {shape}]"),
                )
        kept = {INDEX} if step is not None and step.keep == "one" else set()
        lacking = {"position_ids", *tables, *past, *bounds, *kept} - {tensor.name for tensor in graph.inputs}
        lacking |= {"logits", *present} - {tensor.name for tensor in graph.outputs}
        for tensor_name in sorted(lacking):
            yield f"the graph {name} has no {tensor_name}", "by the other fields every step has it"


def _kv_shapes(manifest: Manifest, begin: str) -> dict[str, tuple[int | str, ...]]:
    """By name of an input or output: its shape behind the batch."""
    return {
        f"{begin}{layer.layer}.{part}": (layer.heads, layer.keep or manifest.context, width(layer, part))
        for layer in manifest.kv.layers
        for part in PARTS["bfloat16"]
    }
