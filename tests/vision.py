"""Images, and what Hugging Face makes of them: the judge of vision encoders."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from g4compile.bundle.media import PatchSpec
from g4compile.compare.media_reference import image_features
from g4compile.compare.reference import Reference
from g4compile.program import Program
from g4compile.runtime.media.patches import image_inputs, in_token_order
from g4compile.weights.processors import read_media
from tests.encoders import encoder_of, session_of

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
    """Features [tokens, H] of each of ``images`` (`ImageInputs`)."""
    return image_features(reference.model, images)


def program(checkpoint) -> Program:
    """The vision encoder of ``checkpoint`` alone, traced and bound."""
    return encoder_of(checkpoint, "vision")


def runner(model, library=None):
    """A function from `ImageInputs` and their `PatchSpec` to features, which runs the graph ``model``. ``library``:
    libg4ops, for its ops."""
    session = session_of(model, library)

    def run(image, spec):
        values, places = in_token_order(image, spec)
        return session.run(None, {"pixel_values": values, "pixel_position_ids": places})[0]

    return run


def images_of(spec, sizes, budget=None):
    return [image_inputs(picture(*size, seed=seed), spec, budget) for seed, size in enumerate(sizes)]
