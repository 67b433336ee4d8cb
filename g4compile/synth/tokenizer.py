"""A small working tokenizer, made as Gemma's is: byte-fallback BPE, its special tokens at the published ids.

Spaces are written as U+2581, unknown characters as byte tokens `<0x00>` to `<0xFF>`. Trained on bundled text;
ids that training does not fill are `<unusedN>`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

# Ids of the published tokenizer that a model's behaviour depends on.
SPECIAL = {
    0: "<pad>",
    1: "<eos>",
    2: "<bos>",
    3: "<unk>",
    4: "<mask>",
    46: "<|tool>",
    47: "<tool|>",
    48: "<|tool_call>",
    49: "<tool_call|>",
    50: "<|tool_response>",
    51: "<tool_response|>",
    52: '<|"|>',
    98: "<|think|>",
    100: "<|channel>",
    101: "<channel|>",
    105: "<|turn>",
    106: "<turn|>",
}
_MODAL = {
    "boi_token_id": "<|image>",
    "image_token_id": "<|image|>",
    "eoi_token_id": "<image|>",
    "boa_token_id": "<|audio>",
    "audio_token_id": "<|audio|>",
    "eoa_token_id": "<audio|>",
    "video_token_id": "<|video|>",
}
_NEWLINE, _FIRST_BYTE, _SPACE = 107, 238, "\u2581"
SMALLEST_VOCABULARY = 600

# As transformers' processors ask a tokenizer for them.
_NAMES = {
    "boi_token_id": "boi_token",
    "image_token_id": "image_token",
    "eoi_token_id": "eoi_token",
    "boa_token_id": "boa_token",
    "audio_token_id": "audio_token",
    "eoa_token_id": "eoa_token",
}


def write_tokenizer(folder: Path, config: Mapping[str, Any], vocab_size: int) -> bool:
    """Write tokenizer, template and generation files. False when ``vocab_size`` is too small to hold the bytes."""
    generation = {
        "bos_token_id": 2,
        "do_sample": True,
        "eos_token_id": [1, 106, 50],
        "pad_token_id": 0,
        "temperature": 1.0,
        "top_k": 64,
        "top_p": 0.95,
    }
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n", encoding="utf-8")
    if vocab_size < SMALLEST_VOCABULARY:
        return False
    _build(config, vocab_size).save(str(folder / "tokenizer.json"))
    template = resources.files("g4compile.synth").joinpath("chat_template.jinja").read_text(encoding="utf-8")
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    names = {
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
        **{_NAMES[key]: token for _, key, token in _modal(config, vocab_size) if key in _NAMES},
    }
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "padding_side": "left",
        "model_max_length": 1 << 30,
        **names,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    return True


def _build(config: Mapping[str, Any], vocab_size: int) -> Tokenizer:
    special = {**SPECIAL, **{index: token for index, _, token in _modal(config, vocab_size)}}
    fixed = {**special, _NEWLINE: "\n", **{_FIRST_BYTE + byte: f"<0x{byte:02X}>" for byte in range(256)}}
    pieces, merges = _train(min(vocab_size - len(fixed), 4096))
    free = iter(index for index in range(vocab_size) if index not in fixed)
    vocabulary = {token: index for index, token in fixed.items()}
    for piece in pieces:
        if piece not in vocabulary:
            vocabulary[piece] = next(free)
    vocabulary.update({f"<unused{index}>": index for index in free})
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Replace(" ", _SPACE)
    tokenizer.pre_tokenizer = _words()
    tokenizer.decoder = decoders.Sequence([decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for _, token in sorted(special.items())]
    )
    return tokenizer


def _modal(config: Mapping[str, Any], vocab_size: int) -> list[tuple[int, str, str]]:
    """Id, field of the config and text of the tokens of other modalities that the vocabulary has."""
    found = ((config.get(key), key, token) for key, token in _MODAL.items())
    return [(index, key, token) for index, key, token in found if isinstance(index, int) and index < vocab_size]


def _train(budget: int) -> tuple[list[str], list[tuple[str, str]]]:
    text = resources.files("g4compile.synth").joinpath("text.txt").read_text(encoding="utf-8")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Replace(" ", _SPACE)
    tokenizer.pre_tokenizer = _words()
    tokenizer.train_from_iterator([text], trainers.BpeTrainer(vocab_size=budget, show_progress=False))
    model = json.loads(tokenizer.to_str())["model"]
    pieces = sorted(model["vocab"], key=model["vocab"].__getitem__)
    merges = [tuple(merge) if isinstance(merge, list) else tuple(merge.split(" ")) for merge in model["merges"]]
    return pieces, merges


def _words() -> pre_tokenizers.PreTokenizer:
    """Merges never cross a word, a newline or a digit, as in the published vocabulary."""
    return pre_tokenizers.Split(Regex(f"{_SPACE}?[^{_SPACE}\\n0-9]+|[0-9]|\\n|{_SPACE}+"), behavior="isolated")
