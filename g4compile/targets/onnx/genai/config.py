"""`genai_config.json`: by which onnxruntime-genai knows a model, its graphs and how tokens are drawn."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from g4compile.bundle.genai_consistency import CONFIG
from g4compile.model.config import TextFacts
from g4compile.targets.base import Order


SLACK = 16  # slots beside the window that a sliding layer has there
CHUNK = 256  # new tokens of a call, of a prompt's first: the values between nodes take memory in proportion
MAX_LENGTH = 4096  # tokens that caches are made for where nobody asks for more
_SETTINGS = "generation_config.json"
# Fields of `generation_config.json` that mean the same there, and the types that they may have.
_SEARCH: Mapping[str, tuple[type, ...]] = {
    "do_sample": (bool,),
    "temperature": (int, float),
    "top_k": (int,),
    "top_p": (int, float),
    "repetition_penalty": (int, float),
}


def genai_config(order: Order) -> bytes:
    """The file of a package with the decoder of ``order``."""
    text, context = order.facts.text, order.options.context
    stops = dict.fromkeys([*text.eos_token_ids, *order.side.stop_token_ids])
    config = {
        "model": {
            "type": "gemma4_text",
            "vocab_size": text.vocab_size,
            "context_length": context,
            "bos_token_id": text.bos_token_id,
            "eos_token_id": list(stops),
            "pad_token_id": text.pad_token_id,
            "decoder": _decoder(text),
        },
        "search": {
            **_drawing(order.side.files.get(_SETTINGS, b"{}")),
            "max_length": min(context, MAX_LENGTH),
            "past_present_share_buffer": True,
            "chunk_size": CHUNK,
        },
    }
    return (json.dumps(config, indent=2) + "\n").encode()


def _decoder(text: TextFacts) -> dict[str, Any]:
    sliding = [layer for layer in text.kv_layers if layer.window is not None]
    decoder: dict[str, Any] = {
        "filename": "decoder.onnx",
        "session_options": {"provider_options": []},
        "hidden_size": text.hidden_size,
        "num_hidden_layers": len(text.layers),
        "num_attention_heads": text.heads,
        "num_key_value_heads": text.kv_layers[0].kv_heads,  # caches have the sizes of the graph's inputs
        "head_size": text.kv_layers[0].head_dim,
        "inputs": {
            "input_ids": "input_ids",
            "attention_mask": "attention_mask",
            "position_ids": "position_ids",
            "past_key_names": "past_key_values.%d.key",
            "past_value_names": "past_key_values.%d.value",
        },
        "outputs": {
            "logits": "logits",
            "present_key_names": "present.%d.key",
            "present_value_names": "present.%d.value",
        },
    }
    if sliding:
        decoder["sliding_window"] = {
            "window_size": sliding[0].window,
            "layers": [layer.index for layer in sliding],
            "slide_key_value_cache": False,
            "slide_inputs": False,
        }
    return decoder


def _drawing(settings: bytes) -> dict[str, Any]:
    """How tokens are drawn, as `generation_config.json` says; fields of other types are left out."""
    given = json.loads(settings)
    return {
        name: given[name]
        for name, kinds in _SEARCH.items()
        if name in given and isinstance(given[name], kinds) and isinstance(given[name], bool) == (kinds == (bool,))
    }
