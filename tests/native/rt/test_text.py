"""Text of libg4rt: ids, words and streams of Python's codec; media in prompts; what a bundle lacks."""

from ctypes import byref, c_size_t

import numpy as np
import pytest

from g4compile.bundle.media import MelSpec
from g4compile.errors import BundleError
from g4compile.runtime.session import Session
from g4compile.runtime.text import TextCodec
from g4compile.text_tables.conversations import conversations
from tests.manifests import linked, rewrite
from tests.native.rt.g4rt import Refused
from tests.native.rt.prompts import BUDGET, prompt_of

TEXTS = (
    "Hello, world!",
    "",
    " ",
    "<bos>twice",
    "<|turn>user\nHi<turn|>\n<|turn>model\n",
    "Grüße, 世界 🎉👩‍👩‍👧",
    "a\u0000b\u0001\ttab\r\n",
    "   many   spaces\n\n\n12345",
    "<0x41><|image|>",
)


@pytest.fixture
def text_bundle(bundles):
    return bundles("tiny-e2b")


@pytest.fixture
def codec(text_bundle):
    codec = TextCodec(text_bundle)
    yield codec
    codec.close()


def test_ids_and_text_are_those_of_python(text_bundle, codec, rt):
    with rt.open(text_bundle.folder) as model:
        assert model.facts.text
        for text in TEXTS:
            ids = codec.encode(text)
            assert model.encode(text) == ids, text
            assert model.decode(ids) == codec.decode(ids), text
        ids = np.random.default_rng(4).integers(0, model.facts.vocab_size, 3000).tolist()
        assert model.decode(ids) == codec.decode(ids)
        with model.stream() as stream:
            pieces = [stream.push(token) for token in ids]
            pieces.append(stream.end())
        assert "".join(pieces) == codec.decode(ids)
        assert [piece for piece in pieces if piece] == list(codec.stream(ids))


def test_a_chat_is_that_of_the_template(text_bundle, codec, rt):
    """All conversations with which a compile compares the table; what the template refuses is refused."""
    rendered = 0
    with rt.open(text_bundle.folder) as model:
        assert model.facts.chat
        for chat in conversations():
            if set(chat) <= {"messages", "tools"}:
                try:
                    want = codec.render_chat(chat["messages"], chat.get("tools"))
                except BundleError:
                    with pytest.raises(Refused):
                        model.render_chat(chat)
                    continue
                assert model.render_chat(chat) == want
                rendered += 1
        assert rendered > 20
        for wrong in (b"{", b"[]", b'{"messages": 5}', b'{"messages": [{"role": "user", "content": [{"type": "x"}]}]}'):
            with pytest.raises(Refused) as refused:
                model.render_chat(wrong)
            assert refused.value.status == "bad-argument"


def test_an_answer_comes_with_its_text(text_bundle, codec, rt):
    """Random weights give bytes that make no UTF-8 too: the end of the answer tells what was held back."""
    with rt.open(text_bundle.folder) as model, model.session() as session:
        for seed in range(5):
            session.reset()
            tokens = session.generate(model.encode("Tell me"), 60, temperature=2.0, seed=seed)
            assert b"".join(session.pieces).decode() == codec.decode(tokens)


def test_a_piece_for_which_there_is_no_room_is_not_lost(text_bundle, rt):
    with rt.open(text_bundle.folder) as model, model.stream() as stream:
        (token, *_) = [id for id in model.encode("x") if model.decode([id])]
        with pytest.raises(Refused, match="text is NULL"):
            stream.call("g4rt_stream_push", token, None, byref(c_size_t()))
        assert stream.push(token) + stream.end() == model.decode([token])


@pytest.mark.parametrize("data", [b"\xff", b"abc\xed\xa0\x80", b"\xc3", b"\xf5\x80\x80\x80"])
def test_what_is_no_text_is_refused(text_bundle, rt, data):
    with rt.open(text_bundle.folder) as model:
        with pytest.raises(Refused, match="UTF-8") as refused:
            model.encode(data)
        assert refused.value.status == "bad-argument"


def test_a_bundle_without_a_table_takes_ids_and_says_why(text_bundle, rt, tmp_path):
    folder = linked(text_bundle.folder, tmp_path / "bundle")
    tables = {"tokenizer": None, "chat": None, "refused": {"tokenizer": "its regex has a lookahead"}}
    rewrite(folder, lambda manifest: manifest.update(text_tables=tables))
    with rt.open(folder) as model, model.session() as session:
        assert not model.facts.text
        for call in (lambda: model.encode("a"), lambda: model.decode([5]), model.stream):
            with pytest.raises(Refused, match="its regex has a lookahead") as refused:
                call()
            assert refused.value.status == "unsupported"
        assert session.generate([2, 5], 5) and session.pieces == [b""] * 5


def test_a_changed_table_is_refused(text_bundle, rt, tmp_path):
    folder = linked(text_bundle.folder, tmp_path / "bundle")
    data = bytearray((folder / "tokenizer.g4").read_bytes())
    data[len(data) // 2] ^= 4
    (folder / "tokenizer.g4").unlink()
    (folder / "tokenizer.g4").write_bytes(data)
    with pytest.raises(Refused, match=r"content of .*tokenizer.g4 is not what was compiled"):
        rt.open(folder)


WAVE = np.sin(np.arange(6_000, dtype=np.float32) / 7) * 0.3


@pytest.mark.parametrize("variant", ["tiny-e2b", "tiny-12b", "tiny-31b"])
def test_images_and_sounds_in_a_prompt(variant, hearing, seeing, rt):
    """Two images and, where the model hears, a sound: the ids, the tokens of the answer, logits."""
    hears = variant != "tiny-31b"
    bundle = hearing(variant) if hears else seeing(variant)
    random = np.random.default_rng(6)
    pictures = [random.integers(0, 256, size, np.uint8) for size in ((90, 120, 3), (64, 48, 3))]
    text = "See <|image|> and <|image|>" + (" hear <|audio|>" if hears else "") + " now."
    codec = TextCodec(bundle)
    try:
        prompt = prompt_of(bundle, codec, text, pictures, [WAVE] if hears else [])
    finally:
        codec.close()
    python = Session(bundle, threads=1)
    expected = list(python.generate(prompt, max_new_tokens=30))
    with rt.open(bundle.folder) as model, model.session() as session:
        assert (model.facts.image, model.facts.audio) == (1, int(hears))
        media = [model.image(picture, BUDGET) for picture in pictures] + ([model.sound(WAVE)] if hears else [])
        ids = model.encode(text, media)
        assert ids == list(prompt.input_ids)
        assert session.generate(ids, 30, media=media) == expected
        session.reset()
        python.reset()
        session.prefill(ids, media)
        # Log-mel frames differ in their last bits (test_media.py); pixels and frames of a wave do not.
        most = 2e-5 if isinstance(bundle.manifest.media.audio, MelSpec) else 0
        np.testing.assert_allclose(session.logits, python.forward(prompt)[0], rtol=0, atol=most)
        with pytest.raises(Refused) as refused:
            model.encode(text, media[1:])
        assert refused.value.status == "bad-argument"
        session.reset()
        with pytest.raises(Refused) as refused:
            session.prefill(ids, media[1:])
        assert (refused.value.status, session.length) == ("bad-argument", 0)
        with pytest.raises(Refused):  # images that were forgotten
            session.prefill(ids)
        for one in media:
            one.close()


def test_media_that_a_bundle_does_not_take(text_bundle, rt):
    with rt.open(text_bundle.folder) as model:
        for make in (lambda: model.image(np.zeros((48, 48, 3), np.uint8)), lambda: model.sound(WAVE)):
            with pytest.raises(Refused, match=r"this bundle takes no (image|audio)") as refused:
                make()
            assert refused.value.status == "unsupported"


def test_media_of_another_model_are_refused(seeing, rt):
    folder, black = seeing("tiny-31b").folder, np.zeros((48, 48, 3), np.uint8)
    with rt.open(folder) as one, one.image(black) as image, rt.open(folder) as other, other.session() as session:
        with pytest.raises(Refused, match="made for another model"):
            session.prefill([2, 5], [image])
        assert session.length == 0
