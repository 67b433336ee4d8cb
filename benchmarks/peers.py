"""Prefill and decode of other runtimes on the checkpoint of `e2b.py`, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def transformers(work: Path, prompt: int, threads: int) -> dict[str, Any]:
    """bfloat16, eager, on the same weights: medians of 3 prompts and 8 tokens."""
    code = f"""
import json, statistics, sys, time, torch, transformers
torch.set_num_threads({threads})
model = transformers.Gemma4ForConditionalGeneration.from_pretrained(
    sys.argv[1], dtype=torch.bfloat16, attn_implementation="eager").eval()
ids = torch.randint(0, 1000, (1, {prompt}))
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
print(json.dumps({{"prefill_tokens_per_second": {prompt} / statistics.median(prefill),
                  "decode_tokens_per_second": 1 / statistics.median(decode)}}))
"""
    return _answer([sys.executable, "-c", code, work / "checkpoint"])


def other(script: str, work: Path, python: Path, threads: int) -> dict[str, Any]:
    """What ``script`` of this folder, `llama_cpp.py` or `litert_lm.py`, prints under the interpreter that it wants."""
    return _answer([python, HERE / script, work, "--threads", threads])


def _answer(command: list[object]) -> dict[str, Any]:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{command[0]} failed: {done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
    return answer
