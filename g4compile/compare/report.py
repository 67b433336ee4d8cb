"""What `verify` found, and the sentence that says it: chosen from the figures, never better than they are."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from g4compile.compare.localize import LayerDifference
from g4compile.compare.modalities import FeatureParity
from g4compile.compare.parity import Limits, Parity


class Report(msgspec.Struct, frozen=True):
    """Two comparisons, each by scenario.

    ``parity``: the bundle against ``judge``, the Hugging Face module that holds what the bundle's codes stand for: is
    the compiler right? ``broken`` lists what is over ``limits``. ``quantisation_cost``: the bundle against the module
    with the checkpoint's original weights, without limits; None where compiling made no codes.

    ``layers``: only when localised. ``codes``: of weights that the checkpoint holds as codes, how many the bundle has
    unchanged. ``rounded``: of an engine bundle, whose parity is that of its networks computed exactly: the same
    networks, every value rounded as they declare. ``kv_cost``: the judge with a rounded KV cache against itself
    without, on the prompt. ``features``, ``feature_cost``: of the encoders, by modality, against the same two modules;
    ``left_out``: modalities of which nothing was compared: of an engine bundle, or for want of room in the context.
    """

    judge: str
    parity: dict[str, Parity]
    limits: Limits
    broken: tuple[str, ...]
    quantisation_cost: dict[str, Parity] | None = None
    layers: tuple[LayerDifference, ...] = ()
    codes: str = ""
    kv_cost: Parity | None = None
    rounded: Parity | None = None
    features: dict[str, FeatureParity] = {}
    left_out: tuple[str, ...] = ()
    feature_cost: dict[str, FeatureParity] | None = None

    @property
    def passed(self) -> bool:
        return not self.broken

    @property
    def first_divergence(self) -> LayerDifference | None:
        """The first layer whose output is off, where layers were compared."""
        return next((layer for layer in self.layers if layer.diverges), None)

    @property
    def verdict(self) -> str:
        """Whether the bundle computes what its weights stand for, in one sentence with the worst figures of all
        scenarios."""
        if self.broken:
            return f"NOT equal: {'; '.join(self.broken)}"
        limits, results = self.limits, self.parity.values()
        top1, largest = lowest_top1(results), max(result.max_abs_difference for result in results)
        if limits.demands_every_token:
            return f"equal: every top-1 token is the same, largest difference {largest:.1e}"
        relative = max(result.relative_difference for result in results)
        divergence = max(result.kl_mean for result in results)
        return (
            f"within the limits ({limits.name}): top-1 {top1:.2%} (limit {limits.top1_agreement:.0%}), "
            f"relative difference {relative:.2g} (limit {limits.relative_difference:.2g}), "
            f"KL {divergence:.1e} (limit {limits.kl_mean:.0e})"
        )

    @property
    def cost(self) -> str:
        """What quantisation costs, in one sentence; empty where compiling made no codes."""
        if self.quantisation_cost is None:
            return ""
        results = self.quantisation_cost.values()
        relative = max(result.relative_difference for result in results)
        divergence = max(result.kl_mean for result in results)
        return (
            f"against the checkpoint's original weights: top-1 {lowest_top1(results):.2%}, "
            f"relative difference {relative:.2g}, KL {divergence:.1e}; this has no limit"
        )


def lowest_top1(results: Iterable[Parity]) -> float:
    return min(result.top1_agreement for result in results)
