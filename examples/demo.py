"""From a checkpoint to tokens: synthesise (or take yours), compile, verify, generate, measure.

    python examples/demo.py [CHECKPOINT]

Without an argument it makes a small random checkpoint with E2B's structure: per-layer embeddings, shared KV,
double-wide MLPs, sliding and full attention.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import g4compile
from g4compile.model import presets
from g4compile.runtime.measure import measure
from g4compile.synth.checkpoint import synthesize

OUT = Path("demo-out")


def small_e2b(folder: Path) -> Path:
    """E2B's decoder at hidden 256 and 10 layers, half of them sharing KV, tiny encoders, in a random checkpoint."""
    config, text = presets.config("tiny-e2b"), presets.config("e2b")["text_config"]
    config["text_config"] = text | {
        "hidden_size": 256,
        "intermediate_size": 1024,
        "num_hidden_layers": 10,
        "num_kv_shared_layers": 5,
        "layer_types": text["layer_types"][:10],
        "vocab_size": 4096,
        "vocab_size_per_layer_input": 4096,
        "hidden_size_per_layer_input": 32,
        "sliding_window": 64,
    }
    folder.mkdir(parents=True)
    source = folder / "config.json"
    source.write_text(json.dumps(config))
    synthesize(source, folder / "checkpoint", dtype="bfloat16")
    return folder / "checkpoint"


def command(*arguments: str) -> None:
    print(f"\n$ g4compile {' '.join(arguments)}", flush=True)
    subprocess.run([sys.executable, "-m", "g4compile", *arguments], check=True)


def main() -> None:
    start = time.perf_counter()
    shutil.rmtree(OUT, ignore_errors=True)
    checkpoint = Path(sys.argv[1]) if len(sys.argv) > 1 else small_e2b(OUT)
    bundle = OUT / "bundle"
    command("inspect", str(checkpoint))
    command("compile", str(checkpoint), "--target", "onnx-cpu", "-o", str(bundle))
    print("\n$ g4compile verify ... --localize", flush=True)
    report = g4compile.verify(bundle, checkpoint, layers=True)
    print(report.verdict)
    command("run", str(bundle), "--prompt", "What is the capital of France?", "--max-new-tokens", "24")
    timings = measure(bundle)
    parities = report.parity.values()
    prefill = f"{timings.prefill_tokens_per_second:,.0f} tokens/s"
    rows = {
        "max difference from Hugging Face": f"{max(parity.max_abs_difference for parity in parities):.1e}",
        "top-1 agreement": f"{min(parity.top1_agreement for parity in parities):.2%}",
        "prefill": f"{prefill} ({timings.prompt_tokens} tokens, {timings.threads} threads)",
        "decode": f"{timings.decode_tokens_per_second:,.0f} tokens/s",
        "load": f"{timings.load_s:.2f} s",
        "bundle": f"{g4compile.Bundle.open(bundle).size / 1e6:,.1f} MB",
        "demo took": f"{time.perf_counter() - start:.0f} s",
    }
    print("\nsummary")
    for name, value in rows.items():
        print(f"  {name:<34}{value}")
    sys.exit(0 if report.passed else 1)


if __name__ == "__main__":
    main()
