"""Text and videos through whole bundles against Hugging Face eager float32."""

import re
from dataclasses import replace

import numpy as np
import pytest

from g4compile.errors import InputError
from g4compile.runtime import feeds
from g4compile.runtime.media.videos import frame_inputs
from g4compile.runtime.prompt import Prompt
from g4compile.runtime.session import Session
from g4compile.runtime.text import TextCodec
from tests.audio import sound_of
from tests.conftest import VARIANTS
from tests.prompts import expected, mixed
from tests.runtime.media.clips import clip
from tests.scenario import assert_equal
from tests.vision import images_of, picture

STEPS = 20


def frames_of(count, width=40, height=24):
    return [picture(width, height, seed) for seed in range(count)]


@pytest.mark.parametrize("variant", VARIANTS)
def test_text_a_video_and_an_image_equal_hf(variant, checkpoints, seeing):
    """A frame is a block of tokens that see each other, where those of an image are."""
    bundle = seeing(variant)
    media = bundle.manifest.media
    video = frame_inputs(frames_of(5), media.video, frames=3, rate=1.0)
    (image,) = images_of(media.image, [(20, 40)], budget=70)
    prompt = mixed(bundle, 4, video, 3, image, 5)
    prefill, tokens, decode = expected(checkpoints(variant), prompt, STEPS)
    for chunk in (256, 7, 1):
        session = Session(bundle, threads=1, chunk=chunk)
        assert_equal(prefill, session.forward(prompt, all_positions=True), f"prefill in chunks of {chunk}")
        for step, (token, want) in enumerate(zip(tokens, decode, strict=True)):
            assert_equal(want, session.forward(token, all_positions=True), f"step {step}")
    session.reset()
    blind = session.forward(prompt.input_ids, all_positions=True)
    assert np.abs(blind - prefill).max() > 0.01


@pytest.mark.parametrize("variant", ["tiny-12b", "tiny-31b"])
def test_tokens_of_a_frame_see_each_other(variant, checkpoints, seeing, monkeypatch):
    bundle = seeing(variant)
    prompt = mixed(bundle, 4, frame_inputs(frames_of(2), bundle.manifest.media.video, rate=1.0), 3)
    prefill, _, _ = expected(checkpoints(variant), prompt, 0)
    causal = feeds.blocks
    monkeypatch.setattr(feeds, "blocks", lambda places, *sizes: causal(places[:0], *sizes))
    found = Session(bundle, threads=1).forward(prompt, all_positions=True)
    assert np.abs(found - prefill).max() > 0.01


def test_two_videos_and_a_sound_equal_hf(checkpoints, hearing):
    bundle = hearing("tiny-12b")
    media = bundle.manifest.media
    first, second = (frame_inputs(frames_of(count), media.video, rate=1.0) for count in (2, 1))
    (image,) = images_of(media.image, [(20, 40)], budget=70)
    prompt = mixed(bundle, 4, first, image, 3, sound_of(media.audio, 0.3), second, 5)
    prefill, _, _ = expected(checkpoints("tiny-12b"), prompt, 0)
    assert_equal(prefill, Session(bundle, threads=1, chunk=7).forward(prompt, all_positions=True), "prefill")


def user(*items):
    return [{"role": "user", "content": list(items)}]


def test_messages_with_videos_become_a_prompt(seeing, tmp_path):
    bundle, file = seeing("tiny-31b"), tmp_path / "a.mp4"
    file.write_bytes(clip(40))
    codec, text = TextCodec(bundle), {"type": "text", "text": "What happens?"}
    read = Prompt.from_messages(user({"type": "video", "video": file, "frames": 2}, text), bundle, codec)
    given = {"type": "video", "video": frames_of(100), "frames": 3, "rate": 0.5, "budget": 140}
    made = Prompt.from_messages(user(given, text), bundle, codec)
    assert [len(prompt.videos[0].seconds) for prompt in (read, made)] == [2, 3]
    assert made.videos[0].seconds == (0.0, 66.0, 132.0)
    for prompt in (read, made):
        (video,) = prompt.videos
        assert video.tokens <= (70 if prompt is read else 140)
        places = np.asarray(prompt.input_ids) == bundle.manifest.media.tokens.video.id
        assert np.count_nonzero(places) == video.tokens * len(video.seconds)
        assert np.isfinite(Session(bundle, threads=1).forward(prompt)).all()
    shown = codec.decode(made.input_ids.tolist())
    assert re.findall(r"\d\d:\d\d", shown) == ["00:00", "01:06", "02:12"]


@pytest.mark.parametrize(
    ("item", "match"),
    [
        ({}, "an item of the type video names none"),
        ({"video": []}, "a video has 1 to 36,000 frames, got 0"),
        ({"video": [np.zeros((4, 4), np.uint8)]}, "pixels must be an array of uint8"),
        ({"video": [picture(40, 20), picture(20, 40)]}, "frames of several sizes"),
        ({"video": frames_of(1), "rate": 0}, "rate"),
        ({"video": frames_of(1), "frames": 257}, "frames"),
        ({"video": b"no video", "rate": 1.0}, "states its own rate"),
        ({"video": b"no video"}, "cannot be decoded"),
    ],
)
def test_videos_that_are_refused(item, match, seeing):
    bundle = seeing("tiny-e2b")
    with pytest.raises(InputError, match=match):
        Prompt.from_messages(user({"type": "video", **item}), bundle, TextCodec(bundle))


def test_videos_that_do_not_fit_the_prompt(seeing, bundles):
    bundle = seeing("tiny-e2b")
    prompt = mixed(bundle, 4, frame_inputs(frames_of(2), bundle.manifest.media.video), 3)
    with pytest.raises(InputError, match=r"times <\|video\|>, and its videos have"):
        Session(bundle, threads=1).forward(replace(prompt, videos=prompt.videos * 2))
    with pytest.raises(InputError, match="this bundle takes no video"):
        Session(bundles("tiny-e2b"), threads=1).forward(prompt)
