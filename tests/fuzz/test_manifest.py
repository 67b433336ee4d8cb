"""Manifests with changed bytes, and lies that hold the hash of what they are: refused, or without effect."""

import json
import random

import pytest

from tests.fuzz.bundles import is_refused, logits_of, seeds_for
from tests.fuzz.mutate import mutate_bytes, mutate_json, several
from tests.manifests import linked, replace, with_own_hash

KINDS = ("tiny-e2b", "int8 KV")


@pytest.fixture(params=KINDS)
def source(request, bundles, int8_kv):
    return (int8_kv if request.param == "int8 KV" else bundles(request.param)).folder


def bytes_changed(chance, whole):
    return several(chance, mutate_bytes, whole)


def bytes_changed_in_a_lie(chance, whole):
    return with_own_hash(several(chance, mutate_bytes, whole))


def values_changed_in_a_lie(chance, whole):
    changed = several(chance, mutate_json, json.loads(whole))
    return with_own_hash(json.dumps(changed).encode())


CHANGES = (bytes_changed, bytes_changed_in_a_lie, values_changed_in_a_lie)


def run(source, folder, change, seeds):
    """How many of the inputs of ``seeds`` were refused."""
    linked(source, folder)
    whole, manifest, refused = logits_of(source), (source / "g4.json").read_bytes(), 0
    for seed in seeds:
        changed = change(random.Random(seed), manifest)
        replace(folder / "g4.json", changed)
        try:
            refused += is_refused(folder, whole)
        except BaseException as error:
            error.add_note(f"{change.__name__}, seed {seed}")
            raise
    return refused


@pytest.mark.parametrize("change", CHANGES)
def test_changed_manifests(source, tmp_path, change):
    refused = run(source, tmp_path / "bundle", change, range(150))
    assert refused > 75  # the rest changed nothing, or what is for reports
    if change is bytes_changed:
        assert refused > 140


@pytest.mark.nightly
@pytest.mark.parametrize("change", CHANGES)
def test_changed_manifests_for_a_minute(source, tmp_path, change):
    run(source, tmp_path / "bundle", change, seeds_for(30))
