"""Prompts with sounds through engines: networks interpreted on the CPU, through the session in bfloat16."""

from dataclasses import replace

import numpy as np
import pytest

from g4compile.errors import InputError
from g4compile.runtime.engine import EngineSession
from g4compile.targets.tensorrt.steps import Capacities
from tests.audio import sound_of
from tests.prompts import expected, mixed
from tests.runtime.host_device import HostDevice
from tests.runtime.interpreted import interpreted
from tests.runtime.test_engine_images import narrow
from tests.targets.tensorrt.test_parity import SHARE
from tests.vision import images_of

CAPACITIES = Capacities(context=256, batch=1, chunk=128, images=True)
STEPS = 10


@pytest.fixture
def opened(hearing_engines, emit, trt, checkpoints):
    """A session over interpreted engines that take images and sounds."""

    def get(variant):
        bundle, device, made = hearing_engines(variant), HostDevice(), emit(variant, CAPACITIES, sounds=True)
        networks = {name: ranks[0] for name, ranks in made.networks.items()} | made.encoders
        return EngineSession(bundle, checkpoints(variant).folder, device, interpreted(trt, bundle, networks, device))

    return get


def prompt_of(bundle):
    """Two sounds and an image between words; the second sound is several blocks and a rest."""
    media = bundle.manifest.media
    seconds = (0.4, 1.3) if hasattr(media.audio, "hop_length") else (0.02, 0.05)
    first, second = (sound_of(media.audio, length, seed) for seed, length in enumerate(seconds))
    (image,) = images_of(media.image, [(30, 20)], 70)
    return mixed(bundle, 4, first, 3, image, 2, second, 5)


@pytest.mark.parametrize("variant", ["tiny-e2b", "tiny-12b"])
def test_session_is_as_close_as_hf_in_bfloat16(variant, opened, hearing_engines, checkpoints):
    """Mean error to HF float32 behind text, sounds and an image, at most 1.1 times HF's own in bfloat16."""
    prompt, session = prompt_of(hearing_engines(variant)), opened(variant)
    prefill, tokens, decode = expected(checkpoints(variant), prompt, STEPS)
    wanted = [prefill[:, -1], *(one[:, -1] for one in decode)]
    theirs = narrow(checkpoints(variant), prompt, tokens)
    ours = [session.forward(prompt), *(session.forward(token) for token in tokens)]
    errors = [
        sum(float(np.abs(one - want).mean()) for one, want in zip(found, wanted, strict=True))
        for found in (ours, theirs)
    ]
    assert errors[0] <= SHARE * errors[1], errors[0] / errors[1]
    session.reset()
    deaf = session.forward(np.asarray(prompt.input_ids)[None])
    assert np.abs(deaf - wanted[0]).max() > 0.01  # without its media it is another prompt


def test_profiles_are_taken_by_size(opened, hearing_engines):
    session, spec = opened("tiny-e2b"), hearing_engines("tiny-e2b").manifest.media.audio
    encoder = session._encoders["audio"]
    context = encoder._context._context
    for seconds, profile in ((1, 0), (2.1, 1), (0.1, 0)):
        sound = sound_of(spec, seconds)
        assert encoder.sound(sound).shape == (sound.tokens, 64) and context._profile == profile
    for tokens, profile in ((50, 0), (51, 1), (250, 1), (251, 2), (750, 2)):
        assert encoder._profile({"tokens": tokens, "frames": 4 * tokens - 3}, "a sound") == profile
    with pytest.raises(InputError, match="a sound of 751 tokens is not possible here"):
        encoder._profile({"tokens": 751, "frames": 3001}, "a sound")


def test_engines_without_sounds_say_so(opened, seeing_engines, hearing_engines, emit, trt, checkpoints):
    prompt = prompt_of(hearing_engines("tiny-e2b"))
    bundle, device, made = seeing_engines("tiny-e2b"), HostDevice(), emit("tiny-e2b", CAPACITIES)
    networks = {name: ranks[0] for name, ranks in made.networks.items()} | made.encoders
    session = EngineSession(bundle, checkpoints("tiny-e2b").folder, device, interpreted(trt, bundle, networks, device))
    with pytest.raises(InputError, match="this bundle takes no audio") as refused:
        session.forward(prompt)
    assert "--target tensorrt-rtx --modalities text,image,audio" in str(refused.value)
    session = opened("tiny-e2b")
    with pytest.raises(InputError, match="its sounds have"):
        session.forward(replace(prompt, audios=prompt.audios[:1]))
