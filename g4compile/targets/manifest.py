"""What a bundle says of itself, and what decides every byte of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.metadata import version

import msgspec

import g4compile
from g4compile.bundle.manifest import DECODER, VERSION, Manifest, PartSpec
from g4compile.bundle.media import MediaSpec
from g4compile.bundle.requires import required
from g4compile.targets.base import TEXT, Emitted, Options, Target
from g4compile.weights.checkpoint import Checkpoint
from g4compile.weights.processors import read_media

_MAKERS = ("onnx", "onnx-ir", "torch", "transformers")  # packages whose versions decide what is made


def identity_of(source: Checkpoint, target: Target, options: Options) -> str:
    """What decides every byte of the bundle: work under another identity is not taken up."""
    files = sorted({tensor.file for tensor in source.tensors.values()})
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    parts = (
        g4compile.__version__,
        str(source.folder.resolve()),
        source.config,
        stats,
        target.name,
        options,
        _versions(),
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def manifest_of(
    source: Checkpoint, target: Target, options: Options, emitted: Emitted, stops: Sequence[int] = ()
) -> Manifest:
    """The manifest of what was ``emitted``; its files are not named yet. ``stops``: tokens that end an answer, beside
    those of the config."""
    text = source.facts.text
    parts = dict.fromkeys(graph.part for graph in emitted.graphs.values())
    return Manifest(
        manifest_version=VERSION,
        generator=f"g4compile {g4compile.__version__}",
        model_type=source.facts.model_type,
        architecture=source.facts.architecture,
        target=target.name,
        weights=options.weights,
        modalities=options.modalities,
        context=options.context,
        vocab_size=text.vocab_size,
        bos_token_id=text.bos_token_id,
        pad_token_id=text.pad_token_id,
        stop_token_ids=tuple(dict.fromkeys([*text.eos_token_ids, *stops])),
        requires=required(
            emitted.kv,
            emitted.engine,
            {spec.layout for spec in emitted.quantized.values()},
            emitted.graphs.values(),
            emitted.cuda,
        ),
        parts={part: PartSpec(emitted.kv if part == DECODER else None) for part in parts},
        graphs=emitted.graphs,
        source={"config_sha256": hashlib.sha256(source.config).hexdigest()},
        versions=_versions(),
        recipe=() if options.recipe is None else options.recipe.listed(parts),
        activations=emitted.activations,
        quantized=emitted.quantized,
        files={},
        engine=emitted.engine,
        media=media_of(source, options),
        cuda=emitted.cuda,
    )


def media_of(source: Checkpoint, options: Options) -> MediaSpec | None:
    """What a bundle takes beside text, as the checkpoint says; None where it takes nothing."""
    if options.modalities == (TEXT,):
        return None
    spec, taken = read_media(source.folder, source.facts), options.modalities
    left_out = (("image", "image"), ("video", "image"), ("audio", "audio"))  # a kind, and the modality that reads it
    return msgspec.structs.replace(spec, **{kind: None for kind, modality in left_out if modality not in taken})


def _versions() -> dict[str, str]:
    return {name: version(name) for name in _MAKERS}
