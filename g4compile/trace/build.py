"""transformers' module for a config, on the meta device: no weights, no memory."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
import transformers

from g4compile.errors import InputError, MachineError
from g4compile.model.classes import Classes
from g4compile.model.config import ModelFacts


def build(
    classes: Classes, raw: Mapping[str, Any], implementation: str | None = None, dtype: torch.dtype | None = None
) -> tuple[Any, Any]:
    """The config and the module of ``classes`` from the fields ``raw``, which `model_facts` has checked.

    ``implementation`` names that of attention and of experts. Raises MachineError when transformers has no such model,
    and InputError when it does not take the config.
    """
    if not hasattr(transformers, classes.model):
        raise MachineError(
            f"transformers {transformers.__version__} has no {classes.model}", fix="pip install 'transformers>=5.14'"
        )
    try:
        config = getattr(transformers, classes.config)(**raw)
        if implementation is not None:
            config._attn_implementation = config._experts_implementation = implementation
        with torch.device("meta"):
            return config, getattr(transformers, classes.model)._from_config(config, dtype=dtype)
    except Exception as error:  # a field that no schema knows becomes an attribute of the config, and fails in any way
        lines = str(error).splitlines() or [""]
        raise InputError(
            f"transformers cannot make the {classes.model} of this config",
            where=f"config.json, a field that g4compile does not know (transformers {transformers.__version__})",
            why=f"{type(error).__name__}: {' '.join(line.strip() for line in lines[:3])}",
            fix="compare config.json with the published one of this size",
        ) from error


def projection(kind: type[Any], config: Any, facts: ModelFacts, dtype: torch.dtype) -> Any:
    """transformers' module ``kind``, which ends in the embeddings of the decoder of ``facts``, of a part with
    ``config``."""
    with torch.device("meta"):
        return kind(config, SimpleNamespace(hidden_size=facts.text.hidden_size)).to(dtype).eval()
