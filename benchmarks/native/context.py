"""Attention of a decoded token behind a long context, at E2B's sizes: the op of libg4ops in ONNX Runtime.

    python benchmarks/native/context.py [--context 16384] [--config e2b] [--threads 2] [--repeats 20]
        [--build FOLDER] [--json FILE]

Needs libg4ops. Attention alone, for a full layer and for a sliding one (a ring, of which the window is read), with
caches of float32, bfloat16 and int8. A graph has one node for each of several layers, whose caches are more than those
of the processor hold. Milliseconds of a node, a median; those that its keys and values, and their scales, take at the
read limit, which is measured before and after each case. Then the same for all layers of a token.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

from g4compile.bundle.requires import G4OPS
from g4compile.model.config import LayerFacts, load_config, model_facts
from g4compile.runtime.native import add_ops, require_library
from g4compile.targets.onnx.bundle import kv_token_bytes, ring_slots

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
from benchmarks.limits import built, limits, median_seconds, processor  # noqa: E402

TYPES = ("float32", "bfloat16", "int8")
DTYPES = {"float32": np.float32, "bfloat16": np.uint16, "int8": np.int8}  # NumPy has no bfloat16: its bits
MEMORY, MOST = 256e6, 64  # bytes of all caches of a graph, and most layers in it
Array = np.ndarray[Any, Any]


def cache(kind: str, shape: tuple[int, ...], random: np.random.Generator) -> dict[str, Array]:
    """Keys or values, and the scales of int8, of numbers about as large as normed ones."""
    if kind == "int8":
        scales = np.full((*shape[:-1], 1), 0.02, np.float32)
        return {"": random.integers(-127, 128, shape, np.int8), "_scales": scales}
    numbers = random.standard_normal(shape, np.float32)
    return {"": numbers if kind == "float32" else numbers.astype(ml_dtypes.bfloat16).view(np.uint16)}


class Case:
    """Attention of several layers like ``layer``, ``heads`` of queries, the newest token at ``context`` - 1."""

    def __init__(self, layer: LayerFacts, heads: int, kind: str, context: int) -> None:
        self.layer, self.heads, self.kind, self.context = layer, heads, kind, context
        self.slots = ring_slots(layer) or context
        seen = context if layer.window is None else min(context, layer.window)
        self.bytes = seen * kv_token_bytes(layer, kind)
        self.copies = min(MOST, max(2, round(MEMORY / (self.slots * kv_token_bytes(layer, kind)))))

    @property
    def name(self) -> str:
        window = f"window {self.layer.window}" if self.layer.window else f"{self.context:,} tokens"
        return f"{self.layer.kind.split('_')[0]}, {self.kind}, {window}"

    def feeds(self) -> dict[str, Array]:
        random, layer = np.random.default_rng(0), self.layer
        shape = (1, layer.kv_heads, self.slots, layer.head_dim)
        found = {
            "query": random.standard_normal((1, self.heads, 1, layer.head_dim), np.float32),
            "positions": np.array([[self.context - 1]]),
        }
        for copy in range(self.copies):
            for part in ("keys", "values"):
                found |= {f"{part}{key}.{copy}": array for key, array in cache(self.kind, shape, random).items()}
        return found

    def model(self, feeds: dict[str, Array]) -> onnx.ModelProto:
        parts = ["keys", "values", *(("keys_scales", "values_scales") if self.kind == "int8" else ())]
        given = {"scale": 1.0, "window": self.layer.window or 0, "ring": int(self.layer.window is not None)}
        nodes = [
            helper.make_node(
                "Attention",
                ["query", "positions", *(f"{part}.{copy}" for part in parts)],
                [f"y.{copy}"],
                domain="g4",
                **given,
            )
            for copy in range(self.copies)
        ]
        inputs = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in feeds.items()
        ]
        outputs = [helper.make_tensor_value_info(f"y.{copy}", TensorProto.FLOAT, None) for copy in range(self.copies)]
        opsets = [helper.make_opsetid("", 23), helper.make_opsetid("g4", 1)]
        graph = helper.make_graph(nodes, "attention", inputs, outputs)
        return helper.make_model(graph, opset_imports=opsets, ir_version=11)

    def seconds(self, threads: int, repeats: int) -> float:
        """Of one layer."""
        feeds, options = self.feeds(), ort.SessionOptions()
        add_ops(options, {G4OPS})
        options.intra_op_num_threads = threads
        built_graph = self.model(feeds).SerializeToString()
        session = ort.InferenceSession(built_graph, options, providers=["CPUExecutionProvider"])
        binding = session.io_binding()
        for name, array in feeds.items():
            binding.bind_cpu_input(name, array)
        for output in session.get_outputs():
            binding.bind_output(output.name)
        return median_seconds(lambda turn: session.run_with_iobinding(binding), repeats) / self.copies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--context", type=int, default=16384)
    parser.add_argument("--config", default="e2b")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--build", type=Path)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    require_library("this benchmark")
    text = model_facts(load_config(given.config)).text
    counts = {kind: sum(layer.kind == kind for layer in text.layers) for kind in {layer.kind for layer in text.layers}}
    lines: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        program = built(given.build or Path(folder), "limits")
        for kind in TYPES:
            for layer in {one.kind: one for one in text.layers}.values():
                case = Case(layer, text.heads, kind, given.context)
                first = limits(program, given.threads)
                seconds = case.seconds(given.threads, given.repeats)
                read = first.mean(limits(program, given.threads)).read
                line = {"name": case.name, "kv": kind, "layers": counts[layer.kind], "bytes": case.bytes}
                lines.append(line | {"ms": seconds * 1e3, "ms_at_limit": case.bytes / read * 1e3, "read_limit": read})
    print(f"{given.config}, {text.heads} heads, {given.threads} threads on {processor()}")
    for line in lines:
        least, limit = line["ms_at_limit"], line["read_limit"] / 1e9
        print(f"{line['name']:<34}{line['ms']:>9.4f} ms, {least:>8.4f} at {limit:.1f} GB/s ({least / line['ms']:.0%})")
    for kind in TYPES:
        of_kind = [line for line in lines if line["kv"] == kind]
        took, least = (sum(line[key] * line["layers"] for line in of_kind) for key in ("ms", "ms_at_limit"))
        name = f"all {len(text.layers)} layers, {kind}"
        print(f"{name:<34}{took:>9.2f} ms, {least:>8.2f} ({least / took:.0%})")
    if given.json:
        given.json.write_text(json.dumps({"processor": processor(), "lines": lines}, indent=1) + "\n")


if __name__ == "__main__":
    main()
