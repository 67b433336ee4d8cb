"""Audio encoders as networks, interpreted on the CPU, against Hugging Face eager: exactly, and rounded to bfloat16."""

import numpy as np
import pytest
import torch

from g4compile.bundle.media import MelSpec, sound_tokens
from g4compile.compare.reference import Reference
from g4compile.model.config import load_config, model_facts
from g4compile.program import Program
from g4compile.targets.lower import lower
from g4compile.targets.tensorrt.edition import RTX
from g4compile.targets.tensorrt.encoders import audio_profiles, inner_sizes, profiles_of
from g4compile.targets.tensorrt.interpreter.candidates import interpretable_builder
from g4compile.targets.tensorrt.interpreter.interpreter import Interpreter
from g4compile.targets.tensorrt.interpreter.session import weight_of
from g4compile.targets.tensorrt.memory import activation_bytes
from g4compile.targets.tensorrt.target import TENSORRT_RTX, EngineTarget
from g4compile.trace.trace import trace
from g4compile.weights.processors import read_media
from tests.audio import hf_features, program, sound_of, spec_of
from tests.targets.tensorrt.test_parity import EXACT, SHARE

HEARING = ("tiny-e2b", "tiny-e4b", "tiny-12b")
GPUS = (80, 89, 120)


@pytest.fixture(scope="module")
def audio(trt, checkpoints):
    """The network of a preset's audio encoder, and the builder that it must not outlive."""
    made = {}

    def get(variant):
        if variant not in made:
            target = EngineTarget(RTX)
            options = target.options(context=256, compute_capabilities=(89,), modalities=("text", "audio"))
            (lowered,) = lower(program(checkpoints(variant)), target, options)
            builder = interpretable_builder(False)
            made[variant] = builder.network(lowered.model.graph), builder
        return made[variant]

    return get


def runner(trt, one, exact):
    """A function from `AudioInputs` to features, which runs the network."""
    interpreter = Interpreter(trt, [one.network], [one.constants], exact)
    weights = {name: weight_of(tensor, exact) for name, tensor in one.weights.items()}

    def run(sound):
        frames = sound.input_features[sound.input_features_mask]
        (found,) = interpreter.run([{**weights, "input_features": frames}])
        return found["audio_features"].float().numpy()

    return run


def compare(trt, one, checkpoint, sounds):
    """Whether exact features are those of HF, and rounded ones no worse than HF's in bfloat16. Each sound alone: HF
    runs a batch of them in other blocks."""
    reference = Reference(checkpoint.folder)
    expected = [hf_features(reference, [sound])[0] for sound in sounds]
    reference.model.to(torch.bfloat16)
    theirs = [hf_features(reference, [sound])[0] for sound in sounds]
    exact, rounded = (runner(trt, one, kind) for kind in (True, False))
    errors = np.zeros(2)
    for sound, want, narrow in zip(sounds, expected, theirs, strict=True):
        found = exact(sound)
        assert found.shape == want.shape == (sound.tokens, checkpoint.facts.text.hidden_size)
        assert np.abs(found - want).max() <= EXACT
        assert np.abs(want).max() > 100 * EXACT
        errors += [np.abs(rounded(sound) - want).sum(), np.abs(narrow - want).sum()]
    assert 0 < errors[0] <= SHARE * errors[1], errors[0] / errors[1]


@pytest.mark.parametrize("variant", HEARING)
def test_network_equals_hf(variant, trt, audio, checkpoints):
    """One token, a rest of a block, whole blocks, several blocks and a rest."""
    spec = spec_of(checkpoints(variant))
    seconds = (0.001, 0.01, 0.5) if variant == "tiny-12b" else (0.021, 0.2, 0.48, 1.93)
    sounds = [sound_of(spec, length, seed) for seed, length in enumerate(seconds)]
    assert sounds[0].tokens == 1 and sounds[-1].tokens > 40
    compare(trt, audio(variant)[0], checkpoints(variant), sounds)


def test_every_rest_of_a_block_and_of_a_token(trt, audio, checkpoints):
    """A block of attention has twelve tokens, and a token four frames."""
    checkpoint, run = checkpoints("tiny-e2b"), runner(trt, audio("tiny-e2b")[0], True)
    reference, spec = Reference(checkpoint.folder), spec_of(checkpoint)
    sounds = [sound_of(spec, 0.0201 + 0.01 * frames, frames) for frames in range(52)]
    assert {sound.tokens for sound in sounds} >= set(range(1, 14))
    for sound in sounds:
        assert np.abs(run(sound) - hf_features(reference, [sound])[0]).max() <= EXACT


@pytest.mark.nightly
@pytest.mark.parametrize("variant", HEARING)
def test_long_sounds_equal_hf(variant, trt, audio, checkpoints):
    spec = spec_of(checkpoints(variant))
    longest = spec.max_samples / spec.sampling_rate
    sounds = [sound_of(spec, min(seconds, longest), 3) for seconds in (10.3, 30)]
    compare(trt, audio(variant)[0], checkpoints(variant), sounds)


def test_tokens_are_counted_as_sounds_are_read(checkpoints):
    for variant in ("tiny-e2b", "tiny-12b"):
        spec = spec_of(checkpoints(variant))
        for seconds in (0.0201, 0.06, 0.0601, 0.7, 1.3):
            assert sound_of(spec, seconds).tokens == sound_tokens(spec, round(seconds * spec.sampling_rate))
        assert sound_tokens(spec, spec.max_samples) == 750


@pytest.mark.parametrize(("variant", "bounds"), [("tiny-e2b", [50, 250, 750]), ("tiny-12b", [750])])
def test_every_length_has_one_profile(variant, bounds, checkpoints):
    """To 30 seconds; every number of frames is of one profile, and of that of its tokens."""
    checkpoint = checkpoints(variant)
    profiles = profiles_of(checkpoint.facts, "audio", read_media(checkpoint.folder, checkpoint.facts))
    assert [profile["tokens"][2] for profile in profiles] == bounds
    frames = 1 if variant == "tiny-12b" else 4
    for count in range(1, frames * 750):
        sizes = {"tokens": -(-count // frames), "frames": count}
        fitting = [
            all(least <= sizes[name] <= most for name, (least, _, most) in profile.items()) for profile in profiles
        ]
        assert sum(fitting) == 1, sizes


def test_profiles_of_published_models(checkpoints):
    """Two and ten seconds and the longest, also of 12B's own frames of 640 samples."""
    wave = read_media(checkpoints("tiny-12b").folder, checkpoints("tiny-12b").facts).audio
    published = type(wave)(wave.sampling_rate, 640, 750 * 640)
    assert [profile["tokens"] for profile in audio_profiles(published)] == [
        (1, 50, 50),
        (51, 250, 250),
        (251, 750, 750),
    ]


@pytest.mark.parametrize("variant", HEARING)
def test_one_plan_has_all_profiles(variant, audio, checkpoints):
    checkpoint = checkpoints(variant)
    one, builder = audio(variant)
    profiles = profiles_of(checkpoint.facts, "audio", read_media(checkpoint.folder, checkpoint.facts))
    assert 10_000 < len(builder.plan(one, "audio", profiles, GPUS)) < 60e6


@pytest.mark.nightly
def test_real_size_is_built(trt):
    """The whole tower of E2B. What TensorRT says of sizes must not grow from layer to layer: plans of 68 MB came of
    it."""
    facts = model_facts(load_config("e2b"), where="e2b")
    options = TENSORRT_RTX.options(context=8192, compute_capabilities=(89,), modalities=("text", "audio"))
    (lowered,) = lower(Program.of({"audio": trace(facts, part="audio")}, facts), TENSORRT_RTX, options)
    builder = interpretable_builder(False)
    profiles = audio_profiles(MelSpec(16_000, 320, 160, 512, 128, 0.0, 8000.0, 1e-3, 480_000))
    assert len(builder.plan(builder.network(lowered.model.graph), "audio", profiles, (89,))) < 40e6


def test_weights_are_inputs_once(audio, checkpoints):
    """In bfloat16, kernels of convolutions too; the table of distances is a constant."""
    one, _ = audio("tiny-e2b")
    inputs = [one.network.get_input(index).name for index in range(one.network.num_inputs)]
    assert sorted(inputs) == sorted({*one.weights, "input_features"})
    assert set(one.weights) == {name for name in checkpoints("tiny-e2b").tensors if "audio" in name}
    assert {str(tensor.dtype) for tensor in one.weights.values()} == {"BFLOAT16"}


def test_products_are_in_bfloat16_and_attention_in_float32(trt, audio):
    one, _ = audio("tiny-e2b")
    layers = [one.network.get_layer(index) for index in range(one.network.num_layers)]
    made = {layer.name: layer.get_output(0).dtype for layer in layers}
    found = {name: dtype for name, dtype in made.items() if name.endswith(("/Conv", ".linear/TransposedMatMul"))}
    assert len(found) >= 2 + 2 and set(found.values()) == {trt.bfloat16}, found
    attention = {name: dtype for name, dtype in made.items() if ".self_attn/" in name and dtype == trt.bfloat16}
    assert not attention


def test_what_stands_in_memory_between_the_convolutions(audio, checkpoints):
    """128 channels of 64 bins for each second frame, in bfloat16 or twice as much."""
    facts, (one, _) = checkpoints("tiny-e2b").facts, audio("tiny-e2b")
    sizes = {"tokens": (1, 750, 750), "frames": (1, 3000, 3000)}
    least = 2 * 128 * 1500 * 64
    assert least <= activation_bytes(one.graph, {**sizes, **inner_sizes(facts, "audio", sizes)}) <= 5 * least


def test_published_sizes_have_these_profiles():
    facts = model_facts(load_config("e2b"), where="e2b")
    inner = inner_sizes(facts, "audio", {"tokens": (1, 750, 750)})
    assert {name: most for name, (_, _, most) in inner.items()} == {
        "tokens_times_2": 1500, "blocks": 63, "padded_tokens": 756,
    }  # fmt: skip
