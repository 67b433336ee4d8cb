"""`g4compile inspect`: what is in a bundle or a checkpoint; the graph at any stage, as text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from g4compile.cli.console import Json, existing_or_name, result, size, status, table, verb

if TYPE_CHECKING:
    from g4compile.bundle.manifest import Bundle


@verb
def inspect(
    path: Annotated[str, typer.Argument(help="A bundle, a checkpoint folder, a config.json, or a preset.")],
    graph: Annotated[
        str,
        typer.Option(
            help="Print the graph at this stage: traced, canonical, fused, scheduled, quantized, legal:onnx-cpu."
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """Show what a bundle or checkpoint holds, or its graph at a stage."""
    from g4compile.bundle.manifest import MANIFEST, Bundle

    if (Path(path) / MANIFEST).exists():
        bundle = Bundle.open(path)
        data, rows = _bundle(bundle)
        text = _bundle_graph(bundle, graph) if graph else ""
    else:
        data, rows = _config(existing_or_name(path))
        text = _traced_graph(existing_or_name(path), graph) if graph else ""
    if graph:
        result(as_json, {"stage": graph, "graph": text}, lambda: print(text, end=""))
    else:
        result(as_json, data, lambda: table(path, rows))


def _bundle(bundle: Bundle) -> tuple[dict[str, Any], dict[str, str]]:
    import msgspec

    manifest = bundle.manifest
    full = [layer for layer in manifest.kv.layers if layer.keep is None]
    growing = sum(layer.bytes_per_token for layer in full)
    fixed = sum(layer.bytes_per_token * layer.keep for layer in manifest.kv.layers if layer.keep is not None)
    rows = {
        "model": f"{manifest.architecture} ({manifest.model_type})",
        "target": f"{manifest.target}, {manifest.weights} weights",
        "modalities": ", ".join(manifest.modalities),
        "context": f"{manifest.context:,} tokens",
        "KV cache": f"{len(manifest.kv.layers)} layers own one: {size(growing)} a token, {size(fixed)} in windows",
        "graphs": ", ".join(
            f"{name}: {len(graph.inputs)} inputs, {len(graph.outputs)} outputs"
            for name, graph in manifest.graphs.items()
        ),
        "made by": f"{manifest.generator} ({', '.join(f'{name} {version}' for name, version in manifest.versions.items())})",
        **{name: size(spec.bytes) for name, spec in manifest.files.items()},
    }
    data: dict[str, Any] = msgspec.to_builtins(manifest)
    return {**data, "bundle_bytes": bundle.size, "kv_bytes_per_token": growing, "kv_window_bytes": fixed}, rows


def _bundle_graph(bundle: Bundle, stage: str) -> str:
    import onnx

    from g4compile.errors import InputError

    if stage != f"legal:{bundle.manifest.target}":
        raise InputError(
            f"a bundle holds its graph at the stage legal:{bundle.manifest.target} only",
            fix="inspect the checkpoint for earlier stages",
        )
    if bundle.manifest.engine is not None:
        raise InputError(
            "an engine bundle holds plans, and no graph", fix="inspect the checkpoint for the graph that was emitted"
        )
    return str(onnx.printer.to_text(onnx.load(str(bundle.graph_path("decoder")), load_external_data=False))) + "\n"


def _config(source: str | Path) -> tuple[dict[str, Any], dict[str, str]]:
    from g4compile.model.config import FULL, load_config, model_facts
    from g4compile.weights.checkpoint import Checkpoint

    facts = model_facts(load_config(source), where=str(source))
    text = facts.text
    full = sum(layer.kind == FULL for layer in text.layers)
    shared = sum(not layer.owns_kv for layer in text.layers)
    rows = {
        "model": f"{facts.architecture} ({facts.model_type})",
        "modalities": ", ".join(facts.modalities),
        "decoder": f"{len(text.layers)} layers ({full} full, {len(text.layers) - full} sliding), hidden {text.hidden_size}, {text.heads} heads",
        "KV": f"{len(text.kv_layers)} layers own one, {shared} share"
        + (", K = V in full layers" if text.key_is_value else ""),
        "experts": f"{text.moe.experts}, top {text.moe.top_k}" if text.moe else "none",
        "per-layer embedding": str(text.ple_dim) if text.ple_dim else "none",
        "vocabulary": f"{text.vocab_size:,}",
        "positions": f"{text.max_positions:,}",
    }
    data: dict[str, Any] = {
        "architecture": facts.architecture,
        "model_type": facts.model_type,
        "modalities": list(facts.modalities),
        "layers": len(text.layers),
        "full_layers": full,
        "kv_owners": [layer.index for layer in text.kv_layers],
        "hidden_size": text.hidden_size,
        "vocab_size": text.vocab_size,
        "max_positions": text.max_positions,
        "experts": text.moe.experts if text.moe else 0,
    }
    folder = Path(source)
    if folder.is_dir() and any(folder.glob("*.safetensors*")):
        tensors = Checkpoint.open(folder).tensors
        total = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
        rows["weights"] = f"{len(tensors):,} tensors, {size(total)}"
        data |= {"tensors": len(tensors), "weight_bytes": total}
    return data, rows


def _traced_graph(source: str | Path, stage: str) -> str:
    from g4compile import pipeline
    from g4compile.errors import InputError
    from g4compile.graph.stage import LEGAL, STAGES
    from g4compile.graph.text import to_text
    from g4compile.model.config import load_config, model_facts
    from g4compile.targets import TARGETS
    from g4compile.targets.base import Options
    from g4compile.trace.trace import trace

    stages = (*STAGES, *(target.stage for target in TARGETS.values()))
    if stage not in stages:
        raise InputError(f"there is no stage {stage}", fix=f"stages: {', '.join(stages)}")
    facts = model_facts(load_config(source), where=str(source))
    with status("trace"):
        model = trace(facts)
        target = TARGETS[stage.removeprefix(LEGAL) if stage.startswith(LEGAL) else "onnx-cpu"]
        phases = target.pipeline(facts.text, Options())
        wanted = [phase.stage for phase in phases]
        pipeline.run(model, phases[: wanted.index(stage) + 1] if stage != STAGES[0] else [])
    return to_text(model)
