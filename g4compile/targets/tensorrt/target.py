"""The `tensorrt-rtx` and `tensorrt` targets: one emitter, two editions of TensorRT.

TensorRT-RTX builds for RTX-class GPUs on any machine; full TensorRT builds on the GPU that it builds for. Both get the
same networks: bfloat16 with float32 where it matters, weights as network inputs, caches updated in place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from g4compile.bundle.folder import Bundle
from g4compile.errors import Defect
from g4compile.model.config import ALL_BLOCKS, ModelFacts, TextFacts
from g4compile.model.contents import AUDIO as AUDIO_PART
from g4compile.model.contents import VISION
from g4compile.model.towers import TowerFacts
from g4compile.passes.base import Pass
from g4compile.passes.canonicalize_constants import CanonicalizeConstants
from g4compile.passes.canonicalize_dead_code import CanonicalizeDeadCode
from g4compile.passes.insert_float32_logits import InsertFloat32Logits
from g4compile.passes.insert_top_tokens import InsertTopTokens
from g4compile.passes.legalize import Legalize
from g4compile.passes.lower_moe_to_gather_scatter import LowerMoEToGatherScatter
from g4compile.passes.lower_to_bfloat16 import LowerToBfloat16
from g4compile.passes.quantize_weights import QuantizeWeights
from g4compile.passes.schedule_step import ScheduleStep
from g4compile.passes.schedule_tensor_parallel import ScheduleTensorParallel
from g4compile.pipeline import Phase
from g4compile.requirements import COMPILE
from g4compile.targets.base import TEXT, Candidates, Emitted, Lowered, Options, Order, Target, Variant
from g4compile.targets.fused.fuse_stream_products import FuseStreamProducts
from g4compile.targets.fused.lower_experts_to_kernels import LowerExpertsToKernels
from g4compile.targets.phases import encoder, frontend, with_image_blocks
from g4compile.targets.tensorrt.attention_forms import FORMS
from g4compile.targets.tensorrt.bundle import emit_engines
from g4compile.targets.tensorrt.edition import FULL, RTX, Edition
from g4compile.targets.tensorrt.encoders import encoder_passes
from g4compile.targets.tensorrt.fuse_sibling_products import FuseSiblingProducts
from g4compile.targets.tensorrt.legal import DTYPES, LEGAL, LEGAL_WITH_PLUGINS
from g4compile.targets.tensorrt.lower_to_plugins import LowerToPlugins
from g4compile.targets.tensorrt.lowerings import lowerings
from g4compile.targets.tensorrt.options import AUDIO, BFLOAT16, IMAGE, EngineOptions
from g4compile.targets.tensorrt.quantize_engine_weights import QuantizeEngineWeights
from g4compile.targets.tensorrt.steps import KERNELS, Step, steps
from g4compile.weights.formats.float8 import FP8
from g4compile.weights.formats.int4 import INT4


class EngineTarget(Target):
    """Engines of ``edition``."""

    options_class = EngineOptions
    default_weights = BFLOAT16
    kv = (BFLOAT16,)
    context = 8192
    modalities = (TEXT, IMAGE, AUDIO)
    default_modalities = (TEXT,)  # images may cost rings: `Capacities.whole`
    traces_apart = True

    def __init__(self, edition: Edition) -> None:
        self.name, self.edition = edition.target, edition
        self.accepts = tuple(one for one in (BFLOAT16, INT4, FP8) if one not in edition.refuses)
        self.refuses = dict(edition.refuses)
        self.extras = (COMPILE, edition.target)

    @property
    def legal(self) -> frozenset[str]:
        """Ops that may stay in its graphs."""
        return LEGAL_WITH_PLUGINS if self.edition.plugins else LEGAL

    def legalize(self) -> Legalize:
        return Legalize(self.name, self.legal, lowerings(FORMS[0], self.edition.fused), DTYPES)

    def check(self, facts: ModelFacts, options: Options) -> None:
        self.edition.check(facts, engine_options(options))

    def check_machine(self) -> None:
        self.edition.gpu()

    def steps(self, options: EngineOptions) -> tuple[Step, ...]:
        """The kinds of steps that a bundle has engines for."""
        return steps(options.capacities, self.edition.plugins)

    def variants(self, facts: ModelFacts, options: Options) -> Sequence[Variant]:
        engines = engine_options(options)
        ranks = range(engines.tensor_parallel)
        form = engines.attention_forms[0]
        decoder = (Variant("decoder", step.name, rank, form) for step in self.steps(engines) for rank in ranks)
        return *decoder, Variant(VISION), Variant(AUDIO_PART)

    def phases(self, facts: TextFacts | TowerFacts, options: Options, variant: Variant) -> tuple[Phase, ...]:
        engines = engine_options(options)
        if not isinstance(facts, TextFacts):
            passes = encoder_passes(facts, self.legalize())
            return (*encoder(facts), Phase(self.stage, passes, self.legal))
        step = next(step for step in self.steps(engines) if step.name == variant.name)
        blocks = facts.image_blocks if IMAGE in options.modalities else ""
        shared = frontend(facts, 0, engines.shared_tail, ring=engines.capacities.ring(facts), rotate_first=True)
        if self.codes_in_kernels(engines):  # rows are looked up by the host, in the checkpoint's table
            shared = (*shared[:-1], Phase.to("quantized", QuantizeWeights(INT4, BFLOAT16, lookups=0)))
        flash = step.flash and blocks != ALL_BLOCKS  # the kernel's mask is causal
        return *with_image_blocks(shared, blocks), self._phase(facts, engines, replace(step, flash=flash), variant)

    def codes_in_kernels(self, options: EngineOptions) -> bool:
        """Whether 4-bit codes are read by kernels of ours, and not by TensorRT."""
        return self.edition.plugins and options.weights == INT4

    def _kernels(self, facts: TextFacts, options: EngineOptions, step: Step) -> list[Pass]:
        """To ops of kernels of ours: experts, and what is around products of codes. Everything is float32 yet."""
        passes = list[Pass]()
        if facts.moe and step.experts == KERNELS:
            passes += [LowerExpertsToKernels(layers=len(facts.layers)), CanonicalizeDeadCode()]
        if self.codes_in_kernels(options):
            passes += [FuseSiblingProducts(), FuseStreamProducts(), CanonicalizeDeadCode()]
        return passes

    def _phase(self, facts: TextFacts, options: EngineOptions, step: Step, variant: Variant) -> Phase:
        """[quantized] to the legal graph of one step, attention in the variant's form."""
        batch = options.batch if options.batch == 1 else 0
        moe = len(facts.layers) if facts.moe else 0
        sums = 2 * len(facts.layers) + moe  # behind attention, the MLP and the experts of every layer
        ranks = options.tensor_parallel
        split: list[Pass] = [] if ranks == 1 else [ScheduleTensorParallel(ranks=ranks, rank=variant.rank, sums=sums)]
        in_kernels, kernels = self.codes_in_kernels(options), self._kernels(facts, options, step)
        native = moe if step.experts != KERNELS else 0  # layers whose experts are ops of TensorRT's own
        quantize: list[Pass] = []
        if options.weights in (INT4, FP8) and not in_kernels:
            quantize = [QuantizeEngineWeights(format=options.weights)]
        chosen = lowerings(variant.form, self.edition.fused, step.flash, options.batch, step.tokens)
        passes: tuple[Pass, ...] = (
            ScheduleStep(tokens=step.tokens, keep=step.keep, batch=batch, capacity=options.context),
            *split,
            *kernels,
            LowerToBfloat16(layers=native),
            *([LowerToPlugins(sequences=options.batch, tokens=step.tokens)] if kernels else []),
            *([] if in_kernels else [InsertFloat32Logits()]),
            InsertTopTokens(),
            *quantize,
            *([LowerMoEToGatherScatter(layers=moe, form=step.experts)] if native else []),
            Legalize(self.name, self.legal, chosen, DTYPES),
            CanonicalizeConstants(),
            CanonicalizeDeadCode(),
        )
        return Phase(self.stage, passes, self.legal)

    def emit(self, order: Order, lowered: Iterable[Lowered]) -> Emitted:
        options = engine_options(order.options)
        return emit_engines(self.edition, order, options, self.steps(options), lowered)

    def candidates(self, bundle: Bundle, checkpoint: str | Path, threads: int = 0) -> Candidates:
        from g4compile.targets.tensorrt.interpreter.candidates import network_candidates  # torch is loaded there

        return network_candidates(self, bundle, checkpoint)


def engine_options(options: Options) -> EngineOptions:
    """``options``, which the target made itself."""
    if not isinstance(options, EngineOptions):
        raise Defect("engines were given the options of another target")
    return options


TENSORRT_RTX = EngineTarget(RTX)
TENSORRT = EngineTarget(FULL)
