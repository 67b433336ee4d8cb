"""The ONNX targets: standard ops (opset 24) with float32 activations, for ONNX Runtime's CPU provider.

No float16 activations: half of the CPU kernels lack them. Phones run the same provider (its full Android and iOS
packages have the contributed kernels for codes; the NNAPI and CoreML providers take none of these ops), so
`onnx-mobile` has the same ops and lowerings. What differs is what fits: weights in Google's mobile layout, a KV state
for 4,096 tokens, and no float32 weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from g4compile.bundle.folder import Bundle
from g4compile.bundle.kv import BFLOAT16, INT8
from g4compile.bundle.media import MediaSpec
from g4compile.model.config import ModelFacts, TextFacts
from g4compile.model.contents import AUDIO, VISION
from g4compile.model.towers import TowerFacts, VisionFacts
from g4compile.passes.base import Pass
from g4compile.passes.canonicalize_constants import CanonicalizeConstants
from g4compile.passes.canonicalize_dead_code import CanonicalizeDeadCode
from g4compile.passes.legalize import Legalize
from g4compile.passes.lower_moe_to_gather_scatter import LOOP, NATIVE, LowerMoEToGatherScatter
from g4compile.pipeline import Phase
from g4compile.runtime.native import require_library
from g4compile.runtime.session import Session
from g4compile.targets.base import FLOAT32, REWIND, TEXT, Candidates, Emitted, Lowered, Options, Order, Target, Variant
from g4compile.targets.onnx.bundle import emit_bundle, ring_slots
from g4compile.targets.onnx.fuse_gated_products import FuseGatedProducts
from g4compile.targets.onnx.fuse_layer_gates import FuseLayerGates
from g4compile.targets.onnx.fuse_norm_additions import FuseNormAdditions
from g4compile.targets.onnx.fuse_rounded_norms import FuseRoundedNorms
from g4compile.targets.onnx.genai.bundle import emit_package
from g4compile.targets.onnx.genai.phases import package_phases
from g4compile.targets.onnx.genai.side_files import package_files
from g4compile.targets.onnx.kernels import OnnxOptions, kernels_for
from g4compile.targets.onnx.legal import DTYPES, G4OPS_DTYPES, G4OPS_LEGAL, LEGAL
from g4compile.targets.onnx.lower_cached_attention import LowerCachedAttention
from g4compile.targets.onnx.lower_encoder_attention import LowerEncoderAttention
from g4compile.targets.onnx.lower_quantized_weights import G4OPS, ONNXRUNTIME, LowerQuantizedWeights
from g4compile.targets.onnx.lowerings import G4OPS_LOWERINGS, LOWERINGS
from g4compile.targets.onnx.packages import GENAI, check_modalities, check_package
from g4compile.targets.phases import encoder, frontend, with_image_blocks
from g4compile.weights.formats.blocks import BFLOAT16 as BFLOAT16_SCALES
from g4compile.weights.media_tokens import placeholder_ids
from g4compile.weights.side_files import SideFiles


class OnnxTarget(Target):
    """ONNX graphs `embed` and `decoder` over one data file."""

    options_class = OnnxOptions
    kv = (FLOAT32, BFLOAT16, INT8)
    modalities = (TEXT, "image", "audio")

    def __init__(
        self,
        name: str,
        default_weights: str = "float32",
        context: int | None = None,
        refuses: dict[str, str] | None = None,
        packages: tuple[str, ...] = (),
    ) -> None:
        self.name, self.default_weights, self.context = name, default_weights, context
        self.refuses, self.packages = refuses or {}, packages

    def defaults(self, facts: ModelFacts, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        sees = asked.get("package") == GENAI and "image" in facts.modalities
        return {"image_token": placeholder_ids(facts.raw)["image_token_id"]} if sees else {}

    def options(self, **given: Any) -> Options:
        """As every target's; `kernels` that are not given are those that are here. Raises MachineError too."""
        kernels = given.pop("kernels", None)
        made = super().options(**given)
        if isinstance(made, OnnxOptions) and "package" in given:
            check_package(made.package, kernels, made.kv, self.name, self.packages)
            kernels = kernels or ONNXRUNTIME
        return OnnxOptions(**{**vars(made), "kernels": kernels_for(made.weights, kernels, made.kv)})

    def legalize(self) -> Legalize:
        return Legalize(self.name, LEGAL, LOWERINGS, DTYPES)

    def check(self, facts: ModelFacts, options: Options) -> None:
        if _is_package(options):
            check_modalities(options.modalities)
        if _kernels(options) == G4OPS:
            asked = "--kv bfloat16" if options.kv == BFLOAT16 else "--kernels g4ops"
            require_library(f"a compile with {asked}")

    def files(self, side: SideFiles, options: Options, media: MediaSpec | None) -> SideFiles:
        return package_files(side, media) if _is_package(options) else side

    def variants(self, facts: ModelFacts, options: Options) -> Sequence[Variant]:
        return Variant(), Variant(VISION), Variant(AUDIO)

    def phases(self, facts: TextFacts | TowerFacts, options: Options, variant: Variant) -> tuple[Phase, ...]:
        if isinstance(options, OnnxOptions) and options.package:
            return package_phases(self.name, self.stage, facts, options)
        if isinstance(facts, TextFacts):
            return self._decoder(facts, options)
        return self._encoder(facts, options)

    def _encoder(self, facts: TowerFacts, options: Options) -> tuple[Phase, ...]:
        kernels, weights = _kernels(options), options.recipe or options.weights
        after = CanonicalizeConstants(), CanonicalizeDeadCode()
        if kernels == ONNXRUNTIME:
            return (
                *encoder(facts, weights),
                Phase(self.stage, (LowerQuantizedWeights(kernels), self.legalize(), *after), LEGAL),
            )
        legalize = self._with_library()
        passes = (
            LowerEncoderAttention(layers=facts.layers if isinstance(facts, VisionFacts) else 0),
            LowerQuantizedWeights(kernels),
            FuseGatedProducts(),
            FuseNormAdditions(),
            FuseRoundedNorms(),
            legalize,
            *after,
        )
        return (*encoder(facts, weights, BFLOAT16_SCALES), Phase(self.stage, passes, legalize.legal))

    def _decoder(self, facts: TextFacts, options: Options) -> tuple[Phase, ...]:
        kernels, weights = _kernels(options), options.recipe or options.weights
        experts = LowerMoEToGatherScatter(
            layers=len(facts.layers) if facts.moe else 0, form=LOOP if kernels == ONNXRUNTIME else NATIVE
        )
        after = CanonicalizeConstants(), CanonicalizeDeadCode()
        blocks = facts.image_blocks if "image" in options.modalities else ""
        if kernels == ONNXRUNTIME:
            shared = with_image_blocks(frontend(facts, REWIND, options.shared_tail, weights, options.kv), blocks)
            passes: tuple[Pass, ...] = (experts, LowerQuantizedWeights(kernels), self.legalize(), *after)
            return (*shared, Phase(self.stage, passes, LEGAL))
        ring = max(ring_slots(layer) or 0 for layer in facts.layers)
        shared = frontend(facts, REWIND, options.shared_tail, weights, options.kv, ring, product_scales=BFLOAT16_SCALES)
        shared = with_image_blocks(shared, blocks)
        legalize = self._with_library()
        passes = (
            experts,
            LowerCachedAttention(layers=len(facts.layers)),
            LowerQuantizedWeights(kernels),
            FuseGatedProducts(),
            FuseLayerGates(gates=len(facts.layers) if facts.ple_dim else 0),
            FuseNormAdditions(),
            FuseRoundedNorms(),
            legalize,
            *after,
        )
        return (*shared, Phase(self.stage, passes, legalize.legal))

    def _with_library(self) -> Legalize:
        """`legalize`, where the ops of libg4ops stand beside."""
        return Legalize(self.name, LEGAL | G4OPS_LEGAL, G4OPS_LOWERINGS, DTYPES | G4OPS_DTYPES)

    def emit(self, order: Order, lowered: Iterable[Lowered]) -> Emitted:
        models = {one.variant.part: one.model for one in lowered}
        return emit_package(order, models) if _is_package(order.options) else emit_bundle(order, models)

    def candidates(self, bundle: Bundle, checkpoint: str | Path, threads: int = 0) -> Candidates:
        return Candidates(Session(bundle, threads))


def _is_package(options: Options) -> bool:
    return isinstance(options, OnnxOptions) and options.package == GENAI


def _kernels(options: Options) -> str:
    return options.kernels if isinstance(options, OnnxOptions) else ONNXRUNTIME


ONNX_CPU = OnnxTarget("onnx-cpu", packages=(GENAI,))
ONNX_MOBILE = OnnxTarget("onnx-mobile", "mobile", 4096, {"float32": "they fit no phone"})
