"""How much faster a prefill is with `schedule-shared-tail`: one model, compiled with and without, one process.

    python benchmarks/shared_tail.py [--tokens 512] [--repeats 7] [--threads 2]

The model has E2B's shape at hidden 512 and 20 layers: 4 sliding and 1 full layer in turn, the last 10 layers
sharing KV with double-wide MLPs, PLE. Without the pass every layer and the head see every position. Runs
alternate; medians and their ratio are printed as one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from g4compile.model import presets
from g4compile.model.config import model_facts
from g4compile.program import Program, bind
from g4compile.synth.checkpoint import synthesize
from g4compile.targets.lower import lower
from g4compile.targets.onnx.target import ONNX_CPU
from g4compile.trace.trace import trace
from g4compile.weights.checkpoint import Checkpoint
from g4compile.weights.writer import write_graphs

HIDDEN, LAYERS, SHARED = 512, 20, 10


def config() -> dict[str, Any]:
    """E2B's published config, scaled down: hidden and MLP by 3, layers to 20, a small vocabulary."""
    raw = presets.config("e2b")
    text = raw["text_config"]
    text |= {
        "hidden_size": HIDDEN,
        "intermediate_size": 4 * HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_kv_shared_layers": SHARED,
    }
    text |= {
        "layer_types": text["layer_types"][:LAYERS],
        "vocab_size": 4096,
        "vocab_size_per_layer_input": 4096,
        "hidden_size_per_layer_input": 64,
    }
    return {**raw, "vision_config": None, "audio_config": None}


def build(checkpoint: Checkpoint, folder: Path, shared_tail: bool) -> ort.InferenceSession:
    model = trace(checkpoint.facts)
    bind(Program.decoder(model, checkpoint.facts), checkpoint)
    program = Program.decoder(model, checkpoint.facts)
    (lowered,) = lower(program, ONNX_CPU, ONNX_CPU.options(shared_tail=shared_tail))
    place = folder / f"tail-{shared_tail}"
    place.mkdir()
    write_graphs({"decoder": lowered.model}, place)
    options = ort.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    options.log_severity_level = 3  # unbound caches are copied here, and each copy would be a warning
    return ort.InferenceSession(str(place / "decoder.onnx"), options, providers=["CPUExecutionProvider"])


def feeds(session: ort.InferenceSession, checkpoint: Checkpoint) -> dict[str, Any]:
    tokens = arguments.tokens
    values: dict[str, Any] = {
        "input_ids": np.random.default_rng(0).integers(0, 4096, (1, tokens)),
        "position_ids": np.arange(tokens)[None],
        "num_logits_to_keep": np.array(1),
    }
    for layer in checkpoint.facts.text.kv_layers:
        slots = tokens if layer.window is None else 0
        for part in ("key", "value"):
            values[f"past_key_values.{layer.index}.{part}"] = np.zeros(
                (1, layer.kv_heads, slots, layer.head_dim), np.float32
            )
    wanted = {graph_input.name for graph_input in session.get_inputs()}
    return {name: value for name, value in values.items() if name in wanted}


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.json").write_text(json.dumps(config()))
        synthesize(folder / "config.json", folder / "checkpoint")
        checkpoint = Checkpoint.open(folder / "checkpoint")
        sessions = {shared: build(checkpoint, folder, shared) for shared in (True, False)}
        inputs = {shared: feeds(session, checkpoint) for shared, session in sessions.items()}
        last = {shared: session.run(["logits"], inputs[shared])[0][:, -1] for shared, session in sessions.items()}
        times: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(arguments.repeats):
            for shared, session in sessions.items():
                start = time.perf_counter()
                session.run(["logits"], inputs[shared])
                times[shared].append(time.perf_counter() - start)
    on, off = statistics.median(times[True]), statistics.median(times[False])
    report = {
        "layers": model_facts(config()).text.kv_layers[-1].index + 1 + SHARED,
        "prompt_tokens": arguments.tokens,
        "threads": arguments.threads,
        "prefill_with_s": round(on, 4),
        "prefill_without_s": round(off, 4),
        "speedup": round(off / on, 2),
        "max_abs_difference": float(np.abs(last[True] - last[False]).max()),
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    main()
