"""Prompts with images through engines: networks interpreted on the CPU, exactly and through the session in bfloat16."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from g4compile.compare.reference import Reference
from g4compile.errors import InputError
from g4compile.runtime.engine import EngineSession
from g4compile.runtime.media.patches import in_token_order
from g4compile.runtime.placed import placed
from g4compile.targets.tensorrt.interpreter.interpreter import Interpreter
from g4compile.targets.tensorrt.interpreter.session import weight_of
from g4compile.targets.tensorrt.steps import Capacities
from tests.conftest import VARIANTS
from tests.numeric.test_images import prompt_of
from tests.prompts import expected, hf_inputs
from tests.runtime.host_device import HostDevice
from tests.runtime.interpreted import interpreted
from tests.targets.tensorrt.test_parity import EXACT, SHARE
from tests.vision import images_of

CAPACITIES = Capacities(context=256, batch=1, chunk=128, images=True)
STEPS = 20


@pytest.fixture
def opened(seeing_engines, emit, trt, checkpoints):
    """A session over interpreted seeing_engines, and its device."""

    def get(variant):
        bundle, device, made = seeing_engines(variant), HostDevice(), emit(variant, CAPACITIES)
        networks = {name: ranks[0] for name, ranks in made.networks.items()} | made.encoders
        session = EngineSession(bundle, checkpoints(variant).folder, device, interpreted(trt, bundle, networks, device))
        return SimpleNamespace(session=session, device=device)

    return get


def exact_features(trt, one, bundle, prompt):
    """What the exactly computed vision network says of the prompt's images, at their places."""
    media, interpreter = bundle.manifest.media, Interpreter(trt, [one.network], [one.constants], True)
    weights = {name: weight_of(tensor, True) for name, tensor in one.weights.items()}

    def encode(image):
        values, places = in_token_order(image, media.image)
        (found,) = interpreter.run([{**weights, "pixel_values": values, "pixel_position_ids": places}])
        return found["image_features"].numpy()

    return placed(np.asarray(prompt.input_ids)[None], prompt.media, media.tokens, encode, None)


@pytest.mark.parametrize("variant", VARIANTS)
def test_exact_networks_equal_hf_float32(variant, trt, seeing_engines, emit, checkpoints):
    bundle, made = seeing_engines(variant), emit(variant, CAPACITIES)
    prompt = prompt_of(bundle)
    prefill, tokens, decode = expected(checkpoints(variant), prompt, STEPS)
    features = exact_features(trt, made.encoders["vision"], bundle, prompt)
    session, ids = made.session(exact=True), np.asarray(prompt.input_ids)[None]
    found = session.forward(ids, features=features)
    assert np.abs(found - prefill[:, -1]).max() <= EXACT
    for token, want in zip(tokens, decode, strict=True):
        assert np.abs(session.forward(token, all_positions=True) - want).max() <= EXACT
    session.reset()
    assert np.abs(session.forward(ids) - prefill[:, -1]).max() > 0.01  # without its images it is another prompt


def narrow(checkpoint, prompt, tokens):
    """Logits of HF in bfloat16 behind the prompt [1, V], and behind each of ``tokens``."""
    model = Reference(checkpoint.folder).model.to(torch.bfloat16)
    with torch.no_grad():
        out = model(**hf_inputs(model.config, prompt), use_cache=True)
        found = [out.logits[:, -1]]
        for token in tokens:
            out = model(input_ids=torch.from_numpy(token), past_key_values=out.past_key_values, use_cache=True)
            found.append(out.logits[:, -1])
    return [one.float().numpy() for one in found]


DENSE = [variant for variant in VARIANTS if variant != "tiny-26b-a4b"]  # nearly tied experts decide there, by chance


@pytest.mark.parametrize("variant", DENSE)
def test_session_is_as_close_as_hf_in_bfloat16(variant, opened, seeing_engines, checkpoints):
    """Mean error to HF float32 behind a prompt with two images, at most 1.1 times HF's own in bfloat16."""
    prompt, session = prompt_of(seeing_engines(variant)), opened(variant).session
    prefill, tokens, decode = expected(checkpoints(variant), prompt, STEPS)
    wanted = [prefill[:, -1], *(one[:, -1] for one in decode)]
    theirs = narrow(checkpoints(variant), prompt, tokens)
    ours = [session.forward(prompt), *(session.forward(token) for token in tokens)]
    errors = [
        sum(float(np.abs(one - want).mean()) for one, want in zip(found, wanted, strict=True))
        for found in (ours, theirs)
    ]
    assert errors[0] <= SHARE * errors[1], errors[0] / errors[1]


def test_a_prompt_behind_another_and_generate(opened, seeing_engines):
    """Behind text, whose end is in the middle of a chunk; and tokens one by one, from the likeliest."""
    for variant in ("tiny-e2b", "tiny-31b"):
        prompt, session = prompt_of(seeing_engines(variant)), opened(variant).session
        whole = session.forward(prompt)
        session.reset()
        session.forward(prompt.input_ids[:3])
        rest = replace(prompt, input_ids=prompt.input_ids[3:])
        np.testing.assert_allclose(session.forward(rest), whole, atol=0.2)  # other steps round at other places
        session.reset()
        tokens = list(session.generate(prompt, max_new_tokens=4, stop_token_ids=[]))
        session.reset()
        assert tokens[0] == int(session.forward(prompt).argmax()) and len(tokens) == 4


def test_profiles_are_taken_by_size(opened, seeing_engines):
    made = opened("tiny-e2b")
    encoder, patches = made.session._encoders["vision"], seeing_engines("tiny-e2b").manifest.media.image
    context = encoder._context._context
    for budget, profile in ((70, 0), (140, 1), (70, 0), (280, 2)):
        (image,) = images_of(patches, [(40, 40)], budget)
        found = encoder.image(image, patches)
        assert context._profile == profile and found.shape == (image.tokens, 64)
    with pytest.raises(InputError, match="an image of 2,000 tokens is not possible here"):
        encoder._profile({"tokens": 2000, "patches": 18000}, "an image")


def test_images_that_no_step_takes(opened, seeing_engines):
    made = opened("tiny-31b")
    prompt = prompt_of(seeing_engines("tiny-31b"))
    with pytest.raises(InputError, match="at once, with the logits of all positions") as refused:
        made.session.forward(prompt, all_positions=True)
    assert "without all_positions" in str(refused.value) and made.session.length == 0
    media = seeing_engines("tiny-31b").manifest.media
    (image,) = images_of(media.image, [(28, 20)], 140)
    ids = np.array([5, *[media.tokens.image.id] * image.tokens, 6])
    with pytest.raises(InputError, match=f"an image of {image.tokens} tokens is more than the 128") as refused:
        made.session.forward(replace(prompt, input_ids=ids, images=(image,)))
    assert "--chunk 256" in str(refused.value) and made.session.length == 0
    with pytest.raises(InputError, match="its images have"):
        made.session.forward(replace(prompt, images=prompt.images[:1]))


def test_all_positions_where_images_are_causal(opened, seeing_engines, checkpoints):
    prompt, session = prompt_of(seeing_engines("tiny-e2b")), opened("tiny-e2b").session
    prefill, _, _ = expected(checkpoints("tiny-e2b"), prompt, 0)
    assert np.abs(session.forward(prompt, all_positions=True) - prefill).mean() < 0.05
