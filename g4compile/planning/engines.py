"""What an engine bundle takes of a GPU, and of the host: no builder is asked, so the GPU need not be here.

Bytes of weights and caches are exact. Those of a step's values are an estimate: an engine states its own, once built.
"""

from __future__ import annotations

from dataclasses import dataclass

from g4compile.model.config import TextFacts
from g4compile.model.inventory import LOOKUP, PRODUCT, ROUTER, Weight
from g4compile.planning.caches import Caches
from g4compile.planning.gpu import NUMBER
from g4compile.planning.storage import Storage
from g4compile.targets.onnx.bundle import kv_token_bytes
from g4compile.targets.tensorrt.options import BFLOAT16, EngineOptions
from g4compile.targets.tensorrt.target import EngineTarget
from g4compile.weights.formats.float8 import FP8
from g4compile.weights.formats.int4 import INT4, block_of
from g4compile.weights.recipe import load_recipe

TENSORRT = "tensorrt"  # whose kernels compute


@dataclass(frozen=True)
class EngineStorage(Storage):
    """How weights stand on the device: codes of ``recipe``, which kernels of ours read, and bfloat16. What is looked up
    is the host's."""

    number: int = NUMBER

    def stored_bytes(self, weight: Weight) -> int:
        """On the device, where nothing is laid out in pages."""
        return self.tensor_bytes(weight)

    def _tensors(self, weight: Weight) -> list[int]:
        if weight.use == LOOKUP:
            return []
        return [NUMBER * weight.elements] if self.rule(weight) is None else super()._tensors(weight)


@dataclass(frozen=True)
class EngineCodes(EngineStorage):
    """Codes of ``format`` (int4 or fp8), which TensorRT itself reads, of products and experts."""

    format: str = INT4

    def _tensors(self, weight: Weight) -> list[int]:
        if weight.use != PRODUCT or weight.group == ROUTER:
            return super()._tensors(weight)
        if self.format == FP8:
            return [weight.elements, NUMBER]
        block = block_of(weight.shape[-1])
        return super()._tensors(weight) if block is None else [weight.elements // 2, NUMBER * weight.elements // block]


def engine_storage(target: EngineTarget, options: EngineOptions) -> EngineStorage:
    """Of a decoder that ``target`` compiles with ``options``."""
    if target.codes_in_kernels(options):
        return EngineStorage(load_recipe(INT4))
    return EngineStorage(None) if options.weights == BFLOAT16 else EngineCodes(None, format=options.weights)


def engine_caches(text: TextFacts, options: EngineOptions) -> Caches:
    """Of one sequence, which has all slots from the first token on."""
    ring = options.capacities.ring(text)
    sizes = {
        layer.index: kv_token_bytes(layer, BFLOAT16) * (options.context if layer.window is None else ring)
        for layer in text.kv_layers
    }
    windows = sum(sizes[layer.index] for layer in text.kv_layers if layer.window is not None)
    full = sum(kv_token_bytes(layer, BFLOAT16) for layer in text.kv_layers if layer.window is None)
    return Caches(sum(sizes.values()), full, windows)


def host_table_bytes(text: TextFacts, found: list[Weight]) -> int:
    """Of tables that the host reads by row in the checkpoint's files, in bfloat16; a tied embedding among them."""
    looked_up = [weight for weight in found if weight.use == LOOKUP]
    tied = [weight for weight in found if text.tied and weight.module == "embed_tokens" and weight.use == PRODUCT]
    return sum(NUMBER * weight.elements for weight in (*looked_up, *tied))
