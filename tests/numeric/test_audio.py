"""Audio encoders at every stage against Hugging Face eager float32, which pads sounds to one length, and masks."""

import json
from dataclasses import replace

import numpy as np
import pytest

from g4compile.compare.reference import Reference
from g4compile.model import presets
from g4compile.synth.checkpoint import synthesize
from g4compile.targets.lower import to_stage
from g4compile.targets.onnx.target import ONNX_CPU
from g4compile.weights.checkpoint import Checkpoint
from tests.audio import hf_features, program, runner, sound_of, spec_of
from tests.vision import LIMIT

STAGES = ("traced", "canonical", "quantized", "legal:onnx-cpu")
HEARING = ("tiny-e2b", "tiny-e4b", "tiny-12b")


def run_at(checkpoint, stage):
    whole = program(checkpoint)
    return runner(to_stage(whole, ONNX_CPU, ONNX_CPU.options(), stage))


def compare(found, want):
    assert found.shape == want.shape
    assert np.abs(found - want).max() <= LIMIT
    assert np.abs(want).max() > 100 * LIMIT


@pytest.mark.parametrize("variant", HEARING)
def test_every_stage_equals_hf(variant, checkpoints):
    checkpoint = checkpoints(variant)
    sounds = [sound_of(spec_of(checkpoint), seconds, seed) for seed, seconds in enumerate((1.3, 0.021, 0.5))]
    expected = hf_features(Reference(checkpoint.folder), sounds)
    whole = program(checkpoint)
    model = whole.parts["audio"].model
    for stage in STAGES:
        part = replace(whole.parts["audio"], model=model.clone())
        to_stage(replace(whole, parts={"audio": part}), ONNX_CPU, ONNX_CPU.options(), stage)
        run = runner(part.model)
        for sound, want in zip(sounds, expected, strict=True):
            found = run(sound)
            assert found.shape == (sound.tokens, checkpoint.facts.text.hidden_size)
            compare(found, want)


@pytest.mark.parametrize("variant", HEARING)
def test_sounds_of_any_length_equal_hf(variant, checkpoints):
    """Twenty lengths, among them those of one token and of the longest sound, each alone and in one batch of HF's."""
    checkpoint = checkpoints(variant)
    reference, spec, run = Reference(checkpoint.folder), spec_of(checkpoint), run_at(checkpoint, STAGES[-1])
    lengths = [0.0201, 30.0, *np.random.default_rng(11).uniform(0.021, 3, 14), 4.8, 7.77, 12.34, 21.0]
    longest = spec.max_samples / spec.sampling_rate
    sounds = [sound_of(spec, min(seconds, longest), seed) for seed, seconds in enumerate(lengths)]
    assert len(sounds) == 20 and sounds[0].tokens <= 9
    for sound in sounds:
        compare(run(sound), hf_features(reference, [sound])[0])
    short = [sound for sound in sounds if sound.tokens < 100]
    for sound, want in zip(short, hf_features(reference, short), strict=True):
        compare(run(sound), want)


def test_every_rest_of_a_block(checkpoints):
    """A block of attention has twelve tokens, and a token four frames."""
    checkpoint = checkpoints("tiny-e2b")
    reference, spec, run = Reference(checkpoint.folder), spec_of(checkpoint), run_at(checkpoint, STAGES[-1])
    sounds = [sound_of(spec, 0.0201 + 0.01 * frames, frames) for frames in range(52)]
    assert {sound.tokens for sound in sounds} >= set(range(1, 14))
    for sound in sounds:
        compare(run(sound), hf_features(reference, [sound])[0])


def test_a_sound_has_its_features_whatever_came_before(checkpoints):
    checkpoint = checkpoints("tiny-e2b")
    run, spec = run_at(checkpoint, STAGES[-1]), spec_of(checkpoint)
    sound = sound_of(spec, 0.7)
    first = run(sound)
    run(sound_of(spec, 3.1, seed=4))
    assert np.array_equal(run(sound), first)


def test_other_windows_equal_hf(tmp_path):
    """Of a config that published models do not have: another window, and other bounds of scores."""
    config = presets.config("tiny-e2b")
    changes = {"attention_chunk_size": 5, "attention_context_left": 6, "attention_logit_cap": 3.0}
    config["audio_config"] |= {**changes, "conv_kernel_size": 3, "subsampling_conv_channels": [128, 16]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    synthesize(tmp_path / "config.json", tmp_path / "checkpoint", seed=3)
    checkpoint = Checkpoint.open(tmp_path / "checkpoint")
    run, spec = run_at(checkpoint, STAGES[-1]), spec_of(checkpoint)
    sounds = [sound_of(spec, seconds) for seconds in (0.021, 0.4, 1.0)]
    for sound, want in zip(sounds, hf_features(Reference(checkpoint.folder), sounds), strict=True):
        compare(run(sound), want)


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["e2b", "12b"])
def test_the_tower_of_real_size_equals_hf(name, tmp_path):
    config = presets.config(f"tiny-{name}")
    config["audio_config"] = presets.config(name)["audio_config"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    synthesize(tmp_path / "config.json", tmp_path / "checkpoint", seed=3)
    checkpoint = Checkpoint.open(tmp_path / "checkpoint")
    run, spec = run_at(checkpoint, STAGES[-1]), spec_of(checkpoint)
    sounds = [sound_of(spec, seconds, seed) for seed, seconds in enumerate((0.3, 5.2, 12.0))]
    for sound, want in zip(sounds, hf_features(Reference(checkpoint.folder), sounds), strict=True):
        compare(run(sound), want)
