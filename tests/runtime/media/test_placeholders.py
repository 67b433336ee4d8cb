"""Prompts with media against transformers' processors: text, ids and kinds of tokens."""

import functools
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer
from transformers.models.gemma4.processing_gemma4 import Gemma4Processor
from transformers.video_utils import VideoMetadata

from g4compile.bundle.media import MediaTokens, TokenSpec
from g4compile.errors import BundleError, InputError
from g4compile.runtime.media.placeholders import AUDIO, IMAGE, VIDEO, Media, Span, place, write_out
from g4compile.runtime.media.records import AudioInputs, ImageInputs, VideoInputs

TOKENS = MediaTokens(
    TokenSpec("<|image|>", 1002), TokenSpec("<|video|>", 1007), TokenSpec("<|audio|>", 1005),
    "<|image>", "<image|>", "<|audio>", "<audio|>",
)  # fmt: skip
NONE = np.zeros(0)


def image(tokens):
    return ImageInputs(NONE, NONE, tokens)


def audio(tokens):
    return AudioInputs(NONE, NONE, tokens)


def video(tokens, numbers, rate=25.0):
    return VideoInputs(NONE, NONE, tokens, tuple(number / rate for number in numbers))


@functools.cache
def theirs():
    """transformers' processor, without the parts that read files."""
    made = object.__new__(Gemma4Processor)
    made.image_token, made.boi_token, made.eoi_token = "<|image|>", "<|image>", "<image|>"
    made.audio_token, made.boa_token, made.eoa_token = "<|audio|>", "<|audio>", "<audio|>"
    made.video_token = "<|video|>"
    made.image_token_id, made.video_token_id, made.audio_token_id = 1002, 1007, 1005
    return made


def their_text(text, media):
    """What `get_text_with_replacements` makes of it."""
    made = theirs()
    images = {"num_soft_tokens_per_image": [one.tokens for one in media.images]}
    videos = {
        "num_soft_tokens_per_video": [one.tokens for one in media.videos],
        "video_metadata": [
            VideoMetadata(9999, fps=1.0, frames_indices=list(one.seconds)) for one in media.videos
        ],
    }  # fmt: skip
    # Every fourth frame is a token, as the tower counts them.
    audios = {"input_features_mask": [np.ones(4 * one.tokens - 3, bool) for one in media.audios]}
    replaced = (
        [made.replace_image_token(images, at) for at in range(len(media.images))],
        [made.replace_video_token(videos, at) for at in range(len(media.videos))],
        [made.replace_audio_token(audios, at) for at in range(len(media.audios))],
    )
    return made.get_text_with_replacements([text], *replaced)[0][0]


@pytest.fixture(scope="module")
def tokenizer(checkpoints):
    return AutoTokenizer.from_pretrained(checkpoints("tiny-e2b").folder)


PIECES = st.lists(
    st.one_of(
        st.text(max_size=8).filter(lambda text: "<|" not in text),
        st.builds(image, st.integers(1, 30)),
        st.builds(audio, st.integers(1, 30)),
        st.builds(video, st.integers(1, 9), st.lists(st.integers(0, 200_000), min_size=1, max_size=4)),
    ),
    max_size=9,
)


@settings(max_examples=80, deadline=None)
@given(pieces=PIECES)
def test_prompts_are_those_of_transformers(pieces, tokenizer):
    kinds = {ImageInputs: [], VideoInputs: [], AudioInputs: []}
    written = {ImageInputs: "<|image|>", VideoInputs: "<|video|>", AudioInputs: "<|audio|>"}
    text = ""
    for piece in pieces:
        text += written.get(type(piece), piece)
        kinds.get(type(piece), []).append(piece)
    media = Media(*kinds.values())
    whole = write_out(text, media, TOKENS)
    assert whole == their_text(text, media)
    ids = tokenizer(whole, add_special_tokens=False)["input_ids"]
    placed = place(ids, media, TOKENS)
    assert placed.input_ids.dtype == placed.mm_token_type_ids.dtype == np.int64
    assert placed.input_ids.tolist() == ids
    assert placed.mm_token_type_ids.tolist() == theirs().create_mm_token_type_ids([ids])[0]
    check_spans(placed, media)


def check_spans(placed, media):
    """Each output of an encoder has a run of tokens of its kind, in order, and no token is left."""
    left = placed.mm_token_type_ids.copy()
    for kind in (IMAGE, VIDEO, AUDIO):
        spans = [span for span in placed.spans if span.kind == kind]
        assert [span.number for span in spans] == list(range(len(media.runs(kind))))
        assert [span.stop - span.start for span in spans] == media.runs(kind)
        assert spans == sorted(spans, key=lambda span: span.start)
        for span in spans:
            assert (left[span.start : span.stop] == kind).all()
            left[span.start : span.stop] = 0
    assert not left.any() and list(placed.spans) == sorted(placed.spans, key=lambda span: span.start)


def test_an_example():
    media = Media([image(2), image(1)], [video(2, [0, 1600])], [audio(3)])
    whole = write_out("<|image|>a<|audio|>\n<|video|><|image|>", media, TOKENS)
    frame = "<|image><|video|><|video|><image|>"
    assert whole == (
        "<|image><|image|><|image|><image|>a<|audio><|audio|><|audio|><|audio|><audio|>\n"
        f"00:00 {frame} 01:04 {frame}<|image><|image|><image|>"
    )
    ids = [
        1001,
        1002,
        1002,
        1003,
        9,
        1004,
        1005,
        1005,
        1005,
        1006,
        8,
        1001,
        1007,
        1007,
        1003,
        7,
        1001,
        1007,
        1007,
        1003,
    ]
    placed = place([*ids, 1001, 1002, 1003], media, TOKENS)
    assert placed.spans == (
        *(Span(IMAGE, 0, 1, 3), Span(AUDIO, 0, 6, 9), Span(VIDEO, 0, 12, 14)),
        *(Span(VIDEO, 1, 17, 19), Span(IMAGE, 1, 21, 22)),
    )


@pytest.mark.parametrize(
    ("number", "text"), [(0, "00:00"), (24, "00:00"), (25, "00:01"), (25 * 61, "01:01"), (25 * 6125, "102:05")]
)
def test_times(number, text):
    assert write_out("<|video|>", Media(videos=[video(1, [number])]), TOKENS).startswith(f"{text} <|image>")


def test_text_alone():
    assert write_out("just text", Media(), TOKENS) == "just text"
    placed = place([2, 5], Media(), TOKENS)
    assert placed.spans == () and placed.mm_token_type_ids.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("text", "media", "message"),
    [
        (
            "a",
            Media([image(1)]),
            r"(?s)stands 0 times in the prompt, and the number of images is 1.*image 1 of 1 has no p",
        ),
        ("<|image|>", Media(), r"(?s)<\|image\|> stands 1 times.*place 1 of 1 has no image"),
        ("<|image|>", Media([image(1)] * 3), r"(?s)number of images is 3.*images? 2 to 3 of 3 has no place"),
        ("<|image|>" * 4, Media([image(1)]), r"(?s)stands 4 times.*place 2 to 4 of 4 has no image"),
        ("<|image|>", Media(audios=[audio(1)]), "place 1 of 1 has no image"),
        (
            "<|image|>",
            Media([image(1)], audios=[audio(1)]),
            r"(?s)<\|audio\|> stands 0 times.*sound 1 of 1 has no place",
        ),
        ("<|audio|>", Media(), "has no sound"),
        ("<|video|><|video|>", Media(videos=[video(1, [0])]), "place 2 of 2 has no video"),
        (
            "",
            Media(videos=[video(1, [0])]),
            r"(?s)number of videos is 1.*video 1 of 1.*write <\|video\|> where each video",
        ),
    ],
    ids=range(9),
)
def test_more_of_one_than_of_the_other(text, media, message):
    with pytest.raises(InputError, match=message) as found:
        write_out(text, media, TOKENS)
    assert found.value.code == 2


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([5, 6, 7], "hold .*image.* as it was written out"),
        (
            [1002, 1002],
            r"(?s)as it was written out.*token 1002 stands there 2 times in 1 runs, and was written 3 times in 2 runs",
        ),
        ([1002, 1002, 1002], "3 times in 1 runs, and was written 3 times in 2 runs"),
        ([1002, 5, 1002, 1002], "as it was written out"),
        ([1002, 1002, 5, 1002, 9, 1002], "as it was written out"),
        ([1002, 1002, 5, 1002, 1005], "token 1005 stands there 1 times in 1 runs, and was written 0 times"),
    ],
    ids=range(6),
)
def test_ids_of_another_tokenizer(ids, message):
    with pytest.raises(BundleError, match=message):
        place(ids, Media([image(2), image(1)]), TOKENS)


def test_a_namespace_is_no_medium():
    """Records say their tokens; that is all that is asked of them."""
    assert write_out("<|image|>", Media([SimpleNamespace(tokens=1)]), TOKENS) == "<|image><|image|><image|>"
