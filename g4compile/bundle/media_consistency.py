"""What the manifest says of media, and of the graphs of the encoders that read them."""

from __future__ import annotations

from msgspec.structs import replace

from g4compile.bundle.faults import Expected, Faults, misfits
from g4compile.bundle.manifest import AUDIO, VISION, Manifest
from g4compile.bundle.media import MelSpec, PatchSpec, WaveSpec


def media_faults(manifest: Manifest, fed: Expected, batched: bool = False) -> Faults:
    """``fed``: what the decoder reads of token ids, in whose place features stand, in its dtype. ``batched``: inputs of
    encoders have an axis in front, of one image or sound; of any number of images where they are patches alone."""
    media, (dtype, shape) = manifest.media, fed.get("inputs_embeds", ("float", ()))
    width = next(reversed(shape), None)
    for modality, part, spec in (
        ("image", VISION, None if media is None else media.image),
        ("audio", AUDIO, None if media is None else media.audio),
    ):
        graph = next((graph for graph in manifest.graphs.values() if graph.part == part), None)
        if len({modality in manifest.modalities, graph is not None, spec is not None}) > 1:
            yield f"modalities, the graphs and media.{modality} do not agree on whether {modality} is taken", ""
        if graph is None or spec is None or media is None:
            continue
        token = media.tokens.image if part == VISION else media.tokens.audio
        if token.id >= manifest.vocab_size:
            yield f"media.tokens.{modality}.id is {token.id:,}, beyond the vocabulary", ""
        yield from misfits(f"an input of {part}", graph.inputs, _encoder_inputs(spec, batched))
        features: Expected = {f"{modality}_features": (dtype, (None, width))}
        yield from misfits(f"an output of {part}", graph.outputs, features)
    if media is not None and media.video is not None:
        if (
            media.image is None
            or replace(media.video.patches, max_soft_tokens=media.image.max_soft_tokens) != media.image
        ):
            yield "media.video does not become patches as media.image does, and one encoder reads both", ""
        if media.tokens.video.id >= manifest.vocab_size:
            yield f"media.tokens.video.id is {media.tokens.video.id:,}, beyond the vocabulary", ""


def _encoder_inputs(spec: PatchSpec | MelSpec | WaveSpec, batched: bool) -> Expected:
    if isinstance(spec, PatchSpec):
        front = (None if spec.pooling_kernel_size == 1 else 1,) if batched else ()
        pixels = 3 * spec.patch_size**2
        return {
            "pixel_values": ("float", (*front, None, pixels)),
            "pixel_position_ids": ("int64", (*front, None, 2)),
        }
    features = spec.feature_size if isinstance(spec, MelSpec) else spec.audio_samples_per_token
    return {"input_features": ("float", (*((1,) if batched else ()), None, features))}
