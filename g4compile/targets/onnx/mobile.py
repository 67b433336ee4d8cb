"""The `onnx-mobile` target: what `onnx-cpu` emits, with a phone's defaults.

Phones run ONNX Runtime's CPU provider too (its full Android and iOS packages have the contributed kernels for codes; the
NNAPI and CoreML providers take none of these ops), so ops and lowerings are the same. What differs is what fits: weights
in Google's mobile layout, a KV state for 4,096 tokens, and no float32 weights, which for the smallest model would be 18 GB.
"""

from __future__ import annotations

from dataclasses import replace

from g4compile.targets.onnx.cpu import onnx_target

ONNX_MOBILE = replace(
    onnx_target("onnx-mobile"), weights="mobile", context=4096, refuses={"float32": "they fit no phone"}
)
