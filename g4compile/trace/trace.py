"""The decoder of a config as a [traced] graph, in this process."""

from __future__ import annotations

import onnx_ir as ir
import torch

from g4compile.errors import Defect
from g4compile.model.config import ModelFacts
from g4compile.trace.aten import RULES
from g4compile.trace.importer import Importer
from g4compile.trace.parts.decoder import export_decoder


def trace(facts: ModelFacts, dtype: str = "float32") -> ir.Model:
    """The decoder of ``facts`` as a [traced] graph, weights unbound. ``dtype`` is that of weights and activations.

    Raises Defect for model code that cannot be imported, and MachineError when transformers has no such model.
    """
    weights = getattr(torch, dtype)
    try:
        return Importer(export_decoder(facts, weights), facts, RULES).run()
    except Defect:  # once more, so that the message names the line of model code
        return Importer(export_decoder(facts, weights, source_lines=True), facts, RULES).run()
