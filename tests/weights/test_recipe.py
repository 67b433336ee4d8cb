"""Recipes: what they say about each weight, and what is wrong with those that cannot be read."""

import os
import time
from pathlib import Path

import pytest

from g4compile.compiler import compile
from g4compile.errors import InputError
from g4compile.model import presets
from g4compile.model.config import model_facts
from g4compile.planning.plan import plan
from g4compile.weights.recipe import BUILT_IN, Recipe, Rule, load_recipe, parse_rules, recipe_name

MODULES = [
    "embed_tokens",
    "embed_tokens_per_layer",
    "per_layer_model_projection",
    "layers.0.self_attn.q_proj",
    "layers.3.mlp.down_proj",
    "layers.3.router.proj",
    "layers.3.experts.gate_up_proj",
    "layers.3.per_layer_input_gate",
]


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_recipes_keep_routers_and_print_as_they_read(name):
    recipe = load_recipe(name)
    assert recipe.rule("layers.3.router.proj").format is None
    assert recipe.rule("layers.3.mlp.down_proj").format is not None
    text = "\n".join(str(rule) for rule in recipe.rules)
    assert parse_rules(text, name) == recipe.rules


def test_the_first_matching_rule_decides():
    rules = parse_rules("layers.*.mlp.* int2 64 asymmetric int8 search\n* int4 row symmetric float32 nearest", "t")
    recipe = Recipe("t", rules)
    assert recipe.rule("layers.3.mlp.down_proj").format.bits == 2
    assert (recipe.rule("embed_tokens").format.bits, recipe.rule("embed_tokens").format.block) == (4, 0)
    assert Recipe("t", rules[:1]).rule("embed_tokens") == Rule("embed_tokens", None)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("* int3 128 symmetric int8 nearest", "unknown word 'int3'"),
        ("* int4 48 symmetric int8 nearest", "no blocks of 48"),
        ("* int4 wide symmetric int8 nearest", "there are no blocks of wide weights"),
        ("* int4 128 lopsided int8 nearest", "unknown word 'lopsided'"),
        ("* int4 128 symmetric int4 nearest", "unknown word 'int4'"),
        ("* int4 128 symmetric int8 magic", "unknown word 'magic'"),
        ("* int4 128", "a rule has 6 words, this has 3"),
    ],
)
def test_errors_name_the_line(tmp_path, line, text):
    file = tmp_path / "mine.txt"
    file.write_text(f"# my recipe\n\nembed_tokens float32\n{line}  # a comment\n")
    with pytest.raises(InputError, match=text) as caught:
        load_recipe(file)
    assert f"{file}, line 4: {line}" in str(caught.value)


def test_a_recipe_without_rules_and_one_that_is_not_there(tmp_path):
    (tmp_path / "empty.txt").write_text("# nothing\n")
    with pytest.raises(InputError, match="has no rules"):
        load_recipe(tmp_path / "empty.txt")
    with pytest.raises(
        InputError, match=r"no recipe int5[\s\S]*float32, int8, int4, int4-channel, int2, mobile, mobile-e4b"
    ) as raised:
        load_recipe("int5")
    assert "Errno" not in str(raised.value)  # a name that is mistyped is no matter of files


def test_a_recipe_that_is_no_text_file_is_answered_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "binary").write_bytes(b"* float32\n\xff\xfe")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "large").write_bytes(b"# 32 characters, and a new line \n" * (1 << 15))
    for file, words in {
        tmp_path: "it is a folder",
        tmp_path / "pipe": "it is a pipe",
        Path("/dev/zero"): "it is a device",
        tmp_path / "binary": "byte 10: invalid start byte",
        tmp_path / "dangling": "which does not exist",
        tmp_path / "large": "more than the 1,048,576",
        tmp_path / ("x" * 300): "there is no recipe",
    }.items():
        with pytest.raises(InputError, match=words) as raised:
            load_recipe(file)
        assert "or the path of a text file" in str(raised.value)


def test_lines_and_rules_are_limited():
    with pytest.raises(InputError, match="line 2: x") as raised:
        parse_rules("* float32\n" + "x" * 100_000 + " float32", "t")
    assert "100,008 characters, more than 512" in str(raised.value) and len(str(raised.value)) < 300
    with pytest.raises(InputError, match="more than 4,096 rules"):
        parse_rules("* float32\n" * 5000, "t")


def test_lines_are_those_of_editors():
    text = "\ufeff# begun by an editor\r\n* float32 # \u2028 is no new line\r\n"
    assert parse_rules(text, "t") == (Rule("*", None),)
    with pytest.raises(InputError, match="t, line 3: bad"):
        parse_rules(text + "bad", "t")


def test_many_rules_are_matched_in_time():
    """Each pattern is compiled once, not once for every weight of a model."""
    recipe = Recipe("t", parse_rules("".join(f"a*{n}*b* float32\n" for n in range(4096)), "t"))
    start = time.process_time()
    assert all(recipe.rule(f"layers.{n}.mlp.up_proj").pattern == f"layers.{n}.mlp.up_proj" for n in range(100))
    assert time.process_time() - start < 5


def test_a_pattern_that_matches_nothing_is_refused():
    with pytest.raises(InputError, match=r"the pattern layer\.\* of recipe t matches no weight"):
        Recipe("t", parse_rules("layer.* int4 128 symmetric int8 nearest", "t")).check(MODULES)
    Recipe("t", parse_rules("layers.* int4 128 symmetric int8 nearest", "t")).check(MODULES)


def test_a_file_named_as_a_built_in_recipe_is_still_checked(tmp_path):
    (tmp_path / "int4").write_text("layer.* int4 128 symmetric int8 nearest")
    with pytest.raises(InputError, match="matches no weight"):
        load_recipe(tmp_path / "int4").check(MODULES)
    load_recipe("mobile").check(MODULES[:1])


def test_a_recipe_is_read_once(checkpoints, tmp_path):
    """Edited while a model is compiled, it changes neither codes nor manifest."""
    file = tmp_path / "mine.txt"
    rules = "layers.* int8 32 symmetric int8 nearest\n* float32\n"
    file.write_text(rules)

    def edit(stage, done, total):
        if stage.endswith("trace"):
            file.write_text(rules.replace("int8 32", "int4 32"))

    source = checkpoints("tiny-31b")
    made = compile(source, "onnx-cpu", tmp_path / "out", weights=str(file), modalities=("text",), progress=edit)
    manifest = made.manifest
    assert "int4 32" in file.read_text()
    assert manifest.recipe == ("layers.* int8 32 symmetric int8 nearest", "* float32")
    assert manifest.quantized and {spec.bits for spec in manifest.quantized.values()} == {8}


@pytest.mark.parametrize(
    ("name", "layout"),
    [("e2b", "mobile"), ("e4b", "mobile-e4b"), ("tiny-e2b", "mobile"), ("12b", "mobile-e4b"), ("31b", "mobile-e4b")],
)
def test_mobile_is_the_layout_of_the_model(name, layout):
    text = model_facts(presets.config(name)).text
    assert recipe_name("mobile", text) == layout
    assert recipe_name("int4", text) == "int4"
    assert plan(name, weights="mobile").weights == layout
