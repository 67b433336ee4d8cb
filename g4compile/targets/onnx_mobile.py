"""The `onnx-mobile` target: what `onnx-cpu` emits, with a phone's defaults.

Phones run ONNX Runtime's CPU provider too (its full Android and iOS packages have the contributed kernels for codes; the
NNAPI and CoreML providers take none of these ops), so ops and lowerings are the same. What differs is what fits: weights
in Google's mobile layout, a KV state for 4,096 tokens, and no float32 weights, which for the smallest model would be 18 GB.
"""

from __future__ import annotations

from dataclasses import replace

from g4compile.config import TextFacts
from g4compile.pipeline import Phase
from g4compile.targets.onnx_cpu import ONNX_CPU, backend


def _backend(facts: TextFacts) -> tuple[Phase, ...]:
    return backend(ONNX_MOBILE, facts)


ONNX_MOBILE = replace(
    ONNX_CPU,
    name="onnx-mobile",
    weights="mobile",
    context=4096,
    refuses={"float32": "they fit no phone"},
    backend=_backend,
)
