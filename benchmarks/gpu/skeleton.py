"""A bundle for CUDA without its weights, made on any machine, and filled with random numbers where it is run.

    python benchmarks/gpu/skeleton.py make CONFIG FOLDER [--weights int4] [--layers N] [--context N] [--chunk N]
    python benchmarks/gpu/skeleton.py fill FOLDER

Weights of published sizes take tens of gigabytes, which need not travel to measure speed. Everything else is what
`g4compile compile` writes: the graph, the kernels, the manifest. ``CONFIG``: a preset or a `config.json`; `--layers`
keeps the first N of it. `fill` needs torch with a GPU, which makes the numbers, and nothing of the compiler.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
DATA, FILL, PAGE = "weights.data", "fill.json", 4096


def config_of(source: str, layers: int) -> dict[str, Any]:
    """The config ``source``, of its first ``layers``, or of all with 0."""
    from g4compile.model.config import load_config

    config = json.loads(json.dumps(load_config(Path(source) if Path(source).exists() else source)))
    text = config["text_config"]
    if layers:
        text["layer_types"] = text["layer_types"][:layers]
        text["num_hidden_layers"] = layers
    return config


def make(source: str, folder: Path, layers: int, **given: Any) -> None:  # noqa: PLR0915
    """Write the graphs, the kernels, the manifest, and what `fill` must make."""
    import msgspec
    import onnx_ir as ir

    from g4compile.bundle.manifest import CHOICE, DECODER, FileSpec, encode
    from g4compile.graph.references import Reference
    from g4compile.graph.text import renumber
    from g4compile.model.config import model_facts
    from g4compile.program import Program
    from g4compile.targets.base import Emitted
    from g4compile.targets.kernels.bundled import write_kernels
    from g4compile.targets.lower import lower
    from g4compile.targets.manifest import manifest_of
    from g4compile.targets.onnx.cuda import bundle
    from g4compile.targets.onnx.cuda.choice import choice_graph
    from g4compile.targets.onnx.cuda.lower_to_launches import kernels_of
    from g4compile.targets.onnx.cuda.target import ONNX_CUDA
    from g4compile.trace.trace import trace
    from g4compile.weights.checkpoint import Checkpoint

    config = config_of(source, layers)
    facts = model_facts(config)
    options = ONNX_CUDA.options(**given)
    program = Program.of({DECODER: trace(facts, part=DECODER)}, facts)
    (lowered,) = lower(program, ONNX_CUDA, options)
    graph = lowered.model.graph
    renumber(lowered.model)
    models = {DECODER: lowered.model, CHOICE: choice_graph(lowered.model)}
    folder.mkdir(parents=True, exist_ok=True)
    at, wanted, places = 0, [], {}
    for name, value in graph.initializers.items():
        tensor = value.const_value
        if not isinstance(tensor, Reference):
            continue
        places[name] = at
        wanted.append(
            {"name": name, "at": at, "bytes": tensor.nbytes, "dtype": str(tensor.dtype), "axes": len(tensor.shape)}
        )
        at += tensor.nbytes + -tensor.nbytes % PAGE
    quantized = bundle.quantized_specs([lowered.model])
    for name, place in places.items():
        value = graph.initializers[name]
        tensor = value.const_value
        shape = ir.Shape([int(size) for size in tensor.shape])
        value.const_value = ir.ExternalTensor(DATA, place, tensor.nbytes, tensor.dtype, shape=shape, name=name)
    for part, model in models.items():
        proto = ir.serde.serialize_model(model)
        del proto.graph.value_info[:]
        (folder / f"{part}.onnx").write_bytes(proto.SerializeToString(deterministic=True))
    nodes = [node for model in models.values() for node in model.graph]
    write_kernels(folder, kernels_of(nodes), options.compute_capabilities)
    spec = bundle.specs(facts, options, models, quantized)
    assert isinstance(spec, Emitted)
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "config.json").write_text(json.dumps(config))
        manifest = manifest_of(Checkpoint(Path(scratch), facts, {}), ONNX_CUDA, options, spec)
    files = {
        path.name: FileSpec(path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(folder.iterdir())
        if path.name not in (FILL, DATA, "g4.json")
    }
    files[DATA] = FileSpec(at, "0" * 64)
    (folder / "g4.json").write_bytes(encode(msgspec.structs.replace(manifest, files=files)))
    (folder / FILL).write_text(json.dumps({"bytes": at, "tensors": wanted}))
    (folder / "config.json").write_text(json.dumps(config))
    print(f"{folder}: {len(list(graph))} nodes, {len(wanted)} weights, {at / 1e9:.2f} GB to fill")


def fill(folder: Path) -> None:
    """Random numbers of the size of a model's: norms around 1, matrices of deviation 0.02, codes of all values."""
    import torch

    asked = json.loads((folder / FILL).read_text())
    generator = torch.Generator("cuda").manual_seed(1)
    with (folder / DATA).open("wb") as out:
        out.truncate(asked["bytes"])
        for tensor in asked["tensors"]:
            out.seek(tensor["at"])
            for piece in _numbers(tensor, generator, torch):
                piece.view(torch.uint8).cpu().numpy().tofile(out)


def _numbers(tensor: dict[str, Any], generator: Any, torch: Any) -> Any:
    left, step, kind = tensor["bytes"], 1 << 28, torch.bfloat16
    while left:
        size = min(step, left)
        left -= size
        if tensor["dtype"].lower() == "uint8":
            yield torch.randint(0, 256, (size,), dtype=torch.uint8, device="cuda", generator=generator)
        elif tensor["name"].endswith(".scales"):
            yield (torch.rand(size // 2, device="cuda", generator=generator) * 0.004 + 0.001).to(kind)
        elif tensor["axes"] == 1:
            yield (torch.rand(size // 2, device="cuda", generator=generator) * 0.5 + 0.5).to(kind)
        else:
            yield (torch.randn(size // 2, device="cuda", generator=generator) * 0.02).to(kind)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    maker = verbs.add_parser("make")
    maker.add_argument("config")
    maker.add_argument("folder", type=Path)
    maker.add_argument("--weights", default="bfloat16")
    maker.add_argument("--layers", type=int, default=0)
    maker.add_argument("--context", type=int, default=16384)
    maker.add_argument("--chunk", type=int, default=2048)
    maker.add_argument("--sm", default="90")
    verbs.add_parser("fill").add_argument("folder", type=Path)
    given = parser.parse_args()
    if given.verb == "fill":
        fill(given.folder)
        return
    make(
        given.config, given.folder, given.layers, weights=given.weights, context=given.context, chunk=given.chunk,
        compute_capabilities=tuple(map(int, given.sm.split(","))),
    )  # fmt: skip


if __name__ == "__main__":
    main()
