"""Text, images and sounds through whole bundles against Hugging Face eager float32."""

from dataclasses import replace

import numpy as np
import pytest

from g4compile.bundle.folder import Bundle
from g4compile.compiler import compile
from g4compile.errors import BundleError, InputError
from g4compile.runtime.audio import AudioEncoder
from g4compile.runtime.prompt import Prompt
from g4compile.runtime.session import Session
from g4compile.runtime.text import TextCodec
from tests.audio import RATE, sound_of, wav, wave
from tests.manifests import linked, rewrite
from tests.prompts import assert_bundle_equals_hf, expected, mixed
from tests.scenario import assert_equal
from tests.vision import images_of, png

HEARING = ("tiny-e2b", "tiny-e4b", "tiny-12b")
STEPS = 60


def prompt_of(bundle):
    """Two images and two sounds among text; an image and a sound stand beside each other."""
    media = bundle.manifest.media
    first, second = images_of(media.image, [(40, 20), (20, 50)], budget=70)
    long, short = sound_of(media.audio, 1.3), sound_of(media.audio, 0.06, seed=1)
    return mixed(bundle, 5, first, long, 9, second, 3, short, 4)


@pytest.mark.parametrize("variant", HEARING)
def test_text_images_and_sounds_equal_hf(variant, checkpoints, hearing):
    bundle = hearing(variant)
    assert_bundle_equals_hf(bundle, checkpoints(variant), prompt_of(bundle), STEPS)


@pytest.mark.parametrize("variant", HEARING)
def test_sounds_alone(variant, checkpoints, tmp_path):
    """A bundle without the vision encoder: in the decoder of 12B no token sees a later one."""
    bundle = compile(checkpoints(variant).folder, "onnx-cpu", tmp_path / "bundle", modalities=("text", "audio"))
    assert bundle.manifest.modalities == ("text", "audio") and "image-blocks" not in bundle.manifest.requires
    assert sorted(bundle.manifest.parts) == ["audio", "decoder", "embed"]
    prompt = mixed(bundle, 4, sound_of(bundle.manifest.media.audio, 0.8), 6)
    prefill, _, _ = expected(checkpoints(variant), prompt, 0)
    assert_equal(prefill, Session(bundle, threads=1, chunk=7).forward(prompt, all_positions=True), "prefill")
    with pytest.raises(InputError, match="this bundle takes no image"):
        Session(bundle, threads=1).forward(replace(prompt, images=(object(),)))


def test_sounds_behind_earlier_tokens(checkpoints, hearing):
    bundle = hearing("tiny-12b")
    prompt = prompt_of(bundle)
    prefill, _, _ = expected(checkpoints("tiny-12b"), prompt, 0)
    session = Session(bundle, threads=1)
    assert_equal(prefill[:, :3], session.forward(prompt.input_ids[:3], all_positions=True), "text")
    rest = replace(prompt, input_ids=prompt.input_ids[3:])
    assert_equal(prefill[:, 3:], session.forward(rest, all_positions=True), "the rest, with media")


def test_a_sound_is_the_same_whatever_stands_beside_it(hearing):
    bundle = hearing("tiny-e2b")
    encoder, spec = AudioEncoder(bundle, 1), bundle.manifest.media.audio
    sound = sound_of(spec, 0.7)
    first = encoder.rows(sound)
    encoder.rows(sound_of(spec, 2.0, seed=3))
    assert np.array_equal(first, encoder.rows(sound)) and first.shape[0] == sound.tokens


def test_sounds_that_do_not_fit_the_prompt(hearing, bundles):
    bundle = hearing("tiny-e2b")
    prompt, session = prompt_of(bundle), Session(bundle, threads=1)
    for audios in (prompt.audios[:1], (*prompt.audios, prompt.audios[0]), ()):
        with pytest.raises(InputError, match=r"times <\|audio\|>, and its sounds have"):
            session.forward(replace(prompt, audios=audios))
    assert session.length == 0
    with pytest.raises(InputError, match="this bundle takes no audio"):
        Session(bundles("tiny-e2b"), threads=1).forward(replace(prompt, images=()))


def user(*items):
    return [{"role": "user", "content": list(items)}]


def test_messages_with_sounds_become_a_prompt(hearing, tmp_path):
    bundle, file = hearing("tiny-e2b"), tmp_path / "a.wav"
    file.write_bytes(wav(0.5))
    codec = TextCodec(bundle)
    text = {"type": "text", "text": "Which is louder?"}
    sources = [
        {"type": "audio", "audio": str(file)},
        {"type": "audio", "audio": wav(0.5)},
        {"type": "audio", "audio": wave(0.5), "sampling_rate": RATE},
        {"type": "audio", "audio": wave(0.5).repeat(2), "sampling_rate": 2 * RATE},
    ]
    prompt = Prompt.from_messages(user(*sources, {"type": "image", "image": png(), "budget": 70}, text), bundle, codec)
    assert [sound.tokens for sound in prompt.audios] == [13] * 4 and len(prompt.images) == 1
    tokens = bundle.manifest.media.tokens
    assert np.count_nonzero(np.asarray(prompt.input_ids) == tokens.audio.id) == 4 * 13
    for sound in prompt.audios[:2]:
        np.testing.assert_allclose(sound.input_features, prompt.audios[2].input_features, atol=2e-2)
    assert np.isfinite(Session(bundle, threads=1).forward(prompt)).all()


@pytest.mark.parametrize(
    ("item", "match"),
    [
        ({}, "an item of the type audio names none"),
        ({"audio": wave(0.5)}, "does not say its rate"),
        ({"audio": wave(0.5), "sampling_rate": 10}, "sampling_rate"),
        ({"audio": wav(), "sampling_rate": RATE}, "states its own rate"),
        ({"audio": np.zeros(0, np.float32), "sampling_rate": RATE}, "the sound is empty"),
        ({"audio": b""}, "empty"),
        ({"audio": np.full(RATE, np.nan, np.float32), "sampling_rate": RATE}, "no numbers of a wave"),
        ({"audio": wave(31), "sampling_rate": RATE}, "longer than the 30 seconds"),
        ({"audio": wave(0.01), "sampling_rate": RATE}, "too short"),
        ({"audio": wav(31)}, "longer than the 30 seconds"),
        ({"audio": b"no sound"}, "cannot be decoded"),
    ],
)
def test_sounds_that_are_refused(item, match, hearing):
    bundle = hearing("tiny-e2b")
    with pytest.raises(InputError, match=match):
        Prompt.from_messages(user({"type": "audio", **item}), bundle, TextCodec(bundle))


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (lambda manifest: manifest.update(modalities=["text", "image"]), "do not agree on whether audio is taken"),
        (lambda manifest: manifest["media"].update(audio=None), "do not agree on whether audio is taken"),
        (lambda manifest: manifest["media"]["audio"].update(feature_size=64), "input_features, an input of audio"),
        (lambda manifest: manifest["media"]["tokens"]["audio"].update(id=10**6), "beyond the vocabulary"),
        (lambda manifest: manifest["media"]["tokens"]["video"].update(id=10**6), "beyond the vocabulary"),
        (lambda manifest: manifest["media"]["video"]["patches"].update(patch_size=8), "media.video does not become"),
    ],
)
def test_a_manifest_that_does_not_agree_with_itself(edit, match, hearing, tmp_path):
    folder = linked(hearing("tiny-e2b").folder, tmp_path / "bundle")
    rewrite(folder, edit)
    with pytest.raises(BundleError, match=match):
        Bundle.open(folder)
