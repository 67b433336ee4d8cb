"""Random texts in which a tokenizer can go wrong."""

from __future__ import annotations

from importlib import resources

_WORDS = resources.files("g4compile.synth").joinpath("text.txt").read_text(encoding="utf-8").split()
_EMOJI = ("👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "👍🏽", "❤️", "e\u0301", "\u200d", "\ufe0f")
_REPEATED = "\n0 aé7\u2581\t東😀\r"


def _character(random):
    kind = random.random()
    if kind < 0.5:
        return chr(random.randrange(32, 127))
    if kind < 0.6:
        return chr(random.randrange(0, 32))
    if kind < 0.8:
        return chr(random.choice([random.randrange(*bounds) for bounds in _BLOCKS]))
    number = random.randrange(0x110000)
    return "\u2581" if 0xD800 <= number < 0xE000 else chr(number)


_BLOCKS = ((0xA0, 0x800), (0x4E00, 0x9FFF), (0x1F300, 0x1FAFF), (0xFFF0, 0x10000), (0x10FFF0, 0x110000))


def random_text(random, tokens):
    """A few parts: tokens of ``tokens``, whole and cut; runs of a character, digits; words; all of Unicode."""
    parts = {
        "token": lambda: random.choice(tokens),
        "cut": lambda: random.choice(tokens)[: random.randrange(1, 6)],
        "spaces": lambda: " " * random.randrange(1, 9),
        "run": lambda: random.choice(_REPEATED) * random.randrange(1, 30),
        "digits": lambda: str(random.randrange(10 ** random.randrange(1, 12))),
        "any": lambda: "".join(_character(random) for _ in range(random.randrange(1, 20))),
        "emoji": lambda: random.choice(_EMOJI) * random.randrange(1, 4),
        "words": lambda: " ".join(random.choice(_WORDS) for _ in range(random.randrange(1, 8))),
        "other words": lambda: random.choice(["", " ", "."]).join(random.choice(_WORDS) for _ in range(5)),
    }
    return "".join(parts[random.choice(list(parts))]() for _ in range(random.randrange(10)))


def random_ids(random, ids, most):
    """``ids``, some of them others, up to ``most``, and runs of bytes."""
    return [token if random.random() < 0.8 else random.randrange(most) for token in ids]
