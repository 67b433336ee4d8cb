"""A part of a config as a [traced] graph, in this process."""

from __future__ import annotations

import onnx_ir as ir
import torch

from g4compile.errors import Defect, InputError
from g4compile.model.config import ModelFacts
from g4compile.model.contents import AUDIO, DECODER, VISION
from g4compile.trace import aten, convolutions
from g4compile.trace.importer import Importer
from g4compile.trace.parts.audio import export_audio
from g4compile.trace.parts.decoder import export_decoder
from g4compile.trace.parts.vision import export_vision
from g4compile.trace.rules import RULES

EXPORTS = {DECODER: export_decoder, VISION: export_vision, AUDIO: export_audio}
RULE_FILES = (aten, convolutions)  # each registers its rules when it is imported


def trace(facts: ModelFacts, dtype: str = "float32", part: str = DECODER) -> ir.Model:
    """The ``part`` of the model of ``facts`` as a [traced] graph, weights unbound. ``dtype`` is that of weights and
    activations.

    Raises Defect for model code that cannot be imported, MachineError when transformers has no such model, and
    InputError for a part that is not traced.
    """
    if part not in EXPORTS:
        raise InputError(f"the part {part} is not traced by this version", fix=f"parts: {', '.join(EXPORTS)}")
    export, weights = EXPORTS[part], getattr(torch, dtype)
    try:
        return Importer(export(facts, weights), RULES).run()
    except Defect:  # once more, so that the message names the line of model code
        return Importer(export(facts, weights, source_lines=True), RULES).run()
