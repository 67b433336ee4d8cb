"""Hugging Face transformers on a GPU, beside `decoder.py`: eager, and compiled by torch with a static cache.

    python benchmarks/gpu/hf.py CONFIG [--compile] [--out FILE]

``CONFIG``: a `config.json`. Weights are random and bfloat16. Decoding is the slope between 16 and 80 new tokens behind
1,000; a prompt is one new token behind it. Greedy tokens are chosen by transformers' own `generate`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

FEW, MANY = 16, 80  # new tokens


def model_of(config: Path) -> Any:
    from transformers import AutoConfig, AutoModelForImageTextToText

    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(config, Path(folder) / "config.json")
        read = AutoConfig.from_pretrained(folder)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        return AutoModelForImageTextToText.from_config(read, dtype=torch.bfloat16).eval()


def seconds(model: Any, length: int, new: int, static: bool) -> float:
    """Of ``new`` tokens behind ``length``. A static cache is as long for any number of them: another length would be
    compiled again."""
    ids = torch.randint(1000, 200000, (1, length), device="cuda")
    given = {"cache_implementation": "static"} if static else {}
    torch.cuda.synchronize()
    start = time.perf_counter()
    with torch.no_grad():
        model.generate(
            ids, max_new_tokens=MANY, do_sample=False,
            stopping_criteria=[lambda tokens, _: torch.full((1,), tokens.shape[1] >= length + new, device="cuda")],
            **given,
        )  # fmt: skip
    torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    model = model_of(given.config)
    model.generation_config.eos_token_id = None
    found: dict[str, Any] = {"form": "torch.compile, static cache" if given.compile else "eager"}
    for _ in range(2):
        seconds(model, 1000, FEW, given.compile)  # what compiles, compiles here
    few, many = (min(seconds(model, 1000, new, given.compile) for _ in range(2)) for new in (FEW, MANY))
    found["decode_tokens_per_second_at_1000"] = (MANY - FEW) / (many - few)
    print(json.dumps(found), flush=True)
    if not given.compile:
        for length in (512, 4096):
            seconds(model, length, 1, False)
            found[f"prefill_tokens_per_second_of_{length}"] = length / min(
                seconds(model, length, 1, False) for _ in range(2)
            )
    print(json.dumps(found), flush=True)
    if given.out:
        given.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
