"""The reference case: E2B at its real size (random weights, text only), beside transformers in the same run.

    python benchmarks/e2b.py WORK [--recipes int4,mobile] [--threads 2] [--without-transformers] [--llama PYTHON]

WORK keeps the checkpoint (9.3 GB), bundles and caches, so that a second run only measures. Prints one JSON object:
for each recipe the timings of `g4compile bench --cache`, the speed `plan` allows on the bandwidth measured just
before, and where the time of a decoded token goes; for transformers (bfloat16, eager) prefill and decode. PYTHON is the
interpreter that `llama_cpp.py` wants, for llama.cpp's figures in the same run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from ort_profile import last_nodes

PROMPT, STEPS, PROFILED = 512, 32, 5
G4 = [sys.executable, "-m", "g4compile"]


def g4(*arguments: object) -> dict[str, Any]:
    """A verb's JSON, from a process of its own."""
    done = subprocess.run([*G4, *map(str, arguments), "--json"], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"g4compile {' '.join(map(str, arguments))} failed: {done.stdout}{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(work: Path, recipe: str, threads: int) -> dict[str, Any]:
    bundle, cache = work / recipe, work / f"{recipe}-cache"
    if not bundle.exists():
        g4("compile", work / "checkpoint", "--target", "onnx-cpu", "--weights", recipe, "-o", bundle)
    plan = g4("plan", "e2b", "--target", "onnx-cpu", "--weights", recipe, "--context", PROMPT, "--measure-device")
    sizes = ("--prompt-tokens", PROMPT, "--new-tokens", STEPS, "--threads", threads)
    found = g4("bench", bundle, *sizes, "--cache", cache)
    again = g4("plan", "e2b", "--target", "onnx-cpu", "--weights", recipe, "--context", PROMPT, "--measure-device")
    bandwidth = (plan["device"]["bandwidth"] + again["device"]["bandwidth"]) / 2
    return {
        **found,
        "bandwidth": bandwidth,
        "decode_read_bytes": plan["decode_read_bytes"],
        "share_of_roofline": found["decode_tokens_per_second"] * plan["decode_read_bytes"] / bandwidth,
        "prefill_all_positions_tokens_per_second": all_positions(bundle, cache, threads),
        "decode_ms_by_part": profile(bundle, cache, threads),
    }


def all_positions(bundle: Path, cache: Path, threads: int) -> float:
    """Prefill that computes every layer and the logits for all tokens: what the same kernels do without the shared
    tail."""
    code = (
        "import sys, time, statistics, numpy as np; from g4compile.runtime.session import load\n"
        "session = load(sys.argv[1], threads=int(sys.argv[3]), cache=sys.argv[2])\n"
        f"ids = np.random.default_rng(0).integers(0, 1000, (1, {PROMPT}))\n"
        "def run():\n"
        "    session.reset(); start = time.perf_counter(); session.forward(ids, all_positions=True)\n"
        "    return time.perf_counter() - start\n"
        "print(statistics.median([run() for _ in range(6)][1:]))"
    )
    command = [sys.executable, "-c", code, bundle, cache, threads]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    return PROMPT / float(done.stdout.split()[-1])


def profile(bundle: Path, cache: Path, threads: int) -> dict[str, float]:
    """Milliseconds of a decoded token, by op and part of the model, from ONNX Runtime's own profile."""
    code = (
        "import sys, numpy as np; from g4compile.runtime.session import load\n"
        "session = load(sys.argv[1], threads=int(sys.argv[3]), cache=sys.argv[2], profile=sys.argv[4])\n"
        "session.forward(np.random.default_rng(0).integers(0, 1000, (1, 512)))\n"
        "[session.forward([5]) for _ in range(9)]\n"
        "print(session.end_profiling())"
    )
    command = [sys.executable, "-c", code, bundle, cache, threads, cache / "profile"]
    file = Path(subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stdout.split()[-1])
    spent: Counter[str] = Counter()
    for event in last_nodes(file, PROFILED):
        part = next((name for name in ("self_attn", "mlp", "per_layer", "lm_head") if name in event["name"]), "other")
        spent[f"{event['args']['op_name']} {part}"] += event["dur"] / 1e3 / PROFILED
    return {name: round(value, 3) for name, value in spent.most_common(12)}


def transformers(work: Path, threads: int) -> dict[str, Any]:
    """Prefill and decode of transformers, bfloat16 eager, on the same checkpoint."""
    code = f"""
import json, statistics, sys, time, torch, transformers
torch.set_num_threads({threads})
model = transformers.Gemma4ForConditionalGeneration.from_pretrained(
    sys.argv[1], dtype=torch.bfloat16, attn_implementation="eager").eval()
ids = torch.randint(0, 1000, (1, {PROMPT}))
prefill, decode = [], []
with torch.no_grad():
    for _ in range(3):
        start = time.perf_counter()
        out = model(input_ids=ids, use_cache=True, logits_to_keep=1)
        prefill.append(time.perf_counter() - start)
    token = out.logits[:, -1:].argmax(-1)
    for _ in range(8):
        start = time.perf_counter()
        out = model(input_ids=token, past_key_values=out.past_key_values, use_cache=True)
        decode.append(time.perf_counter() - start)
print(json.dumps({{"prefill_tokens_per_second": {PROMPT} / statistics.median(prefill),
                  "decode_tokens_per_second": 1 / statistics.median(decode)}}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(work / "checkpoint")], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def llama(work: Path, python: Path, threads: int) -> dict[str, Any]:
    script = Path(__file__).with_name("llama_cpp.py")
    command = [str(python), str(script), str(work), "--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--recipes", default="int4,mobile")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--without-transformers", action="store_true")
    parser.add_argument("--llama", type=Path)
    options = parser.parse_args()
    checkpoint = options.work / "checkpoint"
    if not checkpoint.exists():
        g4("synth", "e2b", "-o", checkpoint, "--dtype", "bfloat16", "--modalities", "text")
    found = {recipe: measure(options.work, recipe, options.threads) for recipe in options.recipes.split(",")}
    if not options.without_transformers:
        found["transformers bfloat16 eager"] = transformers(options.work, options.threads)
    if options.llama is not None:
        found["llama.cpp"] = llama(options.work, options.llama, options.threads)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
