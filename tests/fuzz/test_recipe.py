"""Recipes that nobody vouches for: rules, or an error that names the line."""

from __future__ import annotations

import random
import time
from importlib import resources

import pytest

from g4compile.errors import InputError
from g4compile.weights.recipe import BUILT_IN, Recipe, load_recipe
from tests.fuzz.mutate import mutate_bytes, mutate_text, several

CORPUS = [
    (resources.files("g4compile.weights") / f"recipes/{name}.txt").read_text(encoding="utf-8") for name in BUILT_IN
]
WORDS = (
    "int2", "int4", "int8", "int3", "float32", "bfloat16", "row", "32", "64", "128", "0", "-1", "1e9", "symmetric",
    "asymmetric", "nearest", "search", "stored", "*", "**", "[", "[!a-", "layers.*", "embed_tokens", "#",
)  # fmt: skip
MODULES = ("embed_tokens", "layers.0.mlp.up_proj", "layers.0.self_attn.q_proj", "lm_head")


def _fuzz(folder, seeds, until):
    file, counts = folder / "recipe.txt", {"rules": 0, "refused": 0}
    for seed in seeds:
        if time.monotonic() > until:
            break
        rng = random.Random(seed)
        text = rng.choice(CORPUS)
        if rng.random() < 0.6:
            file.write_bytes(several(rng, mutate_text, text, WORDS).encode())
        else:
            file.write_bytes(several(rng, mutate_bytes, text.encode()))
        start = time.process_time()
        try:
            recipe = load_recipe(file)
        except InputError as error:
            counts["refused"] += 1
            assert str(file) in error.where and len(str(error)) < 1000, seed
        else:
            counts["rules"] += 1
            _use(recipe)
        assert time.process_time() - start < 5, seed
    return counts


def _use(recipe: Recipe) -> None:
    for module in MODULES:
        str(recipe.rule(module))
    try:
        recipe.check(MODULES)
    except InputError as error:
        assert "matches no weight" in str(error)


def test_changed_recipes_are_read_or_refused(tmp_path):
    counts = _fuzz(tmp_path, range(600), time.monotonic() + 300)
    assert min(counts.values()) > 60


@pytest.mark.nightly
def test_changed_recipes_are_read_or_refused_for_a_minute(tmp_path):
    _fuzz(tmp_path, range(1000, 10**9), time.monotonic() + 60)
