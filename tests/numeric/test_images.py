"""Text and images through whole bundles against Hugging Face eager float32."""

from dataclasses import replace

import numpy as np
import pytest

from g4compile.bundle.folder import Bundle
from g4compile.errors import BundleError, InputError
from g4compile.runtime import feeds
from g4compile.runtime.prompt import Prompt
from g4compile.runtime.session import Session
from g4compile.runtime.text import TextCodec
from tests.conftest import VARIANTS
from tests.manifests import linked, rewrite
from tests.prompts import assert_bundle_equals_hf, expected, mixed
from tests.scenario import assert_equal
from tests.vision import images_of, png

STEPS = 60
SIZES = [(40, 20), (20, 50)]


def prompt_of(bundle):
    """Text, an image, text, another image, text."""
    first, second = images_of(bundle.manifest.media.image, SIZES, budget=70)
    return mixed(bundle, 5, first, 9, second, 4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_text_and_two_images_equal_hf(variant, checkpoints, seeing):
    bundle = seeing(variant)
    assert_bundle_equals_hf(bundle, checkpoints(variant), prompt_of(bundle), STEPS)


@pytest.mark.parametrize("variant", ["tiny-e2b", "tiny-12b", "tiny-26b-a4b"])
def test_images_behind_earlier_tokens(variant, checkpoints, seeing):
    bundle = seeing(variant)
    prompt = prompt_of(bundle)
    prefill, _, _ = expected(checkpoints(variant), prompt, 0)
    session = Session(bundle, threads=1)
    assert_equal(prefill[:, :3], session.forward(prompt.input_ids[:3], all_positions=True), "text")
    rest = replace(prompt, input_ids=prompt.input_ids[3:])
    assert_equal(prefill[:, 3:], session.forward(rest, all_positions=True), "the rest, with the images")


@pytest.mark.parametrize("variant", ["tiny-12b", "tiny-31b"])
def test_tokens_of_an_image_see_each_other(variant, checkpoints, seeing, monkeypatch):
    """Blocks matter: with masks that are causal the same comparison fails."""
    bundle = seeing(variant)
    prompt = prompt_of(bundle)
    prefill, _, _ = expected(checkpoints(variant), prompt, 0)
    causal = feeds.blocks
    monkeypatch.setattr(feeds, "blocks", lambda places, *sizes: causal(places[:0], *sizes))
    found = Session(bundle, threads=1).forward(prompt, all_positions=True)
    assert np.abs(found - prefill).max() > 0.01


@pytest.mark.parametrize(
    ("ends", "chunk", "stops"),
    [
        ([0, 1, 2, 3, 4], 2, [2, 4, 5]),
        ([0, 3, 3, 3, 4], 2, [1, 4, 5]),
        ([0, 3, 3, 3, 4], 4, [4, 5]),
        ([2, 2, 2, 5, 5, 5], 4, [3, 6]),
        ([2, 2, 2, 5, 5, 5], 1, [3, 6]),
        ([0], 7, [1]),
    ],
)
def test_no_run_ends_inside_an_image(ends, chunk, stops):
    assert [piece.stop for piece in feeds.pieces(np.array(ends), chunk)] == stops


def test_blocks_of_neighbours():
    starts, ends = feeds.blocks(np.array([1, 2, 5]), 10, 2, 7)
    assert starts.tolist() == [[10, 11, 11, 13, 14, 15, 16]] * 2
    assert ends.tolist() == [[10, 12, 12, 13, 14, 15, 16]] * 2


def test_images_that_do_not_fit_the_prompt(seeing):
    bundle = seeing("tiny-e2b")
    prompt, session = prompt_of(bundle), Session(bundle, threads=1)
    with pytest.raises(InputError, match="its images have"):
        session.forward(replace(prompt, images=prompt.images[:1]))
    with pytest.raises(InputError, match="a prompt is one sequence, got 2"):
        session.forward(replace(prompt, input_ids=np.stack([prompt.input_ids] * 2)))
    assert session.length == 0


def test_a_bundle_of_text_takes_no_images(seeing, bundles):
    prompt, session = prompt_of(seeing("tiny-e2b")), Session(bundles("tiny-e2b"), threads=1)
    with pytest.raises(InputError, match="this bundle takes no image"):
        session.forward(prompt)
    with pytest.raises(InputError, match="this bundle takes no image"):
        session.generate(prompt)


def test_placeholders_without_images(seeing):
    """In text they stand for images that are missing; as ids, whoever wrote them knows."""
    bundle = seeing("tiny-e2b")
    for text in ("What is <|image|>?", "Listen: <|audio|>"):
        with pytest.raises(InputError, match=r"the number of .* is 0"):
            Prompt.from_messages([{"role": "user", "content": text}], bundle)


def test_a_prompt_of_another_bundle(seeing):
    prompt = prompt_of(seeing("tiny-e2b"))
    with pytest.raises(InputError, match="an image of this prompt was made for another bundle"):
        Session(seeing("tiny-12b"), threads=1).forward(prompt)


def test_messages_that_are_none(seeing):
    bundle = seeing("tiny-e2b")
    for messages in (None, 5, "What?"):
        with pytest.raises(InputError, match="messages is"):
            Prompt.from_messages(messages, bundle)
    with pytest.raises(InputError, match="bundle is"):
        Prompt.from_messages([], Session(bundle, threads=1))
    misspelt = [{"type": "image", "image": png(), "budjet": 70}]
    with pytest.raises(InputError, match="an item of the type image has no budjet"):
        Prompt.from_messages([{"role": "user", "content": misspelt}], bundle)


def test_messages_become_a_prompt(seeing):
    bundle = seeing("tiny-e2b")
    items = [{"type": "image", "image": png(), "budget": 70}, {"type": "text", "text": "What is it?"}]
    prompt = Prompt.from_messages([{"role": "user", "content": items}], bundle, TextCodec(bundle))
    (image,) = prompt.images
    places = np.flatnonzero(prompt.input_ids == bundle.manifest.media.tokens.image.id)
    assert len(places) == image.tokens <= 70 and np.array_equal(places, np.arange(places[0], places[0] + len(places)))
    assert np.isfinite(Session(bundle, threads=1).forward(prompt)).all()
    with pytest.raises(InputError, match="names none"):
        Prompt.from_messages([{"role": "user", "content": [{"type": "image"}]}], bundle, TextCodec(bundle))


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (lambda manifest: manifest.update(modalities=["text"]), "do not agree on whether image is taken"),
        (lambda manifest: manifest["media"].update(image=None), "do not agree on whether image is taken"),
        (lambda manifest: manifest["media"]["image"].update(patch_size=8), "pixel_values, an input of vision"),
        (lambda manifest: manifest["media"]["tokens"]["image"].update(id=10**6), "beyond the vocabulary"),
        (lambda manifest: manifest["media"]["image"].update(patch_size=0), "media.image.patch_size"),
        (lambda manifest: manifest["requires"].append("image-blocks"), "block_ends, an input of decoder"),
    ],
)
def test_a_manifest_that_does_not_agree_with_itself(edit, match, seeing, tmp_path):
    folder = linked(seeing("tiny-e2b").folder, tmp_path / "bundle")
    rewrite(folder, edit)
    with pytest.raises(BundleError, match=match):
        Bundle.open(folder)


def test_a_bundle_with_blocks_says_so(seeing, tmp_path):
    folder = linked(seeing("tiny-31b").folder, tmp_path / "bundle")
    rewrite(folder, lambda manifest: manifest["requires"].remove("image-blocks"))
    with pytest.raises(BundleError, match="requires does not have image-blocks"):
        Bundle.open(folder)
    assert "image-blocks" not in seeing("tiny-e2b").manifest.requires
