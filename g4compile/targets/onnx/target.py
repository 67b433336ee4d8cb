"""The ONNX targets: standard ops (opset 24) with float32 activations, for ONNX Runtime's CPU provider.

No float16 activations: half of the CPU kernels lack them. Phones run the same provider (its full Android and iOS
packages have the contributed kernels for codes; the NNAPI and CoreML providers take none of these ops), so
`onnx-mobile` has the same ops and lowerings. What differs is what fits: weights in Google's mobile layout, a KV state
for 4,096 tokens, and no float32 weights.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from g4compile.bundle.folder import Bundle
from g4compile.model.config import TextFacts
from g4compile.passes.canonicalize_constants import CanonicalizeConstants
from g4compile.passes.canonicalize_dead_code import CanonicalizeDeadCode
from g4compile.passes.legalize import Legalize
from g4compile.passes.lower_moe_to_gather_scatter import LowerMoEToGatherScatter
from g4compile.pipeline import Phase
from g4compile.runtime.session import Session
from g4compile.targets.base import REWIND, Candidates, Emitted, Lowered, Options, Order, Target, Variant
from g4compile.targets.onnx.bundle import emit_bundle
from g4compile.targets.onnx.legal import DTYPES, LEGAL
from g4compile.targets.onnx.lower_quantized_weights import LowerQuantizedWeights
from g4compile.targets.onnx.lowerings import LOWERINGS
from g4compile.targets.phases import frontend


class OnnxTarget(Target):
    """ONNX graphs `embed` and `decoder` over one data file."""

    def __init__(
        self,
        name: str,
        default_weights: str = "float32",
        context: int | None = None,
        refuses: dict[str, str] | None = None,
    ) -> None:
        self.name, self.default_weights, self.context = name, default_weights, context
        self.refuses = refuses or {}

    def legalize(self) -> Legalize:
        return Legalize(self.name, LEGAL, LOWERINGS, DTYPES)

    def phases(self, facts: TextFacts, options: Options, variant: Variant) -> tuple[Phase, ...]:
        passes = (
            LowerMoEToGatherScatter(layers=len(facts.layers) if facts.moe else 0),
            LowerQuantizedWeights(),
            self.legalize(),
            CanonicalizeConstants(),
            CanonicalizeDeadCode(),
        )
        shared = frontend(facts, REWIND, options.shared_tail, options.recipe or options.weights, options.kv)
        return (*shared, Phase(self.stage, passes, LEGAL))

    def emit(self, order: Order, lowered: Iterable[Lowered]) -> Emitted:
        (decoder,) = lowered
        return emit_bundle(order, decoder.model)

    def candidates(self, bundle: Bundle, checkpoint: str | Path, threads: int = 0) -> Candidates:
        return Candidates(Session(bundle, threads))


ONNX_CPU = OnnxTarget("onnx-cpu")
ONNX_MOBILE = OnnxTarget("onnx-mobile", "mobile", 4096, {"float32": "they fit no phone"})
