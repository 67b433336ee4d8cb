"""`genai_config.json`: by which onnxruntime-genai knows a model, its graphs and how tokens are drawn.

Source: onnxruntime-genai, `src/config.cpp`, which refuses fields that it does not know.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import onnx_ir as ir

from g4compile.bundle.genai_consistency import AUDIO_FEATURES, IMAGE_FEATURES
from g4compile.bundle.kv import PAST, PRESENT
from g4compile.bundle.manifest import AUDIO, DECODER, EMBED, VISION
from g4compile.model.config import TextFacts
from g4compile.targets.base import Order
from g4compile.targets.onnx.genai.processors import IMAGES, SOUNDS

CHUNK = 256  # new tokens of a call: the values between nodes take memory in proportion
MAX_LENGTH = 4096  # tokens that caches are made for where nobody asks for more
_SLACK = 16  # slots that a sliding layer has there beside its window, or one for each further token of a call
_SETTINGS = "generation_config.json"
# Fields of `generation_config.json` that mean the same there, and the types that they may have.
_SEARCH: Mapping[str, tuple[type, ...]] = {
    "do_sample": (bool,),
    "temperature": (int, float),
    "top_k": (int,),
    "top_p": (int, float),
    "repetition_penalty": (int, float),
}


def genai_config(order: Order, graphs: Mapping[str, ir.Model]) -> bytes:
    """The file of a package with ``graphs`` by part, for the model of ``order``."""
    text, context = order.facts.text, order.options.context
    stops = dict.fromkeys([*text.eos_token_ids, *order.side.stop_token_ids])
    chunk = chunk_of(order)
    config = {
        "model": {
            "type": "gemma4_text" if order.media is None else order.facts.model_type,
            "vocab_size": text.vocab_size,
            "context_length": context,
            "bos_token_id": text.bos_token_id,
            "eos_token_id": list(stops),
            "pad_token_id": text.pad_token_id,
            "decoder": _decoder(text, graphs[DECODER]),
            **_media(order, graphs),
        },
        "search": {
            **_drawing(order.side.files.get(_SETTINGS, b"{}")),
            "max_length": min(context, MAX_LENGTH),
            "past_present_share_buffer": True,
            **({"chunk_size": chunk} if chunk else {}),
        },
    }
    return (json.dumps(config, indent=2) + "\n").encode()


def chunk_of(order: Order) -> int:
    """Most new tokens of a call; 0 for a whole prompt, where the tokens of an image must be in one."""
    return 0 if order.media is not None and order.facts.text.image_blocks else CHUNK


def slots(window: int, order: Order) -> int:
    """Of a sliding layer of ``window`` tokens, with the settings of this package."""
    return window + max(_SLACK, chunk_of(order) - 1)


def _decoder(text: TextFacts, model: ir.Model) -> dict[str, Any]:
    sliding = [layer for layer in text.kv_layers if layer.window is not None]
    read = [str(value.name) for value in model.graph.inputs if not str(value.name).startswith(PAST)]
    decoder: dict[str, Any] = {
        "filename": f"{DECODER}.onnx",
        "session_options": {"provider_options": []},
        "hidden_size": text.hidden_size,
        "num_hidden_layers": len(text.layers),
        "num_attention_heads": text.heads,
        "num_key_value_heads": text.kv_layers[0].kv_heads,  # caches have the sizes of the graph's inputs
        "head_size": text.kv_layers[0].head_dim,
        "inputs": {
            **{name: name for name in read},
            "past_key_names": f"{PAST}%d.key",
            "past_value_names": f"{PAST}%d.value",
        },
        "outputs": {
            "logits": "logits",
            "present_key_names": f"{PRESENT}%d.key",
            "present_value_names": f"{PRESENT}%d.value",
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


def _media(order: Order, graphs: Mapping[str, ir.Model]) -> dict[str, Any]:
    """The graphs beside the decoder; nothing of a package that takes text alone."""
    if order.media is None:
        return {}
    embed = graphs[EMBED].graph
    speech: dict[str, Any] = {"config_filename": ""}  # without a name here it looks for a file of its own choice
    if AUDIO in graphs:
        speech = {
            "filename": f"{AUDIO}.onnx",
            "config_filename": SOUNDS,
            "inputs": {"audio_embeds": "input_features"},
            "outputs": {"audio_features": AUDIO_FEATURES},
        }
    return {
        "image_token_id": order.media.tokens.image.id,
        "vision": {
            "filename": f"{VISION}.onnx",
            "config_filename": IMAGES,
            "inputs": {"pixel_values": "pixel_values", "pixel_position_ids": "pixel_position_ids"},
            "outputs": {"image_features": IMAGE_FEATURES},
        },
        "speech": speech,
        "embedding": {
            "filename": f"{EMBED}.onnx",
            "inputs": {str(value.name): value.name for value in embed.inputs},
            "outputs": {str(value.name): value.name for value in embed.outputs},
        },
    }


def _drawing(settings: bytes) -> dict[str, Any]:
    """How tokens are drawn, as `generation_config.json` says; fields of other types are left out."""
    given = json.loads(settings)
    return {
        name: given[name]
        for name, kinds in _SEARCH.items()
        if name in given and isinstance(given[name], kinds) and isinstance(given[name], bool) == (kinds == (bool,))
    }
