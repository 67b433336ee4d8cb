"""What the fields of a manifest say of each other. A field alone has a range, which its type holds.

A runtime sizes its memory by these fields, so each is held against what the graphs declare; `runtime/graphs.py` holds
that against the graphs themselves. So a manifest cannot ask for more memory than the model that it describes.
"""

from __future__ import annotations

from pathlib import Path

from g4compile.bundle.cuda_consistency import cuda_faults
from g4compile.bundle.engine_consistency import engine_faults
from g4compile.bundle.faults import Expected, Faults, fixed, kv_tensors, misfits, repeated
from g4compile.bundle.genai_consistency import genai_faults
from g4compile.bundle.kv import PAST, PRESENT, token_bytes
from g4compile.bundle.manifest import ANY, DECODER, EMBED, KVLayer, KVSpec, Manifest
from g4compile.bundle.media_consistency import media_faults
from g4compile.bundle.requires import BLOCK_BOUNDS, GENAI, IMAGE_BLOCKS, required
from g4compile.errors import BundleError

_NO_PLAIN_NAME = ("/", "\\", ":", "\0")  # characters of paths, on any system


def check_consistent(manifest: Manifest, where: Path) -> None:
    """Raise BundleError with the first contradiction in ``manifest``, which was read from ``where``."""
    of_all = _name_faults, _file_faults, _part_faults, _token_faults, _kv_faults
    for faults in (*of_all, _onnx_faults, genai_faults, cuda_faults, engine_faults, _engine_media_faults):
        for what, why in faults(manifest):
            raise BundleError(what, where=str(where), why=why, fix="do not use this bundle; compile it again")


def _name_faults(manifest: Manifest) -> Faults:
    for name in (*manifest.files, *(graph.file for graph in manifest.graphs.values())):
        if name in ("", ".", "..") or any(character in name for character in _NO_PLAIN_NAME):
            yield f"the manifest names {name!r}, which is not the plain name of a file in the bundle", ""


def _file_faults(manifest: Manifest) -> Faults:
    for name, reason in manifest.needed_files.items():
        if name not in manifest.files:
            yield (
                f"the manifest does not list {name} among its files",
                f"{reason} stands there, and what is not listed is not checked",
            )


def _part_faults(manifest: Manifest) -> Faults:
    places: dict[tuple[str, str, int], str] = {}
    for name, graph in manifest.graphs.items():
        if graph.part not in manifest.parts:
            yield f"the graph {name} is of the part {graph.part}, which the manifest does not have", ""
        place = (graph.part, graph.variant, graph.rank)
        if place in places:
            yield (
                f"the graphs {places[place]} and {name} are both of the part {place[0]}, variant {place[1]}, rank "
                f"{place[2]}",
                "a runtime finds a graph by these three",
            )
        places[place] = name
        for kind, tensors in (("input", graph.inputs), ("output", graph.outputs)):
            for twice in repeated(tensor.name for tensor in tensors):
                yield f"the graph {name} has two {kind}s of the name {twice}", ""
    part = manifest.parts.get(DECODER)
    if part is None or part.kv is None:
        yield f"the bundle has no {DECODER} with a KV cache", ""
    if "config_sha256" not in manifest.source:
        yield "the manifest does not say which config it was compiled from", "source.config_sha256 is missing"


def _token_faults(manifest: Manifest) -> Faults:
    ids = {"bos_token_id": (manifest.bos_token_id,), "pad_token_id": (manifest.pad_token_id,)}
    for field, tokens in (*ids.items(), ("stop_token_ids", manifest.stop_token_ids)):
        for token in tokens:
            if token >= manifest.vocab_size:
                yield f"{field} has {token:,}, but the vocabulary has {manifest.vocab_size:,} ids, from 0", ""
    for name, graph in manifest.graphs.items():
        for logits in (output for output in graph.outputs if graph.part == DECODER and output.name == "logits"):
            if logits.shape[-1:] != (manifest.vocab_size,):
                yield (
                    f"vocab_size is {manifest.vocab_size:,}, but the graph {name} gives logits of the shape "
                    f"{list(logits.shape)}",
                    "",
                )


def _kv_faults(manifest: Manifest) -> Faults:
    kv = manifest.kv
    used = required(kv, manifest.engine, manifest.layouts, manifest.graphs.values(), manifest.cuda)
    lacking = set(used) - set(manifest.requires)
    if lacking:
        yield f"requires does not have {', '.join(sorted(lacking))}", "what the bundle uses must be named there"
    numbers = [layer.layer for layer in kv.layers]
    if not numbers or numbers != sorted(set(numbers)):
        yield f"kv.layers has the layers {numbers}", "each layer that owns KV stands there once, in ascending order"
    for layer in kv.layers:
        yield from _layer_faults(layer, kv, manifest.context)


def _layer_faults(layer: KVLayer, kv: KVSpec, context: int) -> Faults:
    full = layer.kind == "full_attention"
    if full != (layer.window is None) or full != (layer.keep is None):
        yield (
            f"kv layer {layer.layer} has kind {layer.kind}, window {layer.window} and keep {layer.keep}",
            "a full layer has neither, a sliding layer both",
        )
    elif layer.window is not None and layer.keep is not None and layer.keep < layer.window - 1 + kv.rewind:
        yield (
            f"kv layer {layer.layer} keeps {layer.keep} tokens",
            f"a window of {layer.window} after a rewind of {kv.rewind} sees {layer.window - 1 + kv.rewind} before it",
        )
    if layer.slots is not None and layer.slots <= (layer.keep or layer.slots):
        yield (
            f"kv layer {layer.layer} has {layer.slots} slots and keep {layer.keep}",
            "a ring, of a sliding layer, has a slot for each token that is kept, and one or more for new tokens",
        )
    found = token_bytes(kv.dtype, layer.heads, layer.head_dim)
    if layer.bytes_per_token != found:
        yield (
            f"kv layer {layer.layer} has bytes_per_token {layer.bytes_per_token:,}",
            f"{layer.heads} heads of {layer.head_dim} in {kv.dtype} are {found:,} bytes, key and value together",
        )


def _onnx_faults(manifest: Manifest) -> Faults:
    if manifest.engine is not None or manifest.cuda is not None or GENAI in manifest.requires:
        return
    kv = manifest.kv
    if manifest.activations == "bfloat16":
        yield "activations is bfloat16, which only engines and bundles for CUDA have", ""
        return
    found = {(graph.part, graph.variant, graph.rank): graph for graph in manifest.graphs.values()}
    embed, decoder = (found.get((part, ANY, 0)) for part in (EMBED, DECODER))
    if embed is None or decoder is None:
        lacking = EMBED if embed is None else DECODER
        yield f"the bundle has no graph of the part {lacking}, variant {ANY}, rank 0", "an ONNX bundle has both parts"
        return
    fed = {output.name: (output.dtype, tuple(fixed(size) for size in output.shape)) for output in embed.outputs}
    growing = IMAGE_BLOCKS in manifest.requires
    inputs = {
        **kv_tensors(kv, PAST, growing),
        **fed,
        "position_ids": ("int64", (None, None)),
        "num_logits_to_keep": ("int64", ()),
    }
    if growing:
        starts, ends = BLOCK_BOUNDS
        read = {starts, ends} if any(tensor.name == starts for tensor in decoder.inputs) else {ends}
        inputs |= dict.fromkeys(read, ("int64", (None, None)))
    outputs = {**kv_tensors(kv, PRESENT, growing), "logits": ("float", (None, None, manifest.vocab_size))}
    yield from misfits("an input of embed", embed.inputs, {"input_ids": ("int64", (None, None))})
    yield from misfits("an input of decoder", decoder.inputs, inputs)
    yield from misfits("an output of decoder", decoder.outputs, outputs)
    yield from media_faults(manifest, fed)


def _engine_media_faults(manifest: Manifest) -> Faults:
    """The rows of the table that embeds token ids are as wide as features."""
    if manifest.engine is not None:
        fed: Expected = {table.name: ("bfloat16", (None, None, *table.row)) for table in manifest.engine.host.tables}
        yield from media_faults(manifest, fed)
