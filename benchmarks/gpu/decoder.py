"""Speed of `onnx-cuda` bundles on a GPU: decoding, prompts, batches, and the time to the first token.

    python benchmarks/gpu/decoder.py FOLDER [--out FILE] [--lengths 1000,8000] [--prompts 512,4096] [--batches 8,32]
                                            [--cold]

``FOLDER``: a bundle, or one of `skeleton.py` that was filled. Beside it, in the same run, the bandwidth of reading its
memory. All include choosing the token (greedy, but where a draw is said), and its way to the host. Decoding is the time
of 128 tokens behind a prompt of the given length, the median of 3. Run it in a process of its own: what opening costs
is measured too; `--cold` first takes the bundle's files out of the page cache.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

STARTED = time.perf_counter()
sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np  # noqa: E402 - the clock starts first

TOKENS, ROUNDS = 128, 3
DRAW = {"temperature": 1.0, "top_k": 64, "top_p": 0.95, "seed": 1}


def evict(folder: Path) -> None:
    """Take the files of ``folder`` out of the page cache; what waits to be written is written first."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def decode(session: Any, length: int, **sampling: float) -> float:
    """Tokens a second behind a prompt of ``length``."""
    ids, rates = prompt(length), []
    for _ in range(ROUNDS):
        session.reset()
        stream = session.generate(ids, max_new_tokens=TOKENS + 8, stop_token_ids=(), **sampling)
        for _ in range(8):
            next(stream)
        start = time.perf_counter()
        for _ in stream:
            pass
        rates.append(TOKENS / (time.perf_counter() - start))
    return statistics.median(rates)


def prefill(session: Any, length: int) -> float:
    """Tokens a second of a prompt of ``length``, the first new token included."""
    ids, times = prompt(length), []
    for _ in range(ROUNDS + 2):
        session.reset()
        start = time.perf_counter()
        next(session.generate(ids, max_new_tokens=1, stop_token_ids=()))
        times.append(time.perf_counter() - start)
    return length / statistics.median(times[2:])


def together(session: Any, rows: int, length: int) -> float:
    """Tokens a second of ``rows`` sequences, each behind a prompt of ``length``."""
    session.reset()
    batch = session.new_batch(rows)
    try:
        for row in range(rows):
            batch.join(prompt(length, row), max_new_tokens=TOKENS * 2, stop_token_ids=())
        for _ in range(8):
            batch.step()
        start = time.perf_counter()
        for _ in range(TOKENS):
            batch.step()
        return rows * TOKENS / (time.perf_counter() - start)
    finally:
        batch.close()


def prompt(length: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(1000, 200000, (1, length))


def bandwidth() -> float:
    """Bytes a second of reading memory: a product of a large matrix and a vector, as decoding does."""
    import torch

    matrix = torch.ones(1 << 18, 1 << 12, dtype=torch.bfloat16, device="cuda")
    vector = torch.ones(1 << 12, dtype=torch.bfloat16, device="cuda")
    times = []
    for _ in range(12):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        torch.mv(matrix, vector)
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) / 1e3)
    size = matrix.nbytes
    del matrix
    torch.cuda.empty_cache()
    return size / min(times)


def integers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--lengths", type=integers, default=[1000, 8000])
    parser.add_argument("--prompts", type=integers, default=[512, 4096])
    parser.add_argument("--batches", type=integers, default=[8, 32])
    parser.add_argument("--cold", action="store_true")
    given = parser.parse_args()

    started = STARTED
    if given.cold:
        evict(given.folder)
        started = time.perf_counter()

    import g4compile

    found: dict[str, Any] = {"bundle": given.folder.name, "page_cache": "cold" if given.cold else "warm"}
    session: Any = g4compile.load(given.folder)
    found["load_s"] = time.perf_counter() - started
    next(session.generate(prompt(64), max_new_tokens=1, stop_token_ids=()))
    found["first_token_s"] = time.perf_counter() - started
    tell(found)

    def measure(name: str, run: Callable[[], float]) -> None:
        try:
            found[name] = run()
        except Exception as error:  # the other measurements go on
            found[name] = f"failed: {error}"
        print(f"{name}: {found[name]}", flush=True)

    for length in given.lengths:
        measure(f"decode_tokens_per_second_at_{length}", lambda length=length: decode(session, length))
    for length in given.lengths[:1]:
        measure(f"draws_of_64_tokens_per_second_at_{length}", lambda length=length: decode(session, length, **DRAW))
    for length in given.prompts:
        measure(f"prefill_tokens_per_second_of_{length}", lambda length=length: prefill(session, length))
    for rows in given.batches:
        measure(f"batch_{rows}_tokens_per_second_at_1000", lambda rows=rows: together(session, rows, 1000))
    found["device_memory"] = str(session.device_memory)
    session.close()
    measure("read_bytes_per_second", bandwidth)
    tell(found)
    if given.out:
        given.out.write_text(json.dumps(found, indent=1) + "\n")


def tell(found: dict[str, Any]) -> None:
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
