"""Placeholders and the runs of a call as libg4rt has them, against the Python runtime."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from g4compile.bundle.media import MediaTokens, TokenSpec
from g4compile.errors import BundleError, InputError
from g4compile.runtime import feeds
from g4compile.runtime.media.placeholders import Media, place, write_out
from g4compile.runtime.media.records import AudioInputs, ImageInputs
from g4compile.runtime.placed import placed
from tests.native.rt.media_parts import BAD_ARGUMENT, BAD_BUNDLE, UNSUPPORTED, Refused

# Those of native/tests/rt_media_parts.cc.
TOKENS = MediaTokens(
    TokenSpec("<|image|>", 1002), TokenSpec("<|video|>", 1007), TokenSpec("<|audio|>", 1005),
    "<|image>", "<image|>", "<|audio>", "<audio|>",
)  # fmt: skip
PLACEHOLDERS = ("<|image|>", "<|audio|>")
IDS = [1002, 1005, 1, 2]
NONE = np.zeros(0)
MANY = settings(max_examples=150, deadline=None)
ITEMS = st.lists(st.tuples(st.integers(0, 1), st.integers(1, 12)), max_size=6)


def media_of(items):
    return Media(
        [ImageInputs(NONE, NONE, tokens) for kind, tokens in items if not kind],
        (),
        [AudioInputs(NONE, NONE, tokens) for kind, tokens in items if kind],
    )


def refusal(call, *errors):
    """What a call gives, or the kind of its refusal."""
    try:
        return call()
    except Refused as refused:
        return {BAD_ARGUMENT: InputError, BAD_BUNDLE: BundleError}[refused.status]
    except errors as error:
        return type(error)


@MANY
@example(items=[], words=["é <|image", "|", ">"], matched=True)
@given(
    items=ITEMS,
    words=st.lists(st.sampled_from([*PLACEHOLDERS, "<|", ">", "é <|image", "|", "x"]), max_size=9),
    matched=st.booleans(),
)
def test_texts_are_pythons(parts, items, words, matched):
    if matched:
        words = [word for word in words if word not in PLACEHOLDERS]
        for kind, _ in items:
            words.insert(len(words) // 2, PLACEHOLDERS[kind])
    text = "".join(words)
    counts = [text.count(one) for one in PLACEHOLDERS]  # words may make one together
    matched = counts == [sum(kind == one for kind, _ in items) for one in (0, 1)]
    wanted = refusal(lambda: write_out(text, media_of(items), TOKENS), InputError)
    assert refusal(lambda: parts.write_out(text, items)) == wanted
    assert not matched or isinstance(wanted, str)


@pytest.mark.parametrize(
    ("text", "items", "words"),
    [
        (
            "<|image|>",
            [(0, 2), (0, 2)],
            "<|image|> stands 1 times in the prompt, and the number of images is 2: image 2 of 2 has no place. Write",
        ),
        (
            "<|audio|> <|audio|><|audio|>",
            [(1, 2)],
            "the number of sounds is 1: place 2 to 3 of 3 has no sound. Write <|audio|> where each sound belongs",
        ),
        ("", [(0, 1), (0, 1), (1, 1)], "the number of images is 2: image 1 to 2 of 2 has no place"),
    ],
    ids=["fewer", "more", "none"],
)
def test_which_is_too_many(parts, text, items, words):
    with pytest.raises(Refused) as refused:
        parts.write_out(text, items)
    assert words in str(refused.value) and refused.value.status == BAD_ARGUMENT


def test_videos_are_not_read(parts):
    for call in (
        lambda: parts.write_out("a <|video|>", []),
        lambda: parts.write_out("<|image|> <|video|>", [(0, 3)]),
        lambda: parts.places([1, 1007], []),
        lambda: parts.check_written_out([1002, 1007], [(0, 1)]),
    ):
        with pytest.raises(Refused, match="reads no videos") as refused:
            call()
        assert refused.value.status == UNSUPPORTED


def written(items, gap):
    """Ids of a prompt with the items, each behind ``gap`` others."""
    return [one for kind, tokens in items for one in [*[7] * gap, *[IDS[kind]] * tokens]]


@MANY
@given(items=ITEMS, ids=st.one_of(st.lists(st.sampled_from(IDS), max_size=30), st.integers(0, 2)))
@example(items=[(0, 2), (0, 3), (1, 1)], ids=0)
def test_places_are_pythons(parts, items, ids):
    ids = written(items, ids) if isinstance(ids, int) else ids
    media, array = media_of(items), np.array(ids, np.int64)[None]
    order = sorted(range(len(items)), key=lambda at: items[at][0])  # rows of images, then of sounds
    numbers = {at: np.full((items[at][1], 1), at, np.float32) for at in order}
    left = iter(order)

    def python():
        found = placed(array, media, TOKENS, lambda _: numbers[next(left)], lambda _: numbers[next(left)])
        places = [found.places[found.rows[:, 0] == at].tolist() for at in range(len(items))]
        return [*places, found.seen.tolist()]

    wanted = refusal(python, InputError) if items else [[]] if not {1002, 1005} & set(ids) else InputError
    assert refusal(lambda: parts.places(ids, items)) == wanted
    python = refusal(lambda: place(ids, media, TOKENS) and None, BundleError)
    assert refusal(lambda: parts.check_written_out(ids, items)) == python


@MANY
@given(
    gaps=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9)), max_size=5),
    length=st.integers(0, 99),
    behind=st.integers(0, 9),
    chunk=st.integers(1, 12),
)
@example(gaps=[], length=0, behind=0, chunk=1)
@example(gaps=[(0, 9)], length=7, behind=0, chunk=4)
def test_runs_of_a_call_are_pythons(parts, gaps, length, behind, chunk):
    places, at = [], 0
    for gap, tokens in gaps:
        places += range(at + gap, at + gap + tokens)
        at += gap + tokens
    wanted = feeds.blocks(np.array(places, np.int64), length, 1, at + behind)
    found = parts.blocks(places, length, at + behind)
    np.testing.assert_array_equal(found, np.concatenate(wanted))
    assert parts.pieces(found[1] - length, chunk) == list(feeds.pieces(wanted[1][0] - length, chunk))
