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

That is the form `loop`. `gather` looks the chosen experts' weights up for each token, for a few tokens; `dense` runs all
experts on all tokens, for targets that have no loop and many tokens (`passes/experts/`). A target with an expert kernel
keeps `g4.MoEExperts` and leaves this pass out. Source: transformers `Gemma4TextExperts.forward`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.errors import InputError
from g4compile.graph import edit
from g4compile.passes.base import expect
from g4compile.passes.experts.dense import dense_experts
from g4compile.passes.experts.gather import gathered_experts
from g4compile.passes.experts.loop import expert_loop

FORMS = {"loop": expert_loop, "gather": gathered_experts, "dense": dense_experts}


@dataclass(frozen=True)
class LowerMoEToGatherScatter:
    """``layers``: layers with experts; None accepts any number. ``form``: loop, gather or dense."""

    name: ClassVar[str] = "lower-moe-to-gather-scatter"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)
    layers: int | None = None

    form: str = "loop"

    def apply(self, model: ir.Model) -> None:
        if self.form not in FORMS:
            raise InputError(f"experts have no form {self.form}", fix=f"forms: {', '.join(FORMS)}")
        found = 0
        for node in list(model.graph):
            if node.op_type == "MoEExperts":
                edit.replace(node.outputs[0], FORMS[self.form](node, edit.Inserter(node)))
                model.graph.remove(node, safe=True)
                found += 1
        expect(self.name, "layers with experts", found, self.layers, "no g4.MoEExperts is left")
