"""lower-moe-to-gather-scatter: each expert that is hit gets its tokens, once, and adds its products back.

Before:                                         After:
    y = g4.MoEExperts (x, index, weight,            hit = Unique (index)
                       gate_up, down)               y = Loop (count (hit), zeros like x) {
                                                        e    = hit[i]
                                                        at   = NonZero (index == e)          (token, choice)
                                                        rows = Gather (x, token)
                                                        g, u = Split (rows gate_up[e]^T)
                                                        p    = (gelu_tanh (g) * u) down[e]^T * weight[at]
                                                        sum  = ScatterND <add> (sum, token, p)
                                                    }

That is the form `loop`. `gather` looks the chosen experts' weights up for each token, for a few tokens; `dense` runs
all experts on all tokens, for targets that have no loop and many tokens; `tiled` sorts tokens by expert around products
of many small matrices; `native` is one op of libg4ops, or `loop` where that cannot
read the weights (`passes/experts/`).
Source: transformers `Gemma4TextExperts.forward`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.errors import InputError
from g4compile.graph.build import Builder
from g4compile.ops.moe_experts import MoEExperts
from g4compile.passes.base import expect
from g4compile.passes.experts.dense import dense_experts
from g4compile.passes.experts.gather import gathered_experts
from g4compile.passes.experts.loop import expert_loop
from g4compile.passes.experts.native import native_experts
from g4compile.passes.experts.tiled import tiled_experts

LOOP, GATHER, DENSE, TILED, NATIVE = "loop", "gather", "dense", "tiled", "native"
_FORMS = {LOOP: expert_loop, GATHER: gathered_experts, DENSE: dense_experts}
_ALL = (*_FORMS, TILED, NATIVE)


@dataclass(frozen=True)
class LowerMoEToGatherScatter:
    """``layers``: layers with experts; None accepts any number. ``form``: loop, gather, dense, native, or tiled, whose
    tiles are for so many ``tokens``."""

    name: ClassVar[str] = "lower-moe-to-gather-scatter"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)
    layers: int | None = None
    form: str = LOOP
    tokens: int = 0

    def apply(self, model: ir.Model) -> None:
        if self.form not in _ALL:
            raise InputError(f"experts have no form {self.form}", fix=f"forms: {', '.join(_ALL)}")
        if (self.form == TILED) != (self.tokens > 0):
            raise InputError(f"tokens = {self.tokens} does not go with form = {self.form}", fix="form=tiled,tokens=64")
        sites = MoEExperts.all_in(model.graph)
        for site in sites:
            site.replace_by(self._lowered(site, Builder(site.node)))
        expect(self.name, "layers with experts", len(sites), self.layers, f"no {MoEExperts.name()} is left")

    def _lowered(self, experts: MoEExperts, builder: Builder) -> ir.Value:
        if self.form == TILED:
            return tiled_experts(experts, builder, self.tokens)
        if self.form == NATIVE:
            return native_experts(experts, builder) or expert_loop(experts, builder)
        return _FORMS[self.form](experts, builder)
