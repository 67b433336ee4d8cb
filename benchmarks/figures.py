"""The table of `e2b.py`: medians of its figures, and ratios."""

from __future__ import annotations

import statistics

Figures = dict[str, float]
SPEEDS = ("prefill_tokens_per_second", "decode_tokens_per_second")
# What is shown: figure, unit, digits.
SHOWN = {
    "load, s": ("load_s", 1, 2),
    "prefill, tokens/s": ("prefill_tokens_per_second", 1, 1),
    "% of int8 limit": ("prefill_share", 0.01, 1),
    "prefill, planned": ("planned_prefill_tokens_per_second", 1, 1),
    "decode, tokens/s": ("decode_tokens_per_second", 1, 1),
    "% of read limit": ("decode_share", 0.01, 1),
    "decode, planned": ("planned_decode_tokens_per_second", 1, 1),
    "resident, GB": ("resident_bytes", 1e9, 3),
    "anonymous, GB": ("anonymous_bytes", 1e9, 3),
    "above weights, GB": ("resident_above_weights_bytes", 1e9, 3),
    "peak, GB": ("peak_resident_bytes", 1e9, 3),
    "read, GB/s": ("read_limit", 1e9, 1),
    "int8, GOP/s": ("int8_limit", 1e9, 0),
}


def medians(rounds: list[Figures]) -> Figures:
    """Of what are numbers."""
    numbers = [name for name, value in rounds[0].items() if isinstance(value, int | float)]
    return {name: statistics.median(one[name] for one in rounds) for name in numbers}


def ratios(found: dict[str, Figures]) -> dict[str, Figures]:
    """Speeds of each bundle over those of what it stands beside: the same recipe with ONNX Runtime's kernels, other
    runtimes."""
    pairs = [
        (name, beside)
        for name in found
        for beside in found
        if ", " in name and (", " not in beside or (name, beside) == _both_kernels(name))
    ]
    return {
        f"{name} / {beside}": {one: found[name][one] / found[beside][one] for one in SPEEDS} for name, beside in pairs
    }


def _both_kernels(name: str) -> tuple[str, str]:
    recipe = name.partition(", ")[0]
    return f"{recipe}, g4ops", f"{recipe}, onnxruntime"


def show(found: dict[str, Figures]) -> None:
    first = max(map(len, found))
    print(" " * first, *SHOWN, sep="  ")
    for name, figures in found.items():
        shown = [
            (f"{figures[key] / unit:,.{digits}f}" if key in figures else "").rjust(len(title))
            for title, (key, unit, digits) in SHOWN.items()
        ]
        print(name.ljust(first), *shown, sep="  ")
    for name, pair in ratios(found).items():
        print(f"{name}: prefill {pair[SPEEDS[0]]:.2f}, decode {pair[SPEEDS[1]]:.2f}")
