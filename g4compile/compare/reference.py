"""The judge: the Hugging Face module, eager, in float32, loaded by transformers' own loader."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from g4compile.bundle.kv import BFLOAT16, FLOAT32, INT8
from g4compile.errors import CheckpointError, InputError
from g4compile.model.keys import stored_key
from g4compile.runtime.prompt import Prompt
from g4compile.weights.checkpoint import Checkpoint
from g4compile.weights.fit import check_contents

Logits = np.ndarray[Any, Any]


class Reference:
    """HF eager float32 over a checkpoint folder, with a KV cache. Holds the whole model in memory."""

    def __init__(self, checkpoint: str | Path, weights: Iterable[tuple[str, Logits]] = (), kv: str = "float32") -> None:
        """``weights``: by checkpoint key, what to put in the place of the stored ones. ``kv``: int8 rounds keys and
        values as `ops/quantize_kv.py` does, bfloat16 to the nearest number of that type, before they are kept or read.
        Raises CheckpointError and InputError for a checkpoint that a compile would refuse, too, and for ``weights``
        that are not this checkpoint's."""
        import torch

        source = Checkpoint.open(checkpoint)  # transformers would follow links out, and wait for pipes
        check_contents(source)
        facts = source.facts
        self.model = _loaded(source)
        parameters = {
            stored_key(name, facts): parameter
            for name, parameter in self.model.named_parameters(remove_duplicate=False)
        }
        with torch.no_grad():
            for key, array in weights:
                if key == "lm_head.weight":  # its own, also where the table is tied
                    self.model.lm_head.weight = torch.nn.Parameter(torch.from_numpy(array))
                elif key not in parameters or parameters[key].shape != array.shape:
                    raise InputError(
                        f"the bundle has a weight {key} of the shape {list(array.shape)}, and the checkpoint has none",
                        where=str(source.folder),
                        fix="give the checkpoint that the bundle was compiled from",
                    )
                else:
                    parameters[key].copy_(torch.from_numpy(array))
        self._round, self.vocabulary = _ROUNDINGS[kv], facts.text.vocab_size
        self.reset()

    @property
    def layers(self) -> Any:
        """The decoder layers, for hooks."""
        inner = self.model.model
        return getattr(inner, "language_model", inner).layers

    def reset(self) -> None:
        config = self.model.config.get_text_config()
        self._cache: Any = _rounded_cache(config, self._round) if self._round is not None else None

    def unrounded(self, input_ids: Logits) -> Logits:
        """float32 logits [B, S, V] of a new conversation whose keys and values are not rounded."""
        import torch

        with torch.no_grad():
            logits: Logits = self.model(input_ids=torch.from_numpy(input_ids), use_cache=True).logits.numpy()
        return logits

    def answer(self, prompt: Prompt, features: Logits) -> Logits:
        """float32 logits [1, S, V] of a new conversation that begins with ``prompt``, whose image, or sound, has
        the ``features`` [tokens, H]."""
        import torch

        from g4compile.compare.media_reference import hf_inputs, with_features

        self.reset()
        with torch.no_grad(), with_features(self.model, features):
            out = self.model(**hf_inputs(self.model.config, prompt), past_key_values=self._cache, use_cache=True)
        logits: Logits = out.logits.numpy()
        return logits

    def features(self, prompt: Prompt) -> Logits:
        """Features float32 [tokens, H] of the one image, or the one sound, of ``prompt``."""
        from g4compile.compare.media_reference import audio_features, image_features

        if prompt.images:
            return image_features(self.model, prompt.images)[0]
        return audio_features(self.model, prompt.audios)[0]

    def forward(self, input_ids: Logits) -> Logits:
        """Append int64 [B, S] to the cache; float32 logits [B, S, V] of all positions. Raises InputError for ids that
        the model does not have."""
        import torch

        if input_ids.size and not 0 <= input_ids.min() <= input_ids.max() < self.vocabulary:
            raise InputError(f"token ids are out of range: they go from 0 to {self.vocabulary - 1}")
        with torch.no_grad():
            out = self.model(input_ids=torch.from_numpy(input_ids), past_key_values=self._cache, use_cache=True)
        self._cache = out.past_key_values
        logits: Logits = out.logits.numpy()
        return logits


def _loaded(source: Checkpoint) -> Any:
    """The module of ``source``, from its config and safetensors files alone."""
    import torch
    import transformers

    logging.getLogger("transformers").setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # the loader draws its progress bars there
            return (
                getattr(transformers, source.facts.architecture)
                .from_pretrained(
                    source.folder,
                    dtype=torch.float32,
                    attn_implementation="eager",
                    experts_implementation="eager",
                    use_safetensors=True,
                    generation_config=transformers.GenerationConfig(),  # else it reads the file of this name
                )
                .eval()
            )
    except (ImportError, MemoryError, OSError):  # of the machine
        raise
    except Exception as error:  # a field that no schema knows becomes an attribute of the config, and fails in any way
        raise CheckpointError(
            "transformers cannot load this checkpoint",
            where=str(source.folder),
            why=f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}",
            fix="compare config.json with the published one of this size",
        ) from error


def _rounded_cache(config: Any, rounded: Callable[[Any], Any]) -> Any:
    """HF's own cache, its keys and values rounded on their way in."""
    import transformers

    class RoundedCache(transformers.DynamicCache):
        def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> Any:
            return super().update(rounded(key_states), rounded(value_states), *args, **kwargs)

    return RoundedCache(config=config)


def _to_codes(x: Any) -> Any:
    scale = x.abs().amax(-1, keepdim=True) / 127
    safe = scale.masked_fill(scale == 0, 1)
    return (x / safe).round() * scale


def _to_bfloat16(x: Any) -> Any:
    return x.bfloat16().to(x.dtype)  # to nearest, halves to even


_ROUNDINGS: dict[str, Callable[[Any], Any] | None] = {FLOAT32: None, BFLOAT16: _to_bfloat16, INT8: _to_codes}
