"""onnxruntime-genai takes images and sounds into a package, and answers as our session does with the same inputs.

What its own processors make is compared with what ours make; the graphs are given the same by both.
"""

import numpy as np
import pytest

from g4compile.runtime.media.preprocessor import Preprocessor
from g4compile.runtime.media.records import AudioInputs, ImageInputs
from g4compile.runtime.prompt import Prompt
from tests.audio import wav
from tests.targets.onnx.genai.answers import assert_answers
from tests.vision import png

ALL = ("text", "image", "audio")
SEEING, HEARING = "tiny-31b", "tiny-e2b"
NEW = 40
CHAT = "<bos><|turn>user\n{}And now?<turn|>\n<|turn>model\n"
# Of a channel's 255, at most and on average: Pillow rounds and clips between its two passes and behind them, and the
# other resize does not. Measured: 6.9 and 0.31, on noise that is made larger; made smaller, 0.95 at most.
PIXELS, PIXELS_MEAN = 8 / 255, 0.5 / 255
LOG_MEL = 1e-5  # of numbers up to 7; measured: 5e-7


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two images and a sound of 1.3 seconds, by name: paths."""
    folder = tmp_path_factory.mktemp("media")
    made = {"wide.png": png(96, 72), "tall.png": png(60, 200), "sound.wav": wav(1.3)}
    for name, data in made.items():
        (folder / name).write_bytes(data)
    return {name: str(folder / name) for name in made}


def given(results, name):
    """The prompt that a processor made, for a session of ours."""
    ids = results[f"{name}.input_ids"][0].tolist()
    images, sounds = [], []
    if f"{name}.pixel_values" in results:
        of_images = (results[f"{name}.{key}"] for key in ("pixel_values", "pixel_position_ids", "num_image_tokens"))
        images = [ImageInputs(values, places, int(tokens)) for values, places, tokens in zip(*of_images, strict=True)]
    if f"{name}.audio_embeds" in results:
        (features,) = results[f"{name}.audio_embeds"]
        tokens = int(results[f"{name}.audio_sizes"][0])
        sounds = [AudioInputs(features, np.ones(len(features), bool), tokens)]
    return Prompt(ids, images=tuple(images), audios=tuple(sounds))


def check(bundle, results, name):
    assert_answers(bundle, [given(results, name)], results[f"{name}.tokens"][0], results[f"{name}.logits"][0])


def assert_same_pixels(bundle, file, values, places):
    """Within what the two ways to resize differ."""
    ours = Preprocessor(bundle.manifest.media).image(file)
    real, mine = places[:, 0] >= 0, ours.pixel_position_ids[:, 0] >= 0
    np.testing.assert_array_equal(places[real], ours.pixel_position_ids[mine])
    apart = np.abs(values[real] - ours.pixel_values[mine])
    assert 0 < apart.max() < PIXELS and apart.mean() < PIXELS_MEAN


def test_images_and_sounds(packages, hearing, driven, files):
    """An image, a sound, and both, by its own processors; and tensors of ours."""
    image = {"text": CHAT.format("<|image|>"), "images": [files["wide.png"]], "new": NEW}
    sound = {"text": CHAT.format("<|audio|>"), "sounds": [files["sound.wav"]], "new": NEW}
    both = {**image, **sound, "text": CHAT.format("<|image|><|audio|>")}
    package, bundle = packages(HEARING, ALL), hearing(HEARING)
    results = driven(package, image=image, sound=sound, both=both)
    for name in ("image", "sound", "both"):
        check(bundle, results, name)
    assert_same_pixels(
        bundle, files["wide.png"], results["image.pixel_values"][0], results["image.pixel_position_ids"][0]
    )
    ours = Preprocessor(bundle.manifest.media).audio(files["sound.wav"])
    theirs = results["sound.audio_embeds"][0]
    assert len(theirs) == ours.input_features_mask.sum() and results["sound.audio_sizes"] == [ours.tokens]
    assert np.abs(theirs - ours.input_features[: len(theirs)]).max() < LOG_MEL


def test_tensors_of_ours(packages, hearing, driven, files, tmp_path):
    """What our preprocessing makes of a sound and an image, without a processor of onnxruntime-genai."""
    package, bundle = packages(HEARING, ALL), hearing(HEARING)
    spec, maker = bundle.manifest.media, Preprocessor(bundle.manifest.media)
    image, sound = maker.image(files["tall.png"], budget=70), maker.audio(files["sound.wav"])
    ids = [2, *[spec.tokens.image.id] * image.tokens, 300, *[spec.tokens.audio.id] * sound.tokens, 300, 600]
    tensors = {
        "input_ids": np.array([ids], np.int32),
        "pixel_values": image.pixel_values[None],
        "pixel_position_ids": image.pixel_position_ids[None],
        "num_image_tokens": np.array([image.tokens]),
        "input_features": sound.input_features[None, sound.input_features_mask],
        "audio_sizes": np.array([sound.tokens]),
    }
    np.savez(tmp_path / "tensors.npz", **tensors)
    results = driven(package, one={"tensors": str(tmp_path / "tensors.npz"), "new": NEW})
    prompt = Prompt(ids, images=(image,), audios=(sound,))
    assert_answers(bundle, [prompt], results["one.tokens"][0], results["one.logits"][0])


@pytest.mark.parametrize(
    "variant",
    [SEEING, *(pytest.param(one, marks=pytest.mark.nightly) for one in ("tiny-12b", "tiny-26b-a4b", "tiny-e4b"))],
)
def test_two_images_whose_tokens_see_each_other(variant, packages, seeing, driven, files):
    """In sliding layers of 26B and 31B, and in all of 12B, whose window is far smaller than an image; and more behind
    the answer."""
    text = CHAT.format("<|image|>and <|image|>")
    job = {"text": text, "images": [files["wide.png"], files["tall.png"]], "new": NEW}
    package, bundle = packages(variant, ("text", "image")), seeing(variant)
    then = [106, 107, 105, 300]
    results = driven(package, two=job, more={**job, "new": 5, "then": then}, text={"prompt": [2, 300, 301], "new": 5})
    check(bundle, results, "two")
    prompts = [given(results, "more"), then]
    assert_answers(bundle, prompts, results["more.tokens"][0], results["more.logits"][0])
    assert_answers(bundle, [[2, 300, 301]], results["text.tokens"][0], results["text.logits"][0])


@pytest.mark.nightly
@pytest.mark.parametrize("variant", ["tiny-12b", "tiny-e4b"])
def test_sounds_of_the_others(variant, packages, hearing, driven, files):
    job = {"text": CHAT.format("<|audio|>"), "sounds": [files["sound.wav"]], "new": NEW}
    results = driven(packages(variant, ALL), one=job)
    check(hearing(variant), results, "one")


def test_what_it_refuses(packages, hearing, driven, files, tmp_path):
    """Two sounds in a prompt; more rows of features than places."""
    media = hearing(HEARING).manifest.media
    image = Preprocessor(media).image(files["tall.png"], budget=70)
    np.savez(
        tmp_path / "tensors.npz",
        input_ids=np.array([[2, *[media.tokens.image.id] * (image.tokens - 1), 300]], np.int32),
        pixel_values=image.pixel_values[None],
        pixel_position_ids=image.pixel_position_ids[None],
        num_image_tokens=np.array([image.tokens]),
    )
    results = driven(
        packages(HEARING, ALL),
        sounds={"text": CHAT.format("<|audio|><|audio|>"), "sounds": [files["sound.wav"]] * 2, "new": 1, "refused": 1},
        rows={"tensors": str(tmp_path / "tensors.npz"), "new": 1, "refused": 1},
    )
    assert "only 1 audio clip per prompt" in str(results["sounds.error"])
    assert "ScatterND" in str(results["rows.error"])
