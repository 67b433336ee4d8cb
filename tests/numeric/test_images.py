"""Text and images through whole bundles against Hugging Face eager float32."""

import numpy as np
import pytest
import torch

from g4compile.compare.reference import Reference
from g4compile.runtime.prompt import Prompt
from g4compile.runtime.session import Session
from tests.scenario import assert_equal
from tests.vision import images_of

STEPS = 20
SIZES = [(40, 20), (20, 50)]


def prompt_of(bundle):
    """Text, an image, text, another image, text."""
    media, random = bundle.manifest.media, np.random.default_rng(5)
    images = tuple(images_of(media.image, SIZES, budget=70))
    words = [random.integers(3, 200, count).tolist() for count in (5, 9, 4)]
    token = media.tokens.image.id
    ids = [*words[0], *[token] * images[0].tokens, *words[1], *[token] * images[1].tokens, *words[2]]
    return Prompt(np.array(ids), images)


def expected(checkpoint, prompt, steps):
    """Logits of the prompt [1, S, V], greedy tokens [steps], and logits after each."""
    model = Reference(checkpoint.folder).model
    ids = torch.from_numpy(np.asarray(prompt.input_ids)[None])
    values, places = (
        torch.from_numpy(np.stack([getattr(image, name) for image in prompt.images]))
        for name in ("pixel_values", "pixel_position_ids")
    )
    kinds = (ids == model.config.image_token_id).long()
    with torch.no_grad():
        out = model(
            input_ids=ids, pixel_values=values, image_position_ids=places, mm_token_type_ids=kinds, use_cache=True
        )
        prefill, tokens, decode = out.logits.numpy(), [], []
        for _ in range(steps):
            tokens.append(out.logits[:, -1:].argmax(-1))
            out = model(input_ids=tokens[-1], past_key_values=out.past_key_values, use_cache=True)
            decode.append(out.logits.numpy())
    return prefill, [token.numpy() for token in tokens], decode


@pytest.mark.parametrize("variant", ["tiny-e2b", "tiny-e4b"])
def test_text_and_two_images_equal_hf(variant, checkpoints, seeing):
    bundle = seeing(variant)
    prompt = prompt_of(bundle)
    prefill, tokens, decode = expected(checkpoints(variant), prompt, STEPS)
    for chunk in (256, 7, 1):
        session = Session(bundle, threads=1, chunk=chunk)
        assert_equal(prefill, session.forward(prompt, all_positions=True), f"prefill in chunks of {chunk}")
        for step, (token, want) in enumerate(zip(tokens, decode, strict=True)):
            assert_equal(want, session.forward(token, all_positions=True), f"step {step}")
    session.reset()
    assert list(session.generate(prompt, max_new_tokens=STEPS, stop_token_ids=[])) == [int(one[0, 0]) for one in tokens]
    session.reset()
    blind = session.forward(prompt.input_ids, all_positions=True)
    assert np.abs(blind - prefill).max() > 0.01  # without its images it is another prompt
