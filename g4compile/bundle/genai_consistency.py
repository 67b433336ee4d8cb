"""What the fields of a package for onnxruntime-genai say of each other: its graphs, and the file that names them."""

from __future__ import annotations

from g4compile.bundle.faults import Expected, Faults, fixed, kv_tensors, misfits
from g4compile.bundle.kv import FLOAT32, PAST, PRESENT
from g4compile.bundle.manifest import ANY, AUDIO, DECODER, EMBED, VISION, GraphSpec, Manifest
from g4compile.bundle.media_consistency import media_faults
from g4compile.bundle.requires import ATTENTION_MASK, GENAI

CONFIG = "genai_config.json"
IMAGE_FEATURES, AUDIO_FEATURES = "image_features", "audio_features"
_IDS: tuple[str, tuple[int | None, ...]] = ("int64", (None, None))
_STEP: Expected = dict.fromkeys((ATTENTION_MASK, "position_ids"), _IDS)


def genai_faults(manifest: Manifest) -> Faults:
    """The contradictions of the fields of a package; none of another bundle."""
    if GENAI not in manifest.requires:
        return
    if manifest.engine is not None or manifest.cuda is not None:
        yield f"requires has {GENAI} in a bundle with an engine or cuda", "a package has neither"
        return
    if (manifest.kv.dtype, manifest.activations) not in ((FLOAT32, FLOAT32), (FLOAT32, "int8")):
        yield f"kv.dtype is {manifest.kv.dtype} and activations {manifest.activations}", "a package has float32 KV"
    if CONFIG not in manifest.files:
        yield f"the manifest does not list {CONFIG} among its files", "onnxruntime-genai reads it first"
    found = {(graph.part, graph.variant, graph.rank): graph for graph in manifest.graphs.values()}
    decoder, embed = found.get((DECODER, ANY, 0)), found.get((EMBED, ANY, 0))
    if decoder is None or (embed is None) != (manifest.media is None):
        yield (
            f"the bundle has the graphs {', '.join(manifest.graphs)}",
            f"a package has a {DECODER}, and an {EMBED} where it takes more than text: variant {ANY}, rank 0",
        )
        return
    inputs: Expected = {**kv_tensors(manifest.kv, PAST, False), **_STEP}
    if embed is None or any(tensor.name == "input_ids" for tensor in decoder.inputs):
        inputs |= {"input_ids": _IDS}  # beside features they say which tokens are of images
    if embed is not None:
        fed: Expected = {one.name: (one.dtype, tuple(map(fixed, one.shape))) for one in embed.outputs}
        inputs |= fed
        yield from _embed_faults(manifest, embed, fed)
        yield from media_faults(manifest, fed, batched=True)
    outputs: Expected = {
        **kv_tensors(manifest.kv, PRESENT, False),
        "logits": ("float", (None, 1, manifest.vocab_size)),
    }
    yield from misfits("an input of decoder", decoder.inputs, inputs)
    yield from misfits("an output of decoder", decoder.outputs, outputs)


def _embed_faults(manifest: Manifest, embed: GraphSpec, fed: Expected) -> Faults:
    """Rows of features are as wide as `inputs_embeds`, in whose places they stand."""
    dtype, shape = fed.get("inputs_embeds", ("float", (None,)))
    kinds = {VISION: IMAGE_FEATURES, AUDIO: AUDIO_FEATURES}
    parts = [graph.part for graph in manifest.graphs.values()]
    features: Expected = {name: (dtype, (None, shape[-1])) for part, name in kinds.items() if part in parts}
    yield from misfits("an input of embed", embed.inputs, {"input_ids": _IDS, **features})
