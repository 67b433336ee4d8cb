"""Recipes: which weights get which format, as a table that people can read, write and diff.

One rule per line, the first that matches decides:

    # module                        weights   block   zero         activations   search
    embed_tokens_per_layer          int4      128     symmetric    float32       nearest
    layers.*.mlp.*                  int4      32      asymmetric   int8          search
    *                               float32

Modules are named as in `Gemma4ForCausalLM` without `model.`; `*` stands for any text. A tied `lm_head` has the
format of `embed_tokens`: it is the same table. `block` is a number of weights or `row`. `activations` is how a
product reads its other operand: `float32` is exact, `int8` is faster.

Encoders of images and sounds have rules of their own: those that begin with the name of one of their modules, as
`vision_tower.*` does, and behind them those of `recipes/encoders.txt`, 8 bits. So a rule `*` speaks of the decoder.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import resources
from pathlib import Path

from g4compile.errors import InputError
from g4compile.inputs.documents import decode_text
from g4compile.inputs.files import Kind, is_there, read_bytes
from g4compile.model.config import TextFacts
from g4compile.model.contents import DECODER, part_of_module
from g4compile.weights.formats.blocks import BITS, BLOCKS, WHOLE_ROW, BlockFormat
from g4compile.weights.quantize import QUANTIZERS

BUILT_IN = ("int8", "int4", "int4-channel", "int2", "mobile", "mobile-e4b")
_ENCODERS = "encoders"  # the rules of encoders that stand behind those of every recipe
ACTIVATIONS = ("float32", "int8")
RECIPE = Kind("the recipe", 1 << 20, fix=f"recipes: float32, {', '.join(BUILT_IN)}, or the path of a text file")
_MOST_RULES, _LONGEST, _WORD = (
    4096,
    512,
    40,
)  # of a model's some 700 weights; characters of a line, of a word in a message


@dataclass(frozen=True)
class Rule:
    """``format`` None leaves the weight in float32."""

    pattern: str
    format: BlockFormat | None
    activations: str = "float32"
    quantizer: str = "nearest"

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        return re.compile(fnmatch.translate(self.pattern))

    def matches(self, module: str) -> bool:
        """Whether the pattern is one of ``module``. Compiled once: a recipe asks for every weight of a model."""
        return self._expression.match(module) is not None

    def __str__(self) -> str:
        if self.format is None:
            return f"{self.pattern} float32"
        block = "row" if self.format.block == WHOLE_ROW else str(self.format.block)
        zero = "symmetric" if self.format.symmetric else "asymmetric"
        return f"{self.pattern} int{self.format.bits} {block} {zero} {self.activations} {self.quantizer}"


@dataclass(frozen=True)
class Recipe:
    """A named list of rules. A built-in one is for all sizes, so some of its rules match nothing in some models."""

    name: str
    rules: tuple[Rule, ...]
    built_in: bool = False

    def rules_of(self, part: str) -> tuple[Rule, ...]:
        """The rules for modules of ``part`` of the model, in their order."""
        named = tuple(rule for rule in self.rules if part_of_module(rule.pattern) == part)
        return named if part == DECODER else (*named, *_encoder_rules(part))

    def listed(self, parts: Iterable[str]) -> tuple[str, ...]:
        """The rules for modules of ``parts``, as lines."""
        return tuple(str(rule) for part in parts for rule in self.rules_of(part))

    def rule(self, module: str) -> Rule:
        """The first rule for the part of ``module`` whose pattern matches it; float32 when none does."""
        rules = self.rules_of(part_of_module(module))
        return next((rule for rule in rules if rule.matches(module)), Rule(module, None))

    def check(self, modules: Iterable[str]) -> None:
        """Raise InputError for a rule that matches none of ``modules``, all those of some parts, so that a typing error
        does not pass in silence."""
        if self.built_in:
            return
        names = list(modules)
        parts = {part_of_module(name) for name in names}
        for rule in self.rules:
            if part_of_module(rule.pattern) in parts and not any(rule.matches(name) for name in names):
                raise InputError(
                    f"the pattern {rule.pattern} of recipe {self.name} matches no weight of this model",
                    fix=f"weights are named like {', '.join(names[:3])}",
                )


def recipe_name(weights: str, text: TextFacts) -> str:
    """Which recipe ``weights`` is for a model: `mobile` is E2B's layout where layers are as E2B's, wide behind the last
    layer that owns KV, and E4B's, which has no 2-bit MLPs, everywhere else."""
    wide = len({layer.intermediate_size for layer in text.layers}) > 1
    return "mobile-e4b" if weights == "mobile" and not wide else weights


def load_recipe(source: str | Path) -> Recipe:
    """A built-in recipe by name, or a file. Raises InputError naming file and line."""
    if isinstance(source, str) and source in BUILT_IN:
        return Recipe(source, _built_in_rules(source), built_in=True)
    path = Path(source)
    if not is_there(path):
        raise InputError(f"there is no recipe {source}", fix=RECIPE.fix)
    text = decode_text(read_bytes(path, RECIPE), RECIPE, path)
    return Recipe(path.name, parse_rules(text, str(path)))


@lru_cache
def _built_in_rules(name: str) -> tuple[Rule, ...]:
    text = resources.files("g4compile.weights").joinpath(f"recipes/{name}.txt").read_text(encoding="utf-8")
    return parse_rules(text, name)


@lru_cache
def _encoder_rules(part: str) -> tuple[Rule, ...]:
    return tuple(rule for rule in _built_in_rules(_ENCODERS) if part_of_module(rule.pattern) == part)


def parse_rules(text: str, where: str) -> tuple[Rule, ...]:
    """Read a recipe. Raises InputError with the line that cannot be read."""
    rules: list[Rule] = []
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):  # some editors begin a file with it
        words = line.partition("#")[0].split()
        if words:
            try:
                if len(line) > _LONGEST:
                    raise InputError(f"a line has {len(line):,} characters, more than {_LONGEST}")
                if len(rules) == _MOST_RULES:
                    raise InputError(f"the recipe has more than {_MOST_RULES:,} rules", fix="use * in patterns")
                rules.append(_rule(words))
            except InputError as error:
                shown = f"{where}, line {number}: {line.strip()[:100]}"
                raise InputError(error.what, where=shown, fix=error.fix) from None
    if not rules:
        raise InputError(
            "the recipe has no rules", where=where, fix="write lines like: layers.* int4 128 symmetric int8 nearest"
        )
    return tuple(rules)


def _rule(words: list[str]) -> Rule:
    if len(words) == 2 and words[1] == "float32":
        return Rule(words[0], None)
    if len(words) != 6:
        raise InputError(
            f"a rule has 6 words, this has {len(words)}",
            fix="MODULE int4 128 symmetric int8 nearest, or: MODULE float32",
        )
    pattern, weights, block, zero, activations, quantizer = words
    choices = (
        (weights, [f"int{bits}" for bits in BITS]),
        (zero, ["symmetric", "asymmetric"]),
        (activations, list(ACTIVATIONS)),
        (quantizer, list(QUANTIZERS)),
    )
    for word, known in choices:
        if word not in known:
            raise InputError(f"unknown word {word[:_WORD]!r}", fix=f"expected one of {', '.join(known)}")
    if block not in ("row", *map(str, BLOCKS)):
        raise InputError(
            f"there are no blocks of {block[:_WORD]} weights", fix=f"blocks: {', '.join(map(str, BLOCKS))}, or row"
        )
    format = BlockFormat(int(weights[3:]), WHOLE_ROW if block == "row" else int(block), zero == "symmetric")
    return Rule(pattern, format, activations, quantizer)
