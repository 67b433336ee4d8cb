"""The encoders of a size at their real geometry (random weights), beside those of transformers, in one run.

    python benchmarks/encoders.py WORK [--size e2b] [--weights int8] [--threads 2] [--rounds 5] [--tokens 280]
        [--seconds 10] [--json FILE]

WORK keeps the checkpoint and the bundle, so that a second run only measures. The decoder is a tiny one: what is timed
is an image, or a sound, from patches or frames to features. transformers runs the same weights in float32 and in
bfloat16, with its eager attention and with PyTorch's; the fastest of the four is what is compared with.
All are measured in turn, round by round, and medians are shown. Errors are those of features against float32 eager:
the largest, and the root of the mean square, both over the root of the mean square of the judge's.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from limits import built, limits, processor
from transformers import AutoModelForImageTextToText

import g4compile
from g4compile.bundle.folder import Bundle
from g4compile.compare.media_reference import audio_features, image_features
from g4compile.model import presets
from g4compile.runtime.audio import AudioEncoder
from g4compile.runtime.media.preprocessor import Preprocessor
from g4compile.runtime.vision import VisionEncoder
from g4compile.synth.checkpoint import synthesize

Array = np.ndarray[Any, Any]
Run = Callable[[], Array]
JUDGE = "transformers float32 eager"


def made(work: Path, size: str, weights: str, kernels: str) -> tuple[Path, Bundle]:
    """The checkpoint and the bundle in ``work``, made unless they are there."""
    checkpoint, bundle = work / f"{size}-encoders", work / f"{size}-encoders-{weights}-{kernels}"
    if not checkpoint.exists():
        real, config = presets.config(size), presets.config(f"tiny-{size}")
        config |= {name: real[name] for name in ("vision_config", "audio_config") if real.get(name)}
        work.mkdir(parents=True, exist_ok=True)
        (work / f"{size}.json").write_text(json.dumps(config))
        synthesize(work / f"{size}.json", checkpoint, dtype="bfloat16")
    if not bundle.exists():
        taken = None if weights == "float32" else kernels
        g4compile.compile(checkpoint, "onnx-cpu", bundle, weights=weights, kernels=taken)
    return checkpoint, Bundle.open(bundle)


def models(checkpoint: Path) -> dict[str, Any]:
    """transformers' model by dtype and attention of its vision tower; its audio tower has the eager one alone."""
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        for attention in ("eager", "sdpa"):
            with contextlib.redirect_stderr(io.StringIO()):
                model = AutoModelForImageTextToText.from_pretrained(
                    checkpoint, dtype=dtype, attn_implementation="eager"
                )
            tower = getattr(model.model, "vision_tower", None)
            if tower is not None:
                tower.config._attn_implementation = attention
            found[f"transformers {str(dtype).removeprefix('torch.')} {attention}"] = model.eval()
    return found


def measure(runs: dict[str, Run], rounds: int) -> dict[str, dict[str, float]]:
    """Median seconds, and how far features are from those of the judge."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    features: dict[str, Array] = {}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            features[name] = run()
            times[name].append(time.perf_counter() - start)
    judge = features[JUDGE]
    size = float(np.sqrt(np.mean(judge**2)))
    return {
        name: {
            "seconds": statistics.median(times[name]),
            "largest": float(np.abs(found - judge).max()) / size,
            "error": float(np.sqrt(np.mean((found - judge) ** 2))) / size,
        }
        for name, found in features.items()
    }


def show(title: str, found: dict[str, dict[str, float]]) -> None:
    """Print a table, and how many times as fast as the fastest of transformers g4compile is."""
    print(title)
    for name, row in found.items():
        print(f"  {name:30s} {row['seconds']:7.3f} s  error {row['error']:.1e}, largest {row['largest']:.1e}")
    best = min(row["seconds"] for name, row in found.items() if name.startswith("transformers"))
    print(f"  {best / found['g4compile']['seconds']:.2f} times as fast as the fastest of transformers")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=Path)
    parser.add_argument("--size", default="e2b")
    parser.add_argument("--weights", default="int8")
    parser.add_argument("--kernels", default="g4ops")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=280)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    checkpoint, bundle = made(given.work, given.size, given.weights, given.kernels)
    media, random, theirs = bundle.manifest.media, np.random.default_rng(0), models(checkpoint)
    assert media is not None
    reader, found = Preprocessor(media), {}
    limit = limits(built(given.work / "limits", "limits"), given.threads)
    print(f"{processor()}, {given.threads} threads: int8 limit {limit.int8 / 1e9:,.0f} G operations/s")
    report: dict[str, Any] = {"processor": processor(), "int8_operations": limit.int8}
    if media.image is not None:
        image = reader.image(_png(random), given.tokens)
        seeing = VisionEncoder(bundle, given.threads)
        runs: dict[str, Run] = {"g4compile": lambda: seeing.rows(image)}
        runs |= {name: (lambda model=model: image_features(model, [image])[0]) for name, model in theirs.items()}
        found["image"] = measure(runs, given.rounds)
        show(f"an image of {image.tokens} tokens", found["image"])
    if media.audio is not None:
        wave = (0.1 * random.standard_normal(round(given.seconds * media.audio.sampling_rate))).astype(np.float32)
        sound = reader.audio(wave, media.audio.sampling_rate)
        hearing = AudioEncoder(bundle, given.threads)
        runs = {"g4compile": lambda: hearing.rows(sound)}
        runs |= {name: (lambda model=model: audio_features(model, [sound])[0]) for name, model in theirs.items()}
        found["audio"] = measure(runs, given.rounds)
        show(f"{given.seconds:g} seconds of sound, {sound.tokens} tokens", found["audio"])
    if given.json:
        given.json.write_text(json.dumps({**report, "found": found}, indent=2))


def _png(random: np.random.Generator) -> bytes:
    """Noise of 960 x 672 pixels, which the default budget takes without resizing."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(random.integers(0, 256, (672, 960, 3), dtype=np.uint8)).save(out, "PNG")
    return out.getvalue()


if __name__ == "__main__":
    main()
