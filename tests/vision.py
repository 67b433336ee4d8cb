"""Images, and what Hugging Face makes of them: the judge of vision encoders."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from PIL import Image

from g4compile.bundle.media import PatchSpec
from g4compile.compare.reference import Reference
from g4compile.ops.registry import attach_bodies
from g4compile.program import Program, bind
from g4compile.runtime.media.patches import image_inputs, in_token_order
from g4compile.trace.trace import trace
from g4compile.weights.processors import read_media
from g4compile.weights.writer import write_graphs

LIMIT = 5e-4


def picture(width, height, seed=0):
    """Noise over a colour that changes from corner to corner, uint8 [height, width, 3]."""
    random = np.random.default_rng(seed)
    ramp = np.add.outer(np.arange(height) / height, np.arange(width) / width)[..., None] * [90, 60, 30]
    return (ramp + random.integers(0, 70, (height, width, 3))).astype(np.uint8)


def png(width=40, height=30, seed=0) -> bytes:
    """`picture` as the bytes of a file."""
    out = io.BytesIO()
    Image.fromarray(picture(width, height, seed)).save(out, "PNG")
    return out.getvalue()


def spec_of(checkpoint) -> PatchSpec:
    return read_media(checkpoint.folder, checkpoint.facts).image


def hf_features(reference: Reference, images):
    """Features [tokens, H] of each of ``images`` (`ImageInputs`), padded, as transformers takes them."""
    values, places = (
        torch.from_numpy(np.stack([getattr(image, name) for image in images]))
        for name in ("pixel_values", "pixel_position_ids")
    )
    with torch.no_grad():
        found = reference.model.model.get_image_features(values, places, return_dict=True).pooler_output
    return [one.numpy() for one in found]


def program(checkpoint) -> Program:
    """The vision encoder of ``checkpoint`` alone, traced and bound."""
    made = Program.of({"vision": trace(checkpoint.facts, part="vision")}, checkpoint.facts)
    bind(made, checkpoint)
    return made


def runner(model, library=None):
    """A function from `ImageInputs` and their `PatchSpec` to features, which runs the graph ``model``. ``library``:
    libg4ops, for its ops."""
    attach_bodies(model)
    with tempfile.TemporaryDirectory() as folder:
        write_graphs({"vision": model}, Path(folder))
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        if library is not None:
            options.register_custom_ops_library(str(library))
        session = ort.InferenceSession(f"{folder}/vision.onnx", options, providers=["CPUExecutionProvider"])

    def run(image, spec):
        values, places = in_token_order(image, spec)
        return session.run(None, {"pixel_values": values, "pixel_position_ids": places})[0]

    return run


def images_of(spec, sizes, budget=None):
    return [image_inputs(picture(*size, seed=seed), spec, budget) for seed, size in enumerate(sizes)]
