"""Speed and error of the quantisers: MB of bfloat16 weights a second on one core, root mean square error over that of
the weights, for normal weights in rows of 6144.

    python benchmarks/quantize.py
"""

from __future__ import annotations

import json
import statistics
import time

import ml_dtypes
import numpy as np

from g4compile.bundle.weight_steps import widen
from g4compile.weights.formats.blocks import BlockFormat
from g4compile.weights.quantize import QUANTIZERS

ROWS, COLUMNS, AT_ONCE, REPEATS = 512, 6144, 16, 5
FORMS = [BlockFormat(*each) for each in ((8, 128), (4, 128), (4, 32), (4, 32, False), (4, 0), (2, 128), (2, 64, False))]


def main() -> None:
    stored = np.random.default_rng(0).standard_normal((ROWS, COLUMNS), np.float32).astype(ml_dtypes.bfloat16)
    pieces = [stored[start : start + AT_ONCE] for start in range(0, ROWS, AT_ONCE)]
    found = []
    for form in FORMS:
        for name, quantizer in QUANTIZERS.items():
            seconds = []
            for _ in range(REPEATS):
                start = time.perf_counter()
                made = [quantizer(widen(piece), form) for piece in pieces]
                seconds.append(time.perf_counter() - start)
            restored = np.concatenate([form.dequantize(codes, COLUMNS) for codes in made])
            weights = widen(stored)
            found.append(
                {
                    "format": str(form),
                    "quantizer": name,
                    "mb_per_second": round(stored.nbytes / statistics.median(seconds) / 1e6),
                    "relative_error": round(
                        float(np.sqrt(((restored - weights) ** 2).mean() / (weights**2).mean())), 4
                    ),
                }
            )
    print("\n".join(json.dumps(row) for row in found))


if __name__ == "__main__":
    main()
