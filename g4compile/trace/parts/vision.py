"""The vision encoders as exported programs: Hugging Face's modules on the meta device, one image at a time.

pixel_values float32 [patches, pixels], pixel_position_ids int64 [patches, 2] (column, row) -> image_features
[tokens, H]. An image has whole tokens and no padding, and the patches of a token stand behind each other
(`runtime/media/patches.py` puts them so). So there is no mask, a token is the mean of its row of patches, and one graph
serves every budget. transformers pads, masks, and pools by position; without padding that is the same.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch

from g4compile.errors import InputError
from g4compile.model.classes import Classes
from g4compile.model.config import ModelFacts
from g4compile.model.contents import VISION, tower_facts
from g4compile.model.towers import PatchFacts, VisionFacts
from g4compile.trace.build import build, projection
from g4compile.trace.export import Exported, encoder, export_program
from g4compile.trace.hooks import BIDIRECTIONAL, axial_rope, replaced

_TOWER = Classes("Gemma4VisionConfig", "Gemma4VisionModel")
_ROPE = "apply_multidimensional_rope"
INPUTS, OUTPUTS = ("pixel_values", "pixel_position_ids"), ("image_features",)
AXES = {INPUTS[0]: ("patches", ""), INPUTS[1]: ("patches", ""), OUTPUTS[0]: ("tokens", "")}


class Tower(torch.nn.Module):
    """`Gemma4VisionModel` and `Gemma4MultimodalEmbedder` (E2B, E4B, 26B, 31B). ``pool``: patches of a token."""

    def __init__(self, vision_tower: Any, embed_vision: Any, pool: int) -> None:
        super().__init__()
        self.vision_tower, self.embed_vision, self.pool = vision_tower, embed_vision, pool

    def forward(self, pixel_values: torch.Tensor, pixel_position_ids: torch.Tensor) -> torch.Tensor:
        tower, encoder = self.vision_tower, self.vision_tower.encoder
        projection = tower.patch_embedder.input_proj
        hidden = projection((2 * (pixel_values - 0.5)).to(projection.weight.dtype))
        hidden = hidden + _by_position(
            tower.patch_embedder.position_embedding_table, pixel_position_ids, axis_first=True
        )
        angles = pixel_position_ids[..., None].float() * encoder.rotary_emb.inv_freq
        turns = tuple(one.to(hidden.dtype)[None] for one in (angles.cos(), angles.sin()))
        hidden = hidden[None]
        for layer in encoder.layers:
            hidden = layer(
                hidden, attention_mask=None, position_embeddings=turns, position_ids=pixel_position_ids[None]
            )
        pooled = hidden.float().view(-1, self.pool, hidden.shape[-1]).sum(-2)
        pooled = pooled * (tower.pooler.root_hidden_size / self.pool)
        if tower.config.standardize:
            pooled = (pooled - tower.std_bias.float()) * tower.std_scale.float()
        features: torch.Tensor = self.embed_vision(pooled.to(hidden.dtype))
        return features


class Patches(torch.nn.Module):
    """`Gemma4UnifiedVisionEmbedder` (12B), its parameters named as they are on disk."""

    def __init__(self, embedder: Any) -> None:
        super().__init__()
        self.vision_embedder, self.embed_vision = embedder, embedder.multimodal_embedder
        del embedder.multimodal_embedder

    def forward(self, pixel_values: torch.Tensor, pixel_position_ids: torch.Tensor) -> torch.Tensor:
        embedder = self.vision_embedder
        hidden = embedder.patch_ln1(pixel_values.to(embedder.patch_dense.weight.dtype))
        hidden = embedder.patch_ln2(embedder.patch_dense(hidden))
        hidden = hidden + _by_position(embedder.pos_embedding, pixel_position_ids, axis_first=False)
        features: torch.Tensor = self.embed_vision(embedder.pos_norm(hidden))
        return features


def _by_position(table: torch.Tensor, position_ids: torch.Tensor, axis_first: bool) -> torch.Tensor:
    """The sum of the rows of a column and of a row, [patches, d], of a table [2, positions, d] or [positions, 2, d]."""
    axes = torch.arange(2, device=position_ids.device)
    rows = table[axes, position_ids] if axis_first else table[position_ids, axes]
    return rows.sum(-2)


def export_vision(facts: ModelFacts, dtype: torch.dtype, source_lines: bool = False) -> Exported:
    """Trace the vision encoder of ``facts`` at ``dtype``. Raises InputError when the model has none."""
    vision = tower_facts(facts).get(VISION)
    if isinstance(vision, PatchFacts):
        return _export_patches(facts, vision, dtype, source_lines)
    if isinstance(vision, VisionFacts):
        return _export_tower(facts, vision, dtype, source_lines)
    raise InputError("this model has no vision encoder", fix=f"it takes: {', '.join(facts.modalities)}")


def _export_tower(facts: ModelFacts, vision: VisionFacts, dtype: torch.dtype, source_lines: bool) -> Exported:
    _, tower = build(_TOWER, facts.raw["vision_config"], dtype=dtype)
    config = tower.config
    config._attn_implementation = BIDIRECTIONAL
    source = import_module(type(tower).__module__)
    pool = config.pooling_kernel_size**2
    module = Tower(tower.eval(), projection(source.Gemma4MultimodalEmbedder, config, facts, dtype), pool)
    tokens = torch.export.Dim("tokens", min=2, max=1 << 16)
    with replaced(source, _ROPE, axial_rope):
        program = _exported(module, 3 * vision.patch_size**2, pool, pool * tokens, source_lines)
    with torch.device("cpu"):  # the meta device holds no values
        rotary = type(tower.encoder.rotary_emb)(config)
    place = "vision_tower.encoder.rotary_emb"
    buffers = {f"{place}.{name}": value.float().numpy() for name, value in rotary.named_buffers()}
    return encoder(VISION, program, INPUTS, OUTPUTS, AXES, buffers)


def _export_patches(facts: ModelFacts, vision: PatchFacts, dtype: torch.dtype, source_lines: bool) -> Exported:
    classes = Classes("Gemma4UnifiedVisionConfig", "Gemma4UnifiedForConditionalGeneration")
    source = import_module(f"transformers.models.gemma4_unified.modeling_{facts.model_type}")
    config = getattr(import_module("transformers"), classes.config)(**facts.raw["vision_config"])
    embedder = projection(source.Gemma4UnifiedVisionEmbedder, config, facts, dtype)
    tokens = torch.export.Dim("tokens", min=2, max=1 << 16)
    program = _exported(Patches(embedder), 3 * vision.patch_size**2, 1, tokens, source_lines)
    return encoder(VISION, program, INPUTS, OUTPUTS, AXES)


def _exported(module: torch.nn.Module, pixels: int, pool: int, patches: Any, source_lines: bool) -> Any:
    example = (
        torch.zeros(6 * pool, pixels, device="meta"),
        torch.zeros(6 * pool, 2, dtype=torch.long, device="meta"),
    )
    return export_program(module, example, ({0: patches}, {0: patches}), source_lines)
