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
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForImageTextToText

import g4compile
from g4compile.bundle.folder import Bundle
from g4compile.model import presets
from g4compile.runtime.media.patches import image_inputs
from g4compile.runtime.vision import VisionEncoder
from g4compile.synth.checkpoint import synthesize

Run = Callable[[], np.ndarray[Any, Any]]


def made(work: Path, size: str, weights: str) -> tuple[Path, Path]:
    """The checkpoint and the bundle in ``work``, made unless they are there."""
    checkpoint, bundle = work / f"{size}-encoders", work / f"{size}-encoders-{weights}"
    if not checkpoint.exists():
        config = presets.config(f"tiny-{size}")
        real = presets.config(size)
        config |= {name: real[name] for name in ("vision_config", "audio_config") if real.get(name)}
        source = work / f"{size}.json"
        work.mkdir(parents=True, exist_ok=True)
        source.write_text(json.dumps(config))
        synthesize(source, checkpoint, dtype="bfloat16")
    if not bundle.exists():
        modalities = Bundle_modalities(checkpoint)
        g4compile.compile(checkpoint, "onnx-cpu", bundle, weights=weights, modalities=modalities)
    return checkpoint, bundle


def Bundle_modalities(checkpoint: Path) -> tuple[str, ...]:
    return ("text", "image")


def transformers_runs(checkpoint: Path, of: Callable[[Any, torch.dtype], torch.Tensor]) -> dict[str, Run]:
    found: dict[str, Run] = {}
    for dtype in (torch.float32, torch.bfloat16):
        for attention in ("eager", "sdpa"):
            model = AutoModelForImageTextToText.from_pretrained(checkpoint, dtype=dtype, attn_implementation="eager")
            model.model.vision_tower.config._attn_implementation = attention  # its audio tower has the eager one alone
            model = model.eval()

            def run(model: Any = model, dtype: torch.dtype = dtype) -> np.ndarray[Any, Any]:
                with torch.no_grad():
                    return of(model, dtype).float().numpy()

            found[f"transformers {str(dtype).removeprefix('torch.')} {attention}"] = run
    return found


def measure(runs: dict[str, Run], rounds: int) -> dict[str, Any]:
    judge = runs["transformers float32 eager"]()
    scale = float(np.sqrt(np.mean(judge**2)))
    times: dict[str, list[float]] = {name: [] for name in runs}
    errors = {}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            features = run()
            times[name].append(time.perf_counter() - start)
            difference = features.reshape(judge.shape) - judge
            errors[name] = float(np.abs(difference).max()) / scale, float(np.sqrt(np.mean(difference**2))) / scale
    return {name: {"seconds": statistics.median(times[name]), "error": errors[name]} for name in runs}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=Path)
    parser.add_argument("--size", default="e2b")
    parser.add_argument("--weights", default="int8")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=280)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    checkpoint, folder = made(given.work, given.size, given.weights)
    bundle = Bundle.open(folder)
    encoder = VisionEncoder(bundle, given.threads)
    spec = bundle.manifest.media.image
    picture = np.random.default_rng(0).integers(0, 256, (672, 960, 3), dtype=np.uint8)
    image = image_inputs(picture, spec, given.tokens)
    values, places = (torch.from_numpy(one[None]) for one in (image.pixel_values, image.pixel_position_ids))

    def hf(model: Any, dtype: torch.dtype) -> torch.Tensor:
        return model.model.get_image_features(values.to(dtype), places, return_dict=True).pooler_output[0]

    runs = {"g4compile": lambda: encoder._one(image), **transformers_runs(checkpoint, hf)}
    for name, row in measure(runs, given.rounds).items():
        print(f"{name:32s} {row['seconds']:.3f} s  error {row['error'][0]:.2e} {row['error'][1]:.2e}")


if __name__ == "__main__":
    main()
