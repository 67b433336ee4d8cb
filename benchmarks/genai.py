"""How far onnxruntime-genai's logits over a package are from a session's over a bundle, of all tiny variants.

    python benchmarks/genai.py WORK [--new 60]

Random weights. A prompt of 41 tokens (windows have 8) whole and in pieces of 5; one with an image and one with a sound
where the model takes them, made ready by onnxruntime-genai. Each is followed by greedy tokens, all computed from
caches. Printed: a row a variant, with the largest difference of a logit, and how many tokens were the same. Then how
far what its processors make of images (of 255) and sounds (log-mel) is from what ours make.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime_genai as og
import soundfile
from PIL import Image

import g4compile
from g4compile.runtime.media.preprocessor import Preprocessor
from g4compile.runtime.media.records import AudioInputs, ImageInputs
from g4compile.runtime.prompt import Prompt
from g4compile.runtime.session import Session
from g4compile.synth.checkpoint import synthesize

VARIANTS = ("tiny-e2b", "tiny-e4b", "tiny-12b", "tiny-26b-a4b", "tiny-31b")
CHAT = "<bos><|turn>user\n{}And now?<turn|>\n<|turn>model\n"
PIECES = 5


def built(variant: str, work: Path) -> tuple[Path, Path]:
    """The folders of a bundle and of a package of ``variant``."""
    checkpoint, bundle, package = (work / f"{variant}-{kind}" for kind in ("checkpoint", "bundle", "package"))
    if not checkpoint.exists():
        synthesize(variant, checkpoint, seed=7)
    if not bundle.exists():
        g4compile.compile(checkpoint, "onnx-cpu", bundle)
    if not package.exists():
        g4compile.compile(checkpoint, "onnx-cpu", package, package="genai")
    return bundle, package


def compared(generator: Any, session: Any, said: Any, new: int, stops: set[int]) -> tuple[float, int]:
    """The largest difference of a logit, and how many greedy tokens are the same, up to one that ends an answer."""
    worst = 0.0
    for count in range(new):
        logits = np.asarray(generator.get_logits()).reshape(1, -1)
        worst = max(worst, float(np.abs(logits - said).max()))
        generator.generate_next_token()
        token = int(generator.get_next_tokens()[0])
        if token != int(said.argmax()):
            return worst, count
        if token in stops:
            return worst, count + 1
        said = session.forward([token])
    return worst, new


def scenarios(model: Any, work: Path, modalities: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any], Any, Any]]:
    """Name, search options, what the generator is given, and what the session is."""
    ids = [2, *np.random.default_rng(3).integers(110, 990, 40).tolist()]
    rows = np.array([ids], np.int32)
    yield "whole", {"chunk_size": 0}, rows, ids
    yield "pieces", {"chunk_size": PIECES}, rows, ids
    if "image" in modalities:
        colours = np.random.default_rng(1).integers(0, 256, (8, 9, 3), dtype=np.uint8)
        Image.fromarray(colours).resize((96, 72), Image.Resampling.BICUBIC).save(work / "image.png")
        named = model.create_multimodal_processor()(
            CHAT.format("<|image|>"), images=og.Images.open(str(work / "image.png"))
        )
        values, places, tokens = (
            named[name].as_numpy() for name in ("pixel_values", "pixel_position_ids", "num_image_tokens")
        )
        image = ImageInputs(values[0].copy(), places[0].copy(), int(tokens[0]))
        yield "image", {}, named, Prompt(named["input_ids"].as_numpy()[0].tolist(), images=(image,))
    if "audio" in modalities:
        at = np.arange(20_800) / 16_000
        sound, out = (0.3 * np.sin(2 * np.pi * (200 + 300 * at) * at)).astype(np.float32), io.BytesIO()
        soundfile.write(out, sound, 16_000, format="WAV")
        (work / "sound.wav").write_bytes(out.getvalue())
        named = model.create_multimodal_processor()(
            CHAT.format("<|audio|>"), audios=og.Audios.open(str(work / "sound.wav"))
        )
        (features,) = named["audio_embeds"].as_numpy().copy()
        heard = AudioInputs(features, np.ones(len(features), bool), int(named["audio_sizes"].as_numpy()[0]))
        yield "sound", {}, named, Prompt(named["input_ids"].as_numpy()[0].tolist(), audios=(heard,))


def processors(package: Path, bundle: Path, work: Path) -> Iterator[str]:
    """What the two make of noise of some sizes, and of a tone at two rates."""
    make = og.Model(str(package)).create_multimodal_processor()
    ours = Preprocessor(g4compile.Bundle.open(bundle).manifest.media)
    for width, height in ((96, 72), (640, 480), (1600, 1200)):
        noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(noise).save(work / "noise.png")
        named, mine = make("<|image|>", images=og.Images.open(str(work / "noise.png"))), ours.image(work / "noise.png")
        values, places = (named[name].as_numpy()[0] for name in ("pixel_values", "pixel_position_ids"))
        real = mine.pixel_position_ids[:, 0] >= 0
        apart = 255 * np.abs(values[places[:, 0] >= 0] - mine.pixel_values[real])
        yield f"image of {width} x {height}: at most {apart.max():.2f}, on average {apart.mean():.2f}"
    for rate in (16_000, 48_000):
        tone = (0.4 * np.sin(2 * np.pi * 700 * np.arange(rate) / rate)).astype(np.float32)
        soundfile.write(work / "tone.wav", tone, rate, subtype="PCM_16")
        named, heard = make("<|audio|>", audios=og.Audios.open(str(work / "tone.wav"))), ours.audio(work / "tone.wav")
        (features,), real = named["audio_embeds"].as_numpy(), heard.input_features[heard.input_features_mask]
        both = min(len(features), len(real))
        yield f"sound of {rate} Hz: at most {np.abs(features[:both] - real[:both]).max():.1e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--new", type=int, default=60, help="tokens behind each prompt")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    og.disable_telemetry_events()
    print("| variant | prompt whole | in pieces | image | sound |\n|---|---|---|---|---|")
    for variant in VARIANTS:
        bundle, package = built(variant, arguments.work)
        session, model = Session(g4compile.Bundle.open(bundle), threads=1), og.Model(str(package))
        manifest, cells = session.bundle.manifest, dict.fromkeys(("whole", "pieces", "image", "sound"), "-")
        for name, search, given, prompt in scenarios(model, arguments.work, manifest.modalities):
            parameters = og.GeneratorParams(model)
            parameters.set_search_options(do_sample=False, max_length=manifest.context, **search)
            generator = og.Generator(model, parameters)
            generator.append_tokens(given) if isinstance(given, np.ndarray) else generator.set_inputs(given)
            session.reset()
            stops = set(manifest.stop_token_ids)
            worst, same = compared(generator, session, session.forward(prompt), arguments.new, stops)
            cells[name] = f"{worst:.1e}, {same}"
        print(f"| {variant} | {' | '.join(cells.values())} |", flush=True)
    bundle, package = built(VARIANTS[0], arguments.work)
    print("", *processors(package, bundle, arguments.work), sep="\n")


if __name__ == "__main__":
    main()
