"""Which ops a package for onnxruntime-genai may have: those of ONNX Runtime's CPU provider, and no library's."""

from __future__ import annotations

from g4compile.targets.onnx.legal import LEGAL as STOCK

GENAI_LEGAL = STOCK | {"CumSum", "GatherElements", "Max", "Min", "Not", "ScatterElements"}
