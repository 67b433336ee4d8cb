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
from g4compile.passes.lower_moe_to_gather_scatter import GROUPED, LowerMoEToGatherScatter
from g4compile.passes.lower_to_bfloat16 import LowerToBfloat16
from g4compile.passes.schedule_step import ScheduleStep
from g4compile.passes.schedule_tensor_parallel import ScheduleTensorParallel
from g4compile.pipeline import Phase
from g4compile.requirements import COMPILE
from g4compile.targets.base import TEXT, Candidates, Emitted, Lowered, Options, Order, Target, Variant
from g4compile.targets.phases import encoder, frontend, with_image_blocks
from g4compile.targets.tensorrt.bundle import emit_engines
from g4compile.targets.tensorrt.edition import FULL, RTX, Edition
from g4compile.targets.tensorrt.encoders import encoder_passes
from g4compile.targets.tensorrt.legal import DTYPES, LEGAL, LEGAL_WITH_PLUGINS
from g4compile.targets.tensorrt.lowerings import FUSED_HEAD, lowerings
from g4compile.targets.tensorrt.options import AUDIO, BFLOAT16, IMAGE, EngineOptions
from g4compile.targets.tensorrt.quantize_engine_weights import QuantizeEngineWeights
from g4compile.targets.tensorrt.steps import Step, steps
from g4compile.weights.formats.float8 import FP8
from g4compile.weights.formats.int4 import INT4


class EngineTarget(Target):
    """Engines of ``edition``. ``fused_head``: the widest head that is attended by one layer."""

    options_class = EngineOptions
    default_weights = BFLOAT16
    kv = (BFLOAT16,)
    context = 8192
    accepts = (BFLOAT16, INT4, FP8)
    modalities = (TEXT, IMAGE, AUDIO)
    default_modalities = (TEXT,)  # images may cost rings: `Capacities.whole`
    traces_apart = True

    def __init__(self, edition: Edition, fused_head: int = FUSED_HEAD) -> None:
        self.name, self.edition, self.fused_head = edition.target, edition, fused_head
        self.extras = (COMPILE, edition.target)

    @property
    def legal(self) -> frozenset[str]:
        """Ops that may stay in its graphs."""
        return LEGAL_WITH_PLUGINS if self.edition.plugins else LEGAL

    def legalize(self) -> Legalize:
        return Legalize(self.name, self.legal, lowerings(self.fused_head), DTYPES)

    def check(self, facts: ModelFacts, options: Options) -> None:
        self.edition.check(facts, engine_options(options))

    def check_machine(self) -> None:
        self.edition.gpu()

    def steps(self, options: EngineOptions) -> tuple[Step, ...]:
        """The kinds of steps that a bundle has engines for."""
        weights = options.weights if options.weights in (INT4, FP8) else BFLOAT16
        return steps(options.capacities, weights, self.edition.plugins)

    def variants(self, facts: ModelFacts, options: Options) -> Sequence[Variant]:
        engines = engine_options(options)
        ranks = range(engines.tensor_parallel)
        decoder = (Variant("decoder", step.name, rank) for step in self.steps(engines) for rank in ranks)
        return *decoder, Variant(VISION), Variant(AUDIO_PART)

    def phases(self, facts: TextFacts | TowerFacts, options: Options, variant: Variant) -> tuple[Phase, ...]:
        engines = engine_options(options)
        if not isinstance(facts, TextFacts):
            passes = encoder_passes(facts, self.legalize())
            return (*encoder(facts), Phase(self.stage, passes, self.legal))
        step = next(step for step in self.steps(engines) if step.name == variant.name)
        blocks = facts.image_blocks if IMAGE in options.modalities else ""
        shared = frontend(facts, 0, engines.shared_tail, ring=engines.capacities.ring(facts), rotate_first=True)
        flash = step.flash and blocks != ALL_BLOCKS  # the kernel's mask is causal
        return *with_image_blocks(shared, blocks), self._phase(facts, engines, replace(step, flash=flash), variant.rank)

    def _phase(self, facts: TextFacts, options: EngineOptions, step: Step, rank: int) -> Phase:
        """[quantized] to the legal graph of one step."""
        batch = options.batch if options.batch == 1 else 0
        moe = len(facts.layers) if facts.moe else 0
        sums = 2 * len(facts.layers) + moe  # behind attention, the MLP and the experts of every layer
        ranks = options.tensor_parallel
        split: list[Pass] = [] if ranks == 1 else [ScheduleTensorParallel(ranks=ranks, rank=rank, sums=sums)]
        coded = options.weights in (INT4, FP8)
        quantize: list[Pass] = [QuantizeEngineWeights(format=options.weights)] if coded else []
        grouped = options.batch * step.tokens if step.experts == GROUPED else 0
        chosen = lowerings(self.fused_head, step.flash, options.batch, step.tokens)
        passes: tuple[Pass, ...] = (
            ScheduleStep(tokens=step.tokens, keep=step.keep, batch=batch, capacity=options.context),
            *split,
            LowerToBfloat16(layers=moe),
            InsertFloat32Logits(),
            InsertTopTokens(),
            *quantize,
            LowerMoEToGatherScatter(layers=moe, form=step.experts, tokens=grouped),
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
