"""Tokens of prompts that hold images, audio or videos: as the tokenizer's files and the config name them.

Source: transformers `processing_gemma4.py` (Gemma4Processor.__init__), which asks the tokenizer for all of them but the
token of videos.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from g4compile.bundle.media import MediaTokens, TokenSpec
from g4compile.errors import CheckpointError
from g4compile.inputs.documents import shown
from g4compile.model import schema
from g4compile.model.fields import read_fields

# Names that tokenizer_config.json has for the tokens, and what published ones say.
_TOKENS = {
    "image_token": "<|image|>",
    "audio_token": "<|audio|>",
    "boi_token": "<|image>",
    "eoi_token": "<image|>",
    "boa_token": "<|audio>",
    "eoa_token": "<audio|>",
}
_FIX = "take the file of the published checkpoint"
_VIDEO_TOKEN = "<|video|>"  # transformers' processor has it written in its code


def placeholder_ids(config: Mapping[str, Any]) -> dict[str, int]:
    """Ids of the tokens that stand for outputs of encoders, by the names of their fields in ``config``. Raises
    InputError."""
    fields = read_fields(config, schema.PLACEHOLDERS, "config.json")
    return {name: schema.PLACEHOLDERS[name].default if found is None else found for name, found in fields.items()}


def media_tokens(config: Mapping[str, Any], settings: Mapping[str, Any], where: Path) -> MediaTokens:
    """Those of a model with this ``config``, and with these ``settings`` in the tokenizer_config.json at ``where``.

    Raises InputError, and CheckpointError for a token that is no word and for two that are one.
    """
    ids = placeholder_ids(config)
    for nested in ("extra_special_tokens", "model_specific_special_tokens"):
        if isinstance(settings.get(nested), dict):
            settings = {**settings, **settings[nested]}
    words = {
        "video": _VIDEO_TOKEN,
        **{name: _word(name, settings.get(name, published), where) for name, published in _TOKENS.items()},
    }
    for found, file in ((ids, "config.json"), (words, str(where))):
        same = [name for name, value in found.items() if list(found.values()).count(value) > 1]
        if same:
            raise CheckpointError(
                f"{' and '.join(same)} are one token", where=file, why=f"it is {found[same[0]]}", fix=_FIX
            )
    return MediaTokens(
        image=TokenSpec(words["image_token"], ids["image_token_id"]),
        video=TokenSpec(_VIDEO_TOKEN, ids["video_token_id"]),
        audio=TokenSpec(words["audio_token"], ids["audio_token_id"]),
        boi=words["boi_token"],
        eoi=words["eoi_token"],
        boa=words["boa_token"],
        eoa=words["eoa_token"],
    )


def _word(name: str, value: Any, where: Path) -> str:
    text = value.get("content") if isinstance(value, dict) else value
    if isinstance(text, str) and 1 <= len(text) <= 64:
        return text
    raise CheckpointError(
        f"{name} of {where.name} is {shown(value)}",
        where=str(where),
        why="it must be a string of 1 to 64 characters, or an object with one as content",
        fix=_FIX,
    )
