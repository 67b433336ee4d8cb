"""Whether a bundle can be compared with a checkpoint: by what both say of the model, before anything is loaded."""

from __future__ import annotations

from g4compile.bundle.manifest import Manifest
from g4compile.errors import InputError
from g4compile.weights.checkpoint import Checkpoint
from g4compile.weights.processors import read_media


def check_compiled_from(manifest: Manifest, source: Checkpoint) -> None:
    """Raise InputError for a checkpoint of another model, whose module has not what a bundle is compared by."""
    facts, kept = source.facts, [(layer.layer, layer.kind, layer.head_dim) for layer in manifest.kv.layers]
    owners = [(layer.index, layer.kind, layer.head_dim) for layer in facts.text.kv_layers]
    same = (manifest.model_type, kept) == (facts.model_type, owners)
    same = same and all(one in facts.modalities for one in manifest.modalities)
    if same and manifest.media is not None:
        media = read_media(source.folder, facts)
        same = all(getattr(manifest.media, kind) in (None, getattr(media, kind)) for kind in ("image", "audio"))
    if not same:
        raise InputError(
            "the bundle was not compiled from this checkpoint",
            where=str(source.folder),
            why="its model has other layers, or other encoders",
            fix="give the checkpoint that the bundle was compiled from",
        )
