"""The target `onnx-cuda`: one graph of ops of libg4cuda, or of ONNX Runtime's own, for ONNX Runtime on NVIDIA GPUs.

Weights are bfloat16, or codes of 4 or 8 bits; the residual stream is float32, all else between ops bfloat16. Caches are
inputs that are written in place. What each op computes is `docs/design/0010-onnx-cuda.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from g4compile.bundle.folder import Bundle
from g4compile.bundle.kv import BFLOAT16
from g4compile.errors import Defect
from g4compile.model.config import ModelFacts, TextFacts
from g4compile.model.towers import TowerFacts
from g4compile.passes.canonicalize_constants import CanonicalizeConstants
from g4compile.passes.canonicalize_dead_code import CanonicalizeDeadCode
from g4compile.passes.canonicalize_embedding_scale import CanonicalizeEmbeddingScale
from g4compile.passes.insert_float32_logits import InsertFloat32Logits
from g4compile.passes.legalize import Legalize
from g4compile.passes.lower_moe_to_gather_scatter import TILED, LowerMoEToGatherScatter
from g4compile.passes.lower_to_bfloat16 import LowerToBfloat16
from g4compile.passes.schedule_logit_index import ScheduleLogitIndex
from g4compile.pipeline import Phase
from g4compile.runtime.cuda.session import CudaSession
from g4compile.targets.base import FLOAT32, REWIND, TEXT, Candidates, Emitted, Lowered, Options, Order, Target, Variant
from g4compile.targets.fused.fuse_stream_products import FuseStreamProducts
from g4compile.targets.fused.lower_experts_to_kernels import LowerExpertsToKernels
from g4compile.targets.onnx.cuda.bundle import emit_cuda
from g4compile.targets.onnx.cuda.drop_double_casts import DropDoubleCasts
from g4compile.targets.onnx.cuda.fuse_cached_attention import FuseCachedAttention
from g4compile.targets.onnx.cuda.insert_likeliest_token import InsertLikeliestToken
from g4compile.targets.onnx.cuda.insert_next_token import InsertNextToken
from g4compile.targets.onnx.cuda.legal import DTYPES, LEGAL, STOCK_DTYPES, STOCK_LEGAL
from g4compile.targets.onnx.cuda.lower_embeddings import LowerEmbeddings
from g4compile.targets.onnx.cuda.lower_to_launches import LowerToLaunches
from g4compile.targets.onnx.cuda.narrow_scales import NarrowScales
from g4compile.targets.onnx.cuda.options import CudaOptions, cuda_options, kernels_for
from g4compile.targets.onnx.cuda.schedule_logit_positions import ScheduleLogitPositions
from g4compile.targets.onnx.cuda.stock_lowerings import BETWEEN, STOCK_LOWERINGS
from g4compile.targets.onnx.lower_quantized_weights import ONNXRUNTIME, LowerQuantizedWeights
from g4compile.targets.phases import frontend
from g4compile.weights.formats.blocks import BFLOAT16 as BFLOAT16_SCALES
from g4compile.weights.recipe import load_recipe

_WIDE, _WIDE_ROUTERS = "*norm*.weight *.layer_scalar", "*.router.*"  # weights that are computed with in float32
_EXPERTS_CHUNK = 4096  # new tokens of a run
_WITHOUT = (CanonicalizeEmbeddingScale,)  # the op of a lookup multiplies in float32; a table in bfloat16 would round


class OnnxCudaTarget(Target):
    """One ONNX graph `decoder` over one data file, and kernels."""

    name = "onnx-cuda"
    options_class = CudaOptions
    default_weights = BFLOAT16
    kv = (BFLOAT16,)
    context = 16384
    accepts = (BFLOAT16, "int4", "int8")
    modalities = (TEXT,)

    def defaults(self, facts: ModelFacts, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        """An expert of many gets few of a run's rows, and each of them full tiles: of a run of 2,048 tokens half of the
        tiles of 26B-A4B are empty. ONNX Runtime's own ops take memory for every tile."""
        own = asked.get("kernels") != ONNXRUNTIME and find_spec("triton") is not None
        return {"chunk": _EXPERTS_CHUNK} if facts.text.moe and own else {}

    def options(self, **given: Any) -> Options:
        asked = given.pop("kernels", None)
        kernels = kernels_for(asked, bool(given.get("compute_capabilities")))
        if kernels == ONNXRUNTIME:
            given["compute_capabilities"] = ()
        made = super().options(**given, kernels=kernels)
        if made.recipe is None and made.weights != BFLOAT16:
            return replace(made, recipe=load_recipe(made.weights))
        return made

    def legalize(self) -> Legalize:
        return Legalize(self.name, LEGAL, {}, DTYPES)

    def check(self, facts: ModelFacts, options: Options) -> None:
        cuda_options(options).check()

    def phases(self, facts: TextFacts | TowerFacts, options: Options, variant: Variant) -> tuple[Phase, ...]:
        if not isinstance(facts, TextFacts):
            raise Defect(f"{self.name} makes no graph of an encoder")
        cuda = cuda_options(options)
        ring = max((cuda.slots(layer) for layer in facts.layers if layer.window), default=0)
        weights = options.recipe or FLOAT32
        last = self._stock(facts, cuda) if cuda.stock else self._kernels(facts, cuda)
        shared = frontend(facts, REWIND, cuda.stock, weights, FLOAT32, ring, product_scales=BFLOAT16_SCALES)
        first = tuple(one for one in shared[0].passes if not isinstance(one, _WITHOUT))
        return (replace(shared[0], passes=first), *shared[1:], last)

    def _kernels(self, facts: TextFacts, options: CudaOptions) -> Phase:
        """[quantized] to ops of the library."""
        layers = len(facts.layers)
        passes = (
            LowerEmbeddings(tables=1 + bool(facts.ple_dim)),
            FuseCachedAttention(layers=layers, slots=options.context),
            LowerExpertsToKernels(layers=layers if facts.moe else 0),
            CanonicalizeDeadCode(),
            FuseStreamProducts(sums=layers * (3 if facts.ple_dim else 2)),
            CanonicalizeDeadCode(),
            ScheduleLogitPositions(tail=layers - 1 - facts.last_producer),
            InsertNextToken(),
            self.legalize(),
            CanonicalizeDeadCode(),
            LowerToLaunches(),
        )
        return Phase(self.stage, passes, LEGAL)

    def _stock(self, facts: TextFacts, options: CudaOptions) -> Phase:
        """[quantized] to ops of ONNX Runtime."""
        layers = len(facts.layers) if facts.moe else 0
        passes = (
            ScheduleLogitIndex(slots=options.context),
            NarrowScales(),
            LowerToBfloat16(layers=layers, wide=f"{_WIDE} {_WIDE_ROUTERS if layers else ''}"),
            InsertFloat32Logits(),
            LowerMoEToGatherScatter(layers=layers, form=TILED, tokens=options.chunk),
            LowerQuantizedWeights(ONNXRUNTIME, exact=1),
            InsertLikeliestToken(),
            Legalize(self.name, STOCK_LEGAL, STOCK_LOWERINGS, STOCK_DTYPES),
            DropDoubleCasts(),
            CanonicalizeConstants(),
            CanonicalizeDeadCode(),
        )
        return Phase(self.stage, passes, STOCK_LEGAL | BETWEEN)

    def emit(self, order: Order, lowered: Iterable[Lowered]) -> Emitted:
        (decoder,) = lowered
        return emit_cuda(order, decoder.model)

    def candidates(self, bundle: Bundle, checkpoint: str | Path, threads: int = 0) -> Candidates:
        return Candidates(CudaSession(bundle))


ONNX_CUDA = OnnxCudaTarget()
