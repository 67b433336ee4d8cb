"""Tokenizers of the published size, 262,144 ids: with 515,000 merges, or those that training gives, about 470,000."""

from __future__ import annotations

import itertools
import json
import random

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from g4compile.synth.tokenizer import SPECIAL
from tests.text_tables.documents import added, document, with_all_merges

IDS, MERGES, PIECES = 262_144, 515_000, 255_000
SYNTHETIC_SPLIT = document()["pre_tokenizer"]
_FIRST_BYTE = 238
_SYLLABLES = [
    one + other
    for one in ("", "b", "d", "g", "k", "l", "m", "n", "r", "s", "t")
    for other in ("a", "e", "i", "o", "u", "ai", "ou", "er", "an", "in", "on", "é", "ü")
]


def laid_out(pieces, pre_tokenizer):
    """A file with ``pieces`` around special tokens and bytes at their published ids; other ids are `<unusedN>`. Runs of
    newlines and spaces are added tokens that are not special, as the unused ones are."""
    fixed = {**SPECIAL, **{_FIRST_BYTE + byte: f"<0x{byte:02X}>" for byte in range(256)}}
    runs = [one * count for one in ("\n", "\u2581") for count in range(1, 32)]
    free = iter(index for index in range(IDS) if index not in fixed)
    vocabulary = {token: index for index, token in fixed.items()}
    for piece in dict.fromkeys([*runs, *pieces]):
        if piece not in vocabulary:
            vocabulary[piece] = next(free)
    unused = {f"<unused{index}>": index for index in free}
    changed = document()
    changed["model"]["vocab"] = {**vocabulary, **unused}
    changed["model"]["merges"] = []
    changed["added_tokens"] = [added(token, special=True) for token in SPECIAL.values()]
    changed["added_tokens"] += [added(token) for token in [*(run for run in runs if len(run) > 1), *unused]]
    changed["pre_tokenizer"] = pre_tokenizer
    return changed


def trained_pieces():
    """Of generated words, which share syllables, so that most pieces can be made in several ways."""
    source = random.Random(5)
    words = ["".join(source.choices(_SYLLABLES, k=source.choice([1, 1, 2, 2, 3, 3, 4, 5]))) for _ in range(400_000)]
    words += [
        "".join(chr(source.randrange(0x4E00, 0x4E00 + 3000)) for _ in range(source.randrange(1, 4)))
        for _ in range(60_000)
    ]
    lines = [" ".join(words[at : at + 50]) for at in range(0, len(words), 50)]
    lines += [" ".join(words[int(len(words) * source.random() ** 3)] for _ in range(30)) for _ in range(60_000)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(SYNTHETIC_SPLIT["pattern"]["Regex"]), behavior="isolated")
    trainer = trainers.BpeTrainer(vocab_size=PIECES, show_progress=False, min_frequency=1)
    tokenizer.train_from_iterator(lines, trainer)
    vocabulary = json.loads(tokenizer.to_str())["model"]["vocab"]
    return sorted(vocabulary, key=vocabulary.__getitem__)


def trained(pre_tokenizer):
    """Merges are all pairs that make a piece, as converters from SentencePiece write them."""
    return with_all_merges(laid_out(trained_pieces(), pre_tokenizer))


def constructed(pre_tokenizer):
    """Without training: all words of up to four of 22 letters, and the first merges that make them."""
    words = ("".join(word) for size in range(1, 5) for word in itertools.product("abcdefghijklmnopqrstuv", repeat=size))
    pieces = list(words)
    made = laid_out(pieces, pre_tokenizer)
    merges = ([piece[:cut], piece[cut:]] for piece in pieces for cut in range(1, len(piece)))
    made["model"]["merges"] = list(itertools.islice(merges, MERGES))
    return made
