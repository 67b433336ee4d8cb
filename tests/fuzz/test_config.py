"""Configs with any value anywhere: one of our errors, or facts that a plan can be made from."""

import json
import random
import time

import pytest

from g4compile.errors import Defect, G4Error
from g4compile.inputs.documents import decode_json
from g4compile.model import presets
from g4compile.model.config import CONFIG, model_facts
from g4compile.model.contents import contents
from g4compile.planning.plan import plan
from g4compile.synth.checkpoint import published_shapes
from tests.fuzz.mutate import mutate_bytes, mutate_json, several

TINY = [name for name in presets.NAMES if name.startswith("tiny")]


def forms():
    """Both published forms of each size, and decoders alone."""
    for name in TINY:
        config = presets.config(name)
        yield config
        yield config["text_config"]
        nested = json.loads(json.dumps(config))
        text = nested["text_config"]
        own = {"head_dim": text.pop("global_head_dim")}
        text["per_layer_config"] = {f"{i:02d}": own for i, kind in enumerate(text["layer_types"]) if "full" in kind}
        yield nested


FORMS = list(forms())


def accepted(call, *arguments):
    """Whether it raises nothing. It may raise our errors alone, and takes no more than 5 seconds."""
    start = time.monotonic()
    try:
        call(*arguments)
    except G4Error as error:
        assert error.code in (2, 3) and not isinstance(error, Defect), error
        str(error).encode()
        return False
    finally:
        assert time.monotonic() - start < 5
    return True


def drawn(seed):
    """A config after some changes; whatever is no object becomes one."""
    rng = random.Random(seed)
    config = several(rng, mutate_json, rng.choice(FORMS))
    return config if isinstance(config, dict) else {"model_type": config}


def fuzz(seed, folder):
    """Facts and contents of a config, and, from a file, its plan. Whether it was accepted."""
    config, rng, file = drawn(seed), random.Random(-seed), folder / "config.json"
    good = accepted(lambda: contents(model_facts(config)))
    data = json.dumps(config).encode()
    file.write_bytes(data)
    readable = accepted(decode_json, data, CONFIG, file)
    assert accepted(plan, file) == (good and readable), config
    file.write_bytes(several(rng, mutate_bytes, data))
    accepted(plan, file)
    return good


def test_any_value_in_any_field(tmp_path):
    found = [fuzz(seed, tmp_path) for seed in range(300)]
    assert 30 < sum(found) < 270  # both are met


@pytest.mark.nightly
def test_any_value_in_any_field_for_a_minute(tmp_path):
    end = time.monotonic() + 60
    seed = 1_000_000
    while time.monotonic() < end:
        fuzz(seed, tmp_path)
        seed += 1
    print(f"{seed - 1_000_000:,} configs")


def check_shapes(config):
    """The model that transformers makes of it has the tensors that the config says."""
    facts = model_facts(config)
    found, shapes = contents(facts), published_shapes(facts)
    listed = {key: shape for part in found.parts.values() for key, shape in part.items()}
    assert {**found.unused, **shapes} == {**found.unused, **listed}


@pytest.mark.nightly
def test_transformers_makes_what_is_accepted():
    """Or it says that a field unknown to us is in its way."""
    end, made = time.monotonic() + 60, 0
    for seed in range(2_000_000, 3_000_000):
        if time.monotonic() > end:
            break
        config = drawn(seed)
        if accepted(model_facts, config) and small(model_facts(config)):
            made += accepted(check_shapes, config)
    print(f"{made:,} models")
    assert made > 10


def small(facts):
    """Whether transformers makes it in seconds."""
    return len(facts.text.layers) <= 8
