"""What a bundle or a checkpoint holds, from its manifest, its config and the headers of its files alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from g4compile.bundle.folder import Bundle
from g4compile.bundle.kv import kv_bytes
from g4compile.bundle.manifest import DECODER, MANIFEST
from g4compile.bundle.requires import G4OPS, GENAI
from g4compile.errors import BundleError, InputError
from g4compile.inputs.files import Kind, read_bytes
from g4compile.model.config import FULL, ModelFacts, load_config, model_facts
from g4compile.model.contents import PARTS

_TEXT_GRAPH, _BINARY_GRAPH = (".onnxtxt",), (".onnx",)
_GRAPH = Kind("the graph", 2**31 - 1, BundleError, "compile the checkpoint again")  # protobuf holds no more
_SAFETENSORS = "*.safetensors"


class Described(msgspec.Struct, frozen=True):
    """A config. ``kv_owners``: indices of layers. ``tensors``, ``weight_bytes``: only where weights stand beside it."""

    architecture: str
    model_type: str
    modalities: tuple[str, ...]
    layers: int
    full_layers: int
    kv_owners: tuple[int, ...]
    hidden_size: int
    heads: int
    vocab_size: int
    max_positions: int
    experts: int
    experts_per_token: int
    per_layer_embedding: int
    key_is_value: bool
    tensors: int | None = None
    weight_bytes: int | None = None


def is_bundle(path: str | Path) -> bool:
    """Whether ``path`` is a folder with a manifest."""
    return os.path.exists(Path(path) / MANIFEST)  # noqa: PTH110 - Path raises for a name that is too long


def describe_bundle(bundle: Bundle) -> dict[str, Any]:
    """The manifest, `bundle_bytes`, and KV in bytes."""
    data: dict[str, Any] = msgspec.to_builtins(bundle.manifest)
    return {**data, "bundle_bytes": bundle.size, **msgspec.to_builtins(kv_bytes(bundle.manifest.kv))}


def describe_config(source: str | Path) -> Described:
    """A preset, a `config.json` or a folder that holds one. Raises InputError."""
    facts = model_facts(_config(source), where=str(source))
    text = facts.text
    tensors, weight_bytes = _stored(source)
    return Described(
        architecture=facts.architecture,
        model_type=facts.model_type,
        modalities=facts.modalities,
        layers=len(text.layers),
        full_layers=sum(layer.kind == FULL for layer in text.layers),
        kv_owners=tuple(layer.index for layer in text.kv_layers),
        hidden_size=text.hidden_size,
        heads=text.heads,
        vocab_size=text.vocab_size,
        max_positions=text.max_positions,
        experts=text.moe.experts if text.moe else 0,
        experts_per_token=text.moe.top_k if text.moe else 0,
        per_layer_embedding=text.ple_dim,
        key_is_value=text.key_is_value,
        tensors=tensors,
        weight_bytes=weight_bytes,
    )


def describe_compiled(bundle: Bundle, facts: ModelFacts) -> dict[str, Any]:
    """What a compile of a checkpoint of ``facts`` made: the manifest in short, and what the bundle does not take in."""
    manifest = bundle.manifest
    data: dict[str, Any] = {
        "bundle": str(bundle.folder),
        "target": manifest.target,
        "weights": manifest.weights,
        "kv": manifest.kv.dtype,
        **msgspec.to_builtins(kv_bytes(manifest.kv)),
        "modalities": list(manifest.modalities),
        "left_out_modalities": list(left_out(facts, manifest.modalities)),
        "context": manifest.context,
        "bundle_bytes": bundle.size,
    }
    if manifest.engine is None:
        data["modality_bytes"] = {one: stored_bytes(bundle, PARTS[one]) for one in manifest.modalities if one in PARTS}
    if manifest.text_tables is not None:
        data["text_tables"] = msgspec.to_builtins(manifest.text_tables)
    if manifest.engine is None and manifest.cuda is None and manifest.quantized:
        data["kernels"] = "g4ops" if G4OPS in manifest.requires else "onnxruntime"
    if GENAI in manifest.requires:
        data["package"] = "genai"
    if manifest.cuda is not None:
        data["kernels"] = "onnxruntime" if manifest.cuda.kernels is None else "g4cuda"
    if manifest.tensor_files:
        links = [(bundle.folder / name).stat().st_nlink > 1 for name in manifest.tensor_files]  # it has another name
        data["checkpoint_files"] = "linked" if all(links) else "copied"
    if manifest.engine is not None:  # its weights are listed in the manifest
        data["engine"] = msgspec.to_builtins(msgspec.structs.replace(manifest.engine, weights=()))
    return data


def stored_bytes(bundle: Bundle, part: str) -> int:
    """Bytes of `weights.data` that the graph of ``part`` of an ONNX bundle reads."""
    import onnx

    graph = onnx.load(str(bundle.graph_path(bundle.manifest.graph(part))), load_external_data=False).graph
    places = ({entry.key: entry.value for entry in tensor.external_data} for tensor in graph.initializer)
    return sum({int(place["offset"]): int(place["length"]) for place in places if place}.values())


def left_out(facts: ModelFacts, compiled: tuple[str, ...]) -> tuple[str, ...]:
    """Modalities that the checkpoint has and a bundle of ``compiled`` ones does not take in."""
    return tuple(modality for modality in facts.modalities if modality not in compiled)


def bundle_graph(bundle: Bundle, stage: str, part: str = DECODER) -> str:
    """The ``part`` of an ONNX bundle as text. Raises InputError for a stage, a part or a bundle that has none,
    BundleError for a graph that is damaged."""
    import onnx
    from google.protobuf.message import DecodeError

    if stage != f"legal:{bundle.manifest.target}":
        raise InputError(
            f"a bundle holds its graph at the stage legal:{bundle.manifest.target} only",
            fix="inspect the checkpoint for earlier stages",
        )
    if bundle.manifest.engine is not None:
        raise InputError(
            "an engine bundle holds plans, and no graph", fix="inspect the checkpoint for the graph that was emitted"
        )
    if part not in bundle.manifest.parts:
        raise InputError(f"the bundle has no part {part}", fix=f"--part {', '.join(bundle.manifest.parts)}")
    file = bundle.graph_path(bundle.manifest.graph(part))
    data = read_bytes(file, _GRAPH)
    try:
        return str(onnx.printer.to_text(onnx.load_from_string(data))) + "\n"
    except (DecodeError, ValueError, IndexError, RuntimeError) as error:  # of protobuf; of the printer, about a tensor
        raise BundleError(
            f"the graph {file.name} cannot be read: it is damaged",
            where=str(file),
            why=str(error)[:200],
            fix=_GRAPH.fix,
        ) from error


def _config(source: str | Path) -> dict[str, Any]:
    path = Path(source)
    if path.is_file() and path.suffix in (*_BINARY_GRAPH, *_TEXT_GRAPH):
        what = "binary ONNX" if path.suffix in _BINARY_GRAPH else "a graph in text form"
        raise InputError(
            f"{path} is {what}, which inspect does not read",
            why="it reads a bundle folder, a checkpoint folder, a config.json, or the name of a preset",
            fix=f"inspect the folder of the bundle: {path.parent}",
        )
    return load_config(source)


def _stored(source: str | Path) -> tuple[int | None, int | None]:
    """Tensors and bytes of the weights beside a config; None without any."""
    folder = Path(source)
    if not folder.is_dir() or not any(folder.glob(f"{_SAFETENSORS}*")):
        return None, None
    from g4compile.weights.checkpoint import Checkpoint

    return len(Checkpoint.open(folder).tensors), sum(path.stat().st_size for path in folder.glob(_SAFETENSORS))
