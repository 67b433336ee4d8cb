"""The `tensorrt-rtx` and `tensorrt` targets: one emitter, two products.

TensorRT-RTX builds for RTX-class GPUs on any machine; full TensorRT builds on the GPU that it builds for. Both get the same
networks: bfloat16 with float32 where it matters, weights as network inputs, caches updated in place.
"""

from __future__ import annotations

from functools import partial

from g4compile.model.config import TextFacts
from g4compile.pipeline import Phase
from g4compile.targets.base import Options, Target
from g4compile.targets.phases import frontend
from g4compile.targets.tensorrt.bundle import emit_engines
from g4compile.targets.tensorrt.engine_phase import DTYPES, LEGAL, LEGAL_WITH_PLUGINS, engine_phase
from g4compile.targets.tensorrt.lowerings import BFLOAT16, lowerings
from g4compile.targets.tensorrt.product import FULL, RTX, Product
from g4compile.targets.tensorrt.steps import Capacities, steps
from g4compile.weights.formats.float8 import FP8
from g4compile.weights.formats.int4 import INT4

_CONTEXT = 8192


def _pipeline(product: Product, facts: TextFacts, options: Options) -> tuple[Phase, ...]:
    """[traced] to the legal graph of the decode step."""
    capacities = Capacities(options.context, options.batch, options.chunk)
    weights = options.weights if options.weights in (INT4, FP8) else BFLOAT16
    decode = steps(capacities, weights, product.plugins)[0]
    return (
        *frontend(facts, 0, options.shared_tail, ring=capacities.ring(facts)),
        engine_phase(product.target, facts, decode, capacities, weights=weights, plugins=product.plugins),
    )


def _target(product: Product) -> Target:
    return Target(
        name=product.target,
        legal=LEGAL_WITH_PLUGINS if product.plugins else LEGAL,
        dtypes=DTYPES,
        pipeline=partial(_pipeline, product),
        emit=partial(emit_engines, product),
        lowerings=lowerings(),
        weights=BFLOAT16,
        kv=(BFLOAT16,),
        context=_CONTEXT,
        accepts=(BFLOAT16, INT4, FP8),
        check=product.check,
        traces_apart=True,
    )


TENSORRT_RTX = _target(RTX)
TENSORRT = _target(FULL)
