"""What a compile for a target takes when it is told nothing, and whether it can do what it is told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from g4compile.errors import InputError
from g4compile.inputs.files import is_there
from g4compile.model.config import ModelFacts
from g4compile.targets.base import FLOAT32, TEXT, Options, Target
from g4compile.weights.recipe import BUILT_IN, Recipe, load_recipe, recipe_name
from g4compile.weights.stored import STORED

MODALITIES = (TEXT, "image", "audio")


def options_for(
    target: Target,
    facts: ModelFacts,
    *,
    weights: str | None = None,
    kv: str | None = None,
    context: int | None = None,
    **given: Any,
) -> Options:
    """The options of a compile of a model of ``facts``: what is given, and the target's default for each one that is
    None. Raises InputError."""
    recipe = recipe_of(facts, target, weights)
    asked = {name: value for name, value in given.items() if value is not None}
    return target.options(
        weights=recipe.name if isinstance(recipe, Recipe) else recipe,
        recipe=recipe if isinstance(recipe, Recipe) else None,
        kv=kv_of(target, kv),
        context=context_of(context, target, facts),
        **{**target.defaults(facts, asked), **asked},
    )


def modalities_of(target: Target, has: Sequence[str], modalities: Sequence[str] | None) -> tuple[str, ...]:
    """The modalities of a bundle: what is given, checked, or what a checkpoint ``has`` and ``target`` takes unasked.

    Raises InputError for one that a bundle of ``target`` cannot take in."""
    if modalities is None:
        unasked = target.modalities if target.default_modalities is None else target.default_modalities
        return tuple(one for one in MODALITIES if one in has and one in unasked)
    if isinstance(modalities, str):
        raise InputError("modalities are a tuple of names, not a text", fix='modalities=("text", "image")')
    for modality in modalities:
        if modality not in MODALITIES:
            raise InputError(f"there is no modality {modality}", fix=f"modalities: {', '.join(MODALITIES)}")
        if modality not in has:
            raise InputError(f"this checkpoint has no {modality}", fix=f"it has: {', '.join(has)}")
        if modality not in target.modalities:
            raise InputError(
                f"{modality} is not compiled for {target.name} by this version",
                fix=f"--modalities {','.join(target.modalities)}",
            )
    if TEXT not in modalities:
        raise InputError("a bundle without text answers nothing", fix=f"--modalities {','.join((TEXT, *modalities))}")
    return tuple(modalities)


def kv_of(target: Target, kv: str | None) -> str:
    """How keys and values are kept, checked. Raises InputError."""
    if kv is not None and kv not in target.kv:
        raise InputError(f"{target.name} has no KV cache of {kv}", fix=f"--kv {', '.join(target.kv)}")
    return kv or target.kv[0]


def recipe_of(facts: ModelFacts, target: Target, weights: str | None) -> Recipe | str:
    """The weights to compile with, checked: the recipe, read once, or `float32`, `stored` or what the target takes
    beside recipes.

    Raises InputError."""
    if weights is not None and not weights.strip():
        raise InputError("--weights is empty", fix=f"leave it away, or give --weights {', '.join(_known(target))}")
    if weights is not None and weights in target.refuses:
        raise InputError(
            f"{target.name} takes no {weights} weights",
            why=target.refuses[weights],
            fix=f"--weights {target.default_weights}",
        )
    if target.accepts is not None:
        if facts.quantization is not None or weights not in (None, *target.accepts):
            given = "a checkpoint of codes" if facts.quantization is not None else f"{weights} weights"
            raise InputError(f"{target.name} takes no {given}", fix=f"--weights {', '.join(target.accepts)}")
        return weights or target.default_weights
    if facts.quantization is None:
        if weights == STORED:
            raise InputError("the checkpoint holds no codes to keep: its weights are in float", fix="--weights int4")
        if weights is not None:
            _check_known(weights, target)
        name = recipe_name(weights or target.default_weights, facts.text)
        return name if name == FLOAT32 else load_recipe(name)
    if weights not in (None, STORED):
        raise InputError(
            f"the checkpoint's weights are codes already, so they cannot be made {weights}",
            fix="--weights stored keeps every code, or give the float checkpoint",
        )
    return STORED


def _known(target: Target) -> tuple[str, ...]:
    """Weights that ``target`` takes by name."""
    return target.accepts or tuple(name for name in (FLOAT32, *BUILT_IN) if name not in target.refuses)


def _check_known(weights: str, target: Target) -> None:
    """Raise InputError when ``weights`` is neither a name that ``target`` takes nor a path."""
    if weights not in _known(target) and not is_there(Path(weights)):
        raise InputError(
            f"{target.name} takes no {weights} weights",
            why=f"there is no recipe {weights}: it is no built-in one, and there is no file of this name",
            fix=f"--weights {', '.join(_known(target))}, or the path of a recipe file",
        )


def context_of(context: int | None, target: Target, facts: ModelFacts) -> int:
    """Most tokens of a session, checked. Raises InputError."""
    most = facts.text.max_positions
    if context is None:
        return min(target.context or most, most)
    if not 1 <= context <= most:
        raise InputError(
            f"a context of {context} tokens is not possible: the model has {most:,} positions",
            fix=f"--context between 1 and {most}",
        )
    return context
