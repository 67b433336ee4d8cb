"""The parts beside the decoder, alone: traced, bound, and run."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnxruntime as ort

from g4compile.ops.registry import attach_bodies
from g4compile.program import Program, bind
from g4compile.trace.trace import trace
from g4compile.weights.writer import write_graphs


def encoder_of(checkpoint, part) -> Program:
    """The encoder ``part`` of ``checkpoint``, traced and bound."""
    made = Program.of({part: trace(checkpoint.facts, part=part)}, checkpoint.facts)
    bind(made, checkpoint)
    return made


def session_of(model, library=None) -> ort.InferenceSession:
    """A session of the graph ``model`` of any stage. ``library``: libg4ops, for its ops."""
    attach_bodies(model)
    with tempfile.TemporaryDirectory() as folder:
        write_graphs({"encoder": model}, Path(folder))
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        if library is not None:
            options.register_custom_ops_library(str(library))
        return ort.InferenceSession(f"{folder}/encoder.onnx", options, providers=["CPUExecutionProvider"])
