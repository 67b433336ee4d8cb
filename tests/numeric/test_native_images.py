"""Text and images through bundles of codes for libg4ops, against Hugging Face holding what the codes stand for."""

from pathlib import Path

import numpy as np
import pytest

from g4compile.bundle.folder import Bundle
from g4compile.compare.dequantized import dequantized
from g4compile.compare.parity import Meter, limits_of
from g4compile.compare.reference import Reference
from g4compile.compiler import compile
from g4compile.runtime import feeds
from g4compile.runtime.prompt import Prompt
from g4compile.runtime.session import CHUNK, Session
from tests.conftest import exact_recipe, once
from tests.numeric.test_images import STEPS, prompt_of
from tests.prompts import answered
from tests.vision import images_of

KINDS = [("tiny-12b", "float32"), ("tiny-26b-a4b", "int8"), ("tiny-31b", "int8"), ("tiny-31b", "bfloat16")]
NIGHTLY = [("tiny-12b", "int8"), ("tiny-26b-a4b", "float32"), ("tiny-31b", "float32"), ("tiny-12b", "bfloat16")]
NIGHTLY += [("tiny-e2b", "float32"), ("tiny-e2b", "int8"), ("tiny-e4b", "float32")]


@pytest.fixture
def seeing(g4ops, shared, checkpoints, tmp_path):
    """Bundles whose products are exact, with kernels g4ops, by preset and dtype of KV."""

    def get(variant, kv):
        checkpoint = checkpoints(variant)
        recipe = Path(exact_recipe(checkpoint.facts.text, tmp_path))
        encoder = "vision_embedder" if variant == "tiny-12b" else "vision_tower"
        recipe.write_text(f"{encoder}.* float32\nembed_vision.* float32\n{recipe.read_text()}")

        def make(path):
            compile(
                checkpoint.folder, "onnx-cpu", path, weights=str(recipe),
                kernels="g4ops", kv=kv, modalities=("text", "image"),
            )  # fmt: skip

        return Bundle.open(once(shared, f"{variant}-{kv}-native-seeing", make))

    return get


def meter_of(pairs):
    meter = Meter()
    for want, found in pairs:
        meter.add(want, found)
    return meter.result()


@pytest.mark.parametrize(
    ("variant", "kv"), [*KINDS, *(pytest.param(*one, marks=pytest.mark.nightly) for one in NIGHTLY)]
)
def test_text_and_two_images_equal_hf(variant, kv, checkpoints, seeing):
    """The prompt at once and in chunks that no image is cut by, then steps."""
    bundle = seeing(variant, kv)
    reference = Reference(checkpoints(variant).folder, dequantized(bundle), kv=kv)
    prompt = prompt_of(bundle)
    prefill, tokens, decode = answered(reference, prompt, STEPS)
    for chunk in (256, 7, 1):
        session = Session(bundle, threads=2, chunk=chunk)
        pairs = [(prefill, session.forward(prompt, all_positions=True))]
        pairs += [
            (want, session.forward(token, all_positions=True)) for token, want in zip(tokens, decode, strict=True)
        ]
        parity = meter_of(pairs)
        assert not parity.broken(limits_of(bundle.manifest)), (chunk, parity)


@pytest.mark.parametrize("variant", ["tiny-12b", "tiny-31b"])
def test_tokens_of_an_image_see_each_other(variant, checkpoints, seeing, monkeypatch):
    """Blocks matter: with bounds that are causal the same comparison fails."""
    bundle = seeing(variant, "int8" if variant == "tiny-31b" else "float32")
    prompt, causal = prompt_of(bundle), feeds.blocks
    right = Session(bundle, threads=1).forward(prompt, all_positions=True)
    monkeypatch.setattr(feeds, "blocks", lambda places, *sizes: causal(places[:0], *sizes))
    found = Session(bundle, threads=1).forward(prompt, all_positions=True)
    assert np.abs(found - right).max() > 0.01


def large_prompt(bundle):
    """An image of more tokens than rings have room for in a run, behind so much text that they have wrapped."""
    media, random = bundle.manifest.media, np.random.default_rng(6)
    (image,) = images_of(media.image, [(1000, 700)], budget=280)
    words = [random.integers(3, 200, count).tolist() for count in (600, 30)]
    prompt = Prompt(np.array([*words[0], *[media.tokens.image.id] * image.tokens, *words[1]]), (image,))
    return prompt, image.tokens


@pytest.mark.parametrize(("variant", "kv"), [("tiny-31b", "int8"), ("tiny-12b", "float32")])
def test_rings_grow_for_an_image_that_is_larger_than_a_run(variant, kv, checkpoints, seeing):
    bundle = seeing(variant, kv)
    rings = [layer for layer in bundle.manifest.kv.layers if layer.slots is not None]
    prompt, tokens = large_prompt(bundle)
    assert rings and tokens > CHUNK == rings[0].slots - rings[0].keep
    reference = Reference(checkpoints(variant).folder, dequantized(bundle), kv=kv)
    prefill, greedy, decode = answered(reference, prompt, 3)
    session = Session(bundle, threads=2)
    before = session.forward(prompt.input_ids[:3])
    small = session.kv_bytes
    session.reset()
    pairs = [(prefill, session.forward(prompt, all_positions=True))]
    pairs += [(want, session.forward(token, all_positions=True)) for token, want in zip(greedy, decode, strict=True)]
    assert not meter_of(pairs).broken(limits_of(bundle.manifest)), meter_of(pairs)
    assert {session._cache._array(ring, "key").shape[2] for ring in rings} == {ring.keep + tokens for ring in rings}
    assert session.kv_bytes > small
    session.rewind(3)
    again = [session.forward(token, all_positions=True) for token in greedy]
    np.testing.assert_array_equal(np.concatenate(again, 1), np.concatenate([found for _, found in pairs[1:]], 1))
    session.reset()
    np.testing.assert_array_equal(session.forward(prompt.input_ids[:3]), before)


def test_a_ring_that_is_too_small_is_refused(seeing, monkeypatch):
    """A runtime that does not make rings larger gets words, and no numbers; the session is as it was."""
    bundle = seeing("tiny-31b", "int8")
    session = Session(bundle, threads=1)
    prompt, _ = large_prompt(bundle)
    session.forward(prompt.input_ids[:3])
    monkeypatch.setattr("g4compile.runtime.kv_cache.KVCache._grow_rings", lambda *_: None)
    with pytest.raises(Exception, match="a ring of 279 slots cannot hold the keys at positions"):
        session.forward(prompt)
    assert session.length == 3
