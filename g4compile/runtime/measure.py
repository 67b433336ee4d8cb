"""Timing a bundle: load, prefill, decode, and what memory it stands in. Medians of repeated runs."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import msgspec
import numpy as np

from g4compile.bundle.folder import Bundle
from g4compile.errors import InputError
from g4compile.runtime.conversation import Conversation
from g4compile.runtime.device import DeviceMemory
from g4compile.runtime.measure_encoders import EncoderTiming, measure_encoders
from g4compile.runtime.session import load

_THREADS = 2


class Timings(msgspec.Struct, frozen=True):
    """Rates are of one sequence, greedy. Memory is the process's after these runs; anonymous bytes exclude mapped
    files. ``threads``: None on a GPU. ``encoders``: by modality, of an ONNX bundle. ``device``: of a GPU's memory."""

    threads: int | None
    repeats: int
    prompt_tokens: int
    new_tokens: int
    load_s: float
    time_to_first_token_s: float
    prefill_tokens_per_second: float
    decode_tokens_per_second: float
    resident_bytes: int
    anonymous_bytes: int
    kv_bytes: int
    encoders: dict[str, EncoderTiming] = {}
    device: DeviceMemory | None = None


def measure(
    bundle: str | Path,
    *,
    prompt_tokens: int = 128,
    new_tokens: int = 32,
    threads: int | None = None,
    repeats: int = 5,
    seed: int = 0,
    cache: str | Path | None = None,
    checkpoint: str | Path | None = None,
) -> Timings:
    """Load ``bundle`` and time ``repeats`` runs of a random prompt, after one to warm up.

    ``threads``: 2 when not given; a GPU takes none. With a ``cache`` the load that is timed is one that finds it
    filled. Raises the errors of loading, and InputError for more tokens than the bundle's context.
    """
    manifest = Bundle.open(bundle).manifest
    on_gpu = manifest.engine is not None or manifest.cuda is not None
    threads = _THREADS if threads is None and not on_gpu else threads
    if cache is not None:
        load(bundle, threads=threads or 0, cache=cache, checkpoint=checkpoint).close()
    start = time.perf_counter()
    with load(bundle, threads=threads or 0, cache=cache, checkpoint=checkpoint) as session:
        load_s = time.perf_counter() - start
        return _measured(session, load_s, threads, (prompt_tokens, new_tokens, repeats), seed)


def _measured(
    session: Conversation, load_s: float, threads: int | None, counts: tuple[int, int, int], seed: int
) -> Timings:
    """``counts``: tokens of the prompt, new tokens, repeats."""
    prompt_tokens, new_tokens, repeats = counts
    most = session.bundle.manifest.context
    if min(prompt_tokens, new_tokens, repeats) < 1 or prompt_tokens + new_tokens > most:
        raise InputError(
            f"a prompt of {prompt_tokens} tokens and {new_tokens} new ones do not go into the bundle's {most}",
            fix=f"at least 1 of each, and at most {most} in all",
        )
    prompt = np.random.default_rng(seed).integers(0, session.bundle.manifest.vocab_size, (1, prompt_tokens))
    prefills, decodes = [], []
    for _ in range(repeats + 1):
        session.reset()
        start = time.perf_counter()
        made = session.generate(prompt, max_new_tokens=new_tokens + 1, stop_token_ids=())
        next(made)
        prefills.append(time.perf_counter() - start)
        start = time.perf_counter()
        for _ in made:
            pass
        decodes.append(time.perf_counter() - start)
    first, decode = statistics.median(prefills[1:]), statistics.median(decodes[1:])
    resident, anonymous = memory()
    return Timings(
        threads,
        repeats,
        prompt_tokens,
        new_tokens,
        load_s,
        first,
        prompt_tokens / first,
        new_tokens / decode,
        resident,
        anonymous,
        session.kv_bytes,
        measure_encoders(session.bundle, threads or 0, repeats, seed),
        session.device_memory,
    )


def memory() -> tuple[int, int]:
    """Resident and anonymous bytes of this process (Linux; zeros where the system does not say)."""
    try:
        lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0, 0
    values = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith("kB")}
    return values.get("Rss", 0), values.get("Anonymous", 0)
