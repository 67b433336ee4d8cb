"""Bundles and checkpoints as rows of a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from g4compile.bundle.folder import Bundle
from g4compile.bundle.kv import kv_bytes
from g4compile.bundle.manifest import CudaSpec, EngineSpec, EngineStep, Manifest
from g4compile.bundle.requires import GENAI, IMAGE_BLOCKS
from g4compile.cli.render.installs import kernels_row
from g4compile.cli.render.sizes import kv_size, size
from g4compile.planning.describe import Described

_PACKAGE = "for onnxruntime-genai, which runs this folder as it is; no session of g4compile does"


def compiled_rows(bundle: Bundle, data: Mapping[str, Any]) -> dict[str, str]:
    """A bundle that was made now; ``data`` is what --json prints of it."""
    manifest = bundle.manifest
    rows = {
        "model": manifest.architecture,
        "target": f"{manifest.target}, {manifest.weights} weights, {', '.join(manifest.modalities)}",
    }
    if data["left_out_modalities"]:
        rows["left out"] = f"{', '.join(data['left_out_modalities'])}: in the checkpoint, not in the bundle"
    rows |= {
        "KV": _kv(bundle),
        "context": f"{manifest.context:,} tokens",
        "size": size(bundle.size),
        **_encoder_rows(manifest, data.get("modality_bytes", {})),
        "time": f"{data['compile_s']:.1f} s",
    }
    if manifest.engine is not None:
        rows |= _engine_rows(manifest.engine) | _image_rows(manifest)
    if GENAI in manifest.requires:
        rows["package"] = _PACKAGE
    if "checkpoint_files" in data:
        rows["checkpoint's files"] = f"{data['checkpoint_files']} into the bundle, which needs no checkpoint"
    if manifest.cuda is not None:
        rows |= _cuda_rows(manifest.cuda)
    if "kernels" in data and manifest.cuda is None:
        rows["kernels"] = kernels_row(data["kernels"])
    rows |= _table_rows(manifest)
    if "identical_tensors" in data:
        rows["weights"] = f"{data['identical_tensors']} of {data['quantized_tensors']} tensors code-identical"
    return rows


def _encoder_rows(manifest: Manifest, sizes: Mapping[str, int]) -> dict[str, str]:
    """What each modality beside text costs, and how to leave it out. A package takes no sounds without images."""
    rows = {}
    for one, count in sizes.items():
        gone = ("image", "audio") if one == "image" and GENAI in manifest.requires else (one,)
        left = ",".join(other for other in manifest.modalities if other not in gone)
        rows[one] = f"{size(count)} of it; without: --modalities {left}"
    return rows


def bundle_rows(bundle: Bundle) -> dict[str, str]:
    """A bundle that stands on the disk."""
    manifest = bundle.manifest
    versions = ", ".join(f"{name} {version}" for name, version in manifest.versions.items())
    graphs = (
        f"{name}: {len(graph.inputs)} inputs, {len(graph.outputs)} outputs" for name, graph in manifest.graphs.items()
    )
    return {
        "model": f"{manifest.architecture} ({manifest.model_type})",
        "target": f"{manifest.target}, {manifest.weights} weights",
        "modalities": ", ".join(manifest.modalities),
        "context": f"{manifest.context:,} tokens",
        "KV": _kv(bundle),
        "graphs": ", ".join(graphs),
        **({} if manifest.cuda is None else _cuda_rows(manifest.cuda)),
        **({"package": _PACKAGE} if GENAI in manifest.requires else {}),
        "requires": ", ".join(manifest.requires) or "ONNX alone",
        **_table_rows(manifest),
        "made by": f"{manifest.generator} ({versions})",
        **{name: size(spec.bytes) for name, spec in manifest.files.items()},
    }


def config_rows(found: Described) -> dict[str, str]:
    """A config, and the weights beside it."""
    kinds = f"{found.full_layers} full, {found.layers - found.full_layers} sliding"
    rows = {
        "model": f"{found.architecture} ({found.model_type})",
        "modalities": ", ".join(found.modalities),
        "decoder": f"{found.layers} layers ({kinds}), hidden {found.hidden_size}, {found.heads} heads",
        "KV": f"{len(found.kv_owners)} layers own one, {found.layers - len(found.kv_owners)} share"
        + (", K = V in full layers" if found.key_is_value else ""),
        "experts": f"{found.experts}, top {found.experts_per_token}" if found.experts else "none",
        "per-layer embedding": str(found.per_layer_embedding or "none"),
        "vocabulary": f"{found.vocab_size:,}",
        "positions": f"{found.max_positions:,}",
    }
    if found.tensors is not None and found.weight_bytes is not None:
        rows["weights"] = f"{found.tensors:,} tensors, {size(found.weight_bytes)}"
    return rows


def _table_rows(manifest: Manifest) -> dict[str, str]:
    """What a program in C has of text."""
    tables = manifest.text_tables
    if tables is None:
        return {}
    found = {"tokenizer": tables.tokenizer, "chat": tables.chat}
    said = [
        kind if name else f"no {kind}" + (f" ({tables.refused[kind]})" if kind in tables.refused else "")
        for kind, name in found.items()
    ]
    return {"text from C": ", ".join(said)}


def _kv(bundle: Bundle) -> str:
    kv, found = bundle.manifest.kv, kv_bytes(bundle.manifest.kv)
    return f"{kv.dtype}, {len(kv.layers)} layers: {kv_size(found.kv_bytes_per_token, found.kv_window_bytes)}"


def _image_rows(manifest: Manifest) -> dict[str, str]:
    """Which images do not go into a step, where it must hold all tokens of one."""
    engine, media = manifest.engine, manifest.media
    if engine is None or media is None or media.image is None or IMAGE_BLOCKS not in manifest.requires:
        return {}
    most = media.image.max_soft_tokens
    if engine.chunk >= most:
        return {}
    return {"images": f"of at most {engine.chunk} tokens; the default budget of {most} needs --chunk {most} or more"}


def _cuda_rows(cuda: CudaSpec) -> dict[str, str]:
    if cuda.kernels is None:
        how = "sizes on the host, no run captured" if cuda.host_sizes else "steps captured"
        own = f"ONNX Runtime's own kernels, without those of g4compile: slower; {how}"
        return {"CUDA": f"{own}; at most {cuda.chunk:,} new tokens a run"}
    capabilities = ", ".join(f"sm{capability}" for capability in cuda.compute_capabilities)
    return {"CUDA": f"machine code for {capabilities}; at most {cuda.chunk:,} new tokens a run"}


def _refused(step: EngineStep) -> str:
    return f" (refused: {', '.join(step.refused)})" if step.refused else ""


def _tokens(count: int) -> str:
    return "1 token" if count == 1 else f"{count:,} tokens"


def _engine_rows(engine: EngineSpec) -> dict[str, str]:
    capabilities = ", ".join(f"sm{capability}" for capability in engine.compute_capabilities)
    planned = [step.activation_bytes for step in engine.steps]
    activations = max(*planned, *(encoder.activation_bytes for encoder in engine.encoders))
    memory = f"weights {size(engine.weight_bytes)}, KV {size(engine.kv_bytes)}, activations about {size(activations)}"
    rows = {
        "engine": f"{engine.product} {engine.version} for {capabilities or 'the GPU here'}, never run here",
        "steps": ", ".join(f"{step.name} ({_tokens(step.tokens)})" for step in engine.steps),
        "attention": ", ".join(f"{step.name} {step.attention}{_refused(step)}" for step in engine.steps),
    }
    if engine.ranks > 1:
        rows["ranks"] = f"{engine.ranks}, each with plans, weights and KV of its own; bytes below are of one"
    return {**rows, "on the device": memory}
