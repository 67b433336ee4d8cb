"""How many sites of each kind a decoder has: counted from its inventory, and by hand from the modules of a layer."""

import pytest

from g4compile.model import presets
from g4compile.model.config import load_config, model_facts
from g4compile.model.inventory import inventory, scale_free_norms
from g4compile.targets.phases import frontend

# Norms, gates, scaled tables and products behind the last layer that writes keys and values.
SITES = {
    "e2b": (242, 70, 1, 148),
    "e4b": (302, 84, 1, 134),
    "12b": (337, 48, 0, 6),
    "26b-a4b": (331, 30, 0, 7),
    "31b": (421, 60, 0, 6),
    "tiny-e2b": (44, 12, 1, 29),
    "tiny-e4b": (44, 12, 1, 29),
    "tiny-12b": (43, 6, 0, 6),
    "tiny-26b-a4b": (67, 6, 0, 7),
    "tiny-31b": (43, 6, 0, 6),
}


def found(facts):
    passes = {one.name: one for phase in frontend(facts, 0) for one in phase.passes}
    return (
        passes["canonicalize-rms-norm"].norms,
        passes["canonicalize-geglu"].gates,
        passes["canonicalize-embedding-scale"].tables,
        passes["schedule-shared-tail"].linears,
    )


def by_hand(facts):
    """A layer has norms around attention and around the MLP, and one of queries; one behind its per-layer input.

    For experts it has two more behind them, one before and the router's. Owners norm keys and values. Then the last.
    """
    layers, owners = len(facts.layers), len(facts.kv_layers)
    ple, moe = bool(facts.ple_dim), facts.moe is not None
    tail = 5 + 2 * ple + moe
    return (
        layers * (5 + ple + 4 * moe) + 2 * owners + 1 + ple,
        layers * (1 + ple),
        ple + (not facts.tied),
        (layers - 1 - facts.last_producer) * tail + tail + 1,
    )


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("name", presets.NAMES)
def test_sites_are_those_counted_by_hand(name, tied):
    config = {**presets.config(name), "tie_word_embeddings": tied}
    config["text_config"]["tie_word_embeddings"] = tied
    facts = model_facts(config).text
    assert found(facts) == by_hand(facts)
    if tied:
        assert found(facts) == SITES[name]


def test_norms_without_a_weight():
    assert scale_free_norms(model_facts(load_config("tiny-31b")).text)[0] == "layers.0.self_attn.v_norm"
    moe = model_facts(load_config("tiny-26b-a4b")).text
    assert "layers.5.router.norm" in scale_free_norms(moe)
    assert not {weight.module for weight in inventory(moe)} & set(scale_free_norms(moe))
