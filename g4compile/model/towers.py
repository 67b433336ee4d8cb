"""The parts beside the decoder, as far as their stored tensors tell: typed facts from the config, and tensors by key.

Keys are those of published checkpoints. A config that leaves a field out means transformers' default. Sources:
transformers `modeling_gemma4.py` (Gemma4VisionModel, Gemma4AudioModel, Gemma4MultimodalEmbedder),
`modeling_gemma4_unified.py` (Gemma4UnifiedVisionEmbedder), their configurations, and `conversion_mapping.py` for the
names that 12B's vision embedder has on disk.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from g4compile.model import schema
from g4compile.model.fields import misfit, read_fields

Shapes = Iterator[tuple[str, tuple[int, ...]]]  # key -> shape
_BOUNDS = ("input_min", "input_max", "output_min", "output_max")


@dataclass(frozen=True)
class VisionFacts:
    """The vision transformer. ``pool``: patches of a side of what becomes one token. ``clipped``: linears have bounds
    (E2B, E4B). ``standardized``: the output is standardised (26B, 31B)."""

    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    patch_size: int
    pool: int
    positions: int
    clipped: bool
    standardized: bool

    def tensors(self, text_hidden_size: int) -> Shapes:
        """Key and shape of every tensor of the tower and its projection to ``text_hidden_size``."""
        tower, hidden = "model.vision_tower", self.hidden_size
        yield f"{tower}.patch_embedder.input_proj.weight", (hidden, 3 * self.patch_size**2)
        yield f"{tower}.patch_embedder.position_embedding_table", (2, self.positions, hidden)
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        products = {
            "self_attn.q_proj": (queries, hidden),
            "self_attn.k_proj": (keys, hidden),
            "self_attn.v_proj": (keys, hidden),
            "self_attn.o_proj": (hidden, queries),
            "mlp.gate_proj": (self.intermediate_size, hidden),
            "mlp.up_proj": (self.intermediate_size, hidden),
            "mlp.down_proj": (hidden, self.intermediate_size),
        }
        for index in range(self.layers):
            layer = f"{tower}.encoder.layers.{index}"
            for name, shape in products.items():
                yield from _clippable(f"{layer}.{name}", shape, self.clipped)
            for name in ("q_norm", "k_norm"):
                yield f"{layer}.self_attn.{name}.weight", (self.head_dim,)
            for place in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
                yield f"{layer}.{place}_layernorm.weight", (hidden,)
        if self.standardized:
            yield f"{tower}.std_bias", (hidden,)
            yield f"{tower}.std_scale", (hidden,)
        yield "model.embed_vision.embedding_projection.weight", (text_hidden_size, hidden)


@dataclass(frozen=True)
class PatchFacts:
    """12B's vision: patches of ``patch_size`` pixels a side, projected to ``embed_dim`` without a tower."""

    patch_size: int
    embed_dim: int
    positions: int
    output_size: int

    def tensors(self, text_hidden_size: int) -> Shapes:
        """Key and shape of every tensor of the embedder and its projection to ``text_hidden_size``."""
        embedder, pixels, width = "model.vision_embedder", 3 * self.patch_size**2, self.embed_dim
        yield f"{embedder}.patch_dense.weight", (width, pixels)
        yield f"{embedder}.patch_dense.bias", (width,)
        for norm, size in (("patch_ln1", pixels), ("patch_ln2", width), ("pos_norm", width)):
            yield f"{embedder}.{norm}.weight", (size,)
            yield f"{embedder}.{norm}.bias", (size,)
        yield f"{embedder}.pos_embedding", (self.positions, 2, width)
        yield "model.embed_vision.embedding_projection.weight", (text_hidden_size, self.output_size)


@dataclass(frozen=True)
class AudioFacts:
    """The conformer. ``channels``: of its two convolutions, which halve time and frequency; ``kernel``: in tokens;
    ``distances``: of tokens, for which attention has embeddings."""

    hidden_size: int
    layers: int
    heads: int
    channels: tuple[int, int]
    kernel: int
    distances: int
    output_size: int
    clipped: bool

    def tensors(self, text_hidden_size: int) -> Shapes:
        """Key and shape of every tensor of the tower and its projection to ``text_hidden_size``."""
        tower, hidden = "model.audio_tower", self.hidden_size
        first, second = self.channels
        for index, (read, written) in enumerate(((1, first), (first, second))):
            stage = f"{tower}.subsample_conv_projection.layer{index}"
            yield f"{stage}.conv.weight", (written, read, 3, 3)
            yield f"{stage}.norm.weight", (written,)
        yield f"{tower}.subsample_conv_projection.input_proj_linear.weight", (hidden, first // 4 * second)
        for index in range(self.layers):
            yield from self._layer(f"{tower}.layers.{index}")
        yield f"{tower}.output_proj.weight", (self.output_size, hidden)
        yield f"{tower}.output_proj.bias", (self.output_size,)
        yield "model.embed_audio.embedding_projection.weight", (text_hidden_size, self.output_size)

    def _layer(self, layer: str) -> Shapes:
        hidden = self.hidden_size
        products = {f"self_attn.{name}": (hidden, hidden) for name in ("q_proj", "k_proj", "v_proj", "post")}
        for feed_forward in ("feed_forward1", "feed_forward2"):
            products[f"{feed_forward}.ffw_layer_1"] = (4 * hidden, hidden)
            products[f"{feed_forward}.ffw_layer_2"] = (hidden, 4 * hidden)
            for norm in ("pre_layer_norm", "post_layer_norm"):
                yield f"{layer}.{feed_forward}.{norm}.weight", (hidden,)
        products |= {"lconv1d.linear_start": (2 * hidden, hidden), "lconv1d.linear_end": (hidden, hidden)}
        for name, shape in products.items():
            yield from _clippable(f"{layer}.{name}", shape, self.clipped)
        yield f"{layer}.self_attn.relative_k_proj.weight", (hidden, hidden)
        yield f"{layer}.self_attn.per_dim_scale", (hidden // self.heads,)
        yield f"{layer}.lconv1d.depthwise_conv1d.weight", (hidden, 1, self.kernel)
        for norm in ("lconv1d.pre_layer_norm", "lconv1d.conv_norm", "norm_pre_attn", "norm_post_attn", "norm_out"):
            yield f"{layer}.{norm}.weight", (hidden,)


@dataclass(frozen=True)
class WaveFacts:
    """12B's audio: ``samples`` of the wave per token, projected without a tower."""

    samples: int

    def tensors(self, text_hidden_size: int) -> Shapes:
        """Key and shape of its one tensor."""
        yield "model.embed_audio.embedding_projection.weight", (text_hidden_size, self.samples)


TowerFacts = VisionFacts | PatchFacts | AudioFacts | WaveFacts


def vision_facts(raw: Mapping[str, Any], unified: bool, where: str = "config.json") -> VisionFacts | PatchFacts:
    """Facts of a `vision_config`. ``unified``: 12B's. Raises InputError naming the field."""
    field = read_fields(raw, schema.PATCHES if unified else schema.VISION, where, "vision_config")
    if unified:
        patch = field["patch_size"] * field["pooling_kernel_size"]
        if raw.get("model_patch_size", patch) != patch:
            wanted = f"patch_size times pooling_kernel_size, {patch}"
            raise misfit("vision_config.model_patch_size", raw["model_patch_size"], wanted, where)
        return PatchFacts(patch, field["mm_embed_dim"], field["mm_posemb_size"], field["output_proj_dims"])
    heads, kv_heads = field["num_attention_heads"], field["num_key_value_heads"]
    if heads % kv_heads:
        wanted = f"a divisor of num_attention_heads, {heads}"
        raise misfit("vision_config.num_key_value_heads", kv_heads, wanted, where)
    return VisionFacts(
        hidden_size=field["hidden_size"],
        intermediate_size=field["intermediate_size"],
        layers=field["num_hidden_layers"],
        heads=heads,
        kv_heads=kv_heads,
        head_dim=field["head_dim"],
        patch_size=field["patch_size"],
        pool=field["pooling_kernel_size"],
        positions=field["position_embedding_size"],
        clipped=field["use_clipped_linears"],
        standardized=field["standardize"],
    )


def audio_facts(raw: Mapping[str, Any], unified: bool, where: str = "config.json") -> AudioFacts | WaveFacts:
    """Facts of an `audio_config`. ``unified``: 12B's. Raises InputError naming the field."""
    field = read_fields(raw, schema.WAVE if unified else schema.AUDIO, where, "audio_config")
    if unified:
        samples = field["audio_embed_dim"]
        for name in ("audio_samples_per_token", "hidden_size", "output_proj_dims"):  # transformers has one size for all
            if raw.get(name, samples) != samples:
                raise misfit(f"audio_config.{name}", raw[name], f"audio_embed_dim, {samples}", where)
        return WaveFacts(samples)
    hidden, heads = field["hidden_size"], field["num_attention_heads"]
    if hidden % heads:
        wanted = f"a divisor of hidden_size, {hidden}"
        raise misfit("audio_config.num_attention_heads", heads, wanted, where)
    first, second = field["subsampling_conv_channels"]
    before, behind = field["attention_context_left"] - 1, field["attention_context_right"]
    context = before + field["attention_chunk_size"] + behind  # `Gemma4AudioRelPositionalEncoding.context_size`
    return AudioFacts(
        hidden_size=hidden,
        layers=field["num_hidden_layers"],
        heads=heads,
        channels=(first, second),
        kernel=field["conv_kernel_size"],
        distances=context // 2 + 1,
        output_size=field["output_proj_dims"],
        clipped=field["use_clipped_linears"],
    )


def _clippable(module: str, shape: tuple[int, int], clipped: bool) -> Shapes:
    """A Gemma4ClippableLinear: its weight, and its bounds where it has some."""
    yield f"{module}.linear.weight", shape
    if clipped:
        yield from ((f"{module}.{bound}", ()) for bound in _BOUNDS)
