"""The audio encoders as exported programs: Hugging Face's modules on the meta device, one sound at a time.

input_features float32 [frames, features] -> audio_features [tokens, H]. All frames are of the sound, so there is no
mask and no padding; transformers pads sounds to one length and masks, which without padding is the same. The frames of
E2B and E4B are log-mel, and a token is made of each four, rounded up; of 12B each frame of samples is a token.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch

from g4compile.errors import InputError
from g4compile.model.classes import Classes
from g4compile.model.config import ModelFacts
from g4compile.model.contents import AUDIO, tower_facts
from g4compile.model.towers import AudioFacts, WaveFacts
from g4compile.trace.build import build, projection
from g4compile.trace.export import Exported, encoder, export_program
from g4compile.trace.hooks import relative_attention, replaced

_TOWER = Classes("Gemma4AudioConfig", "Gemma4AudioModel")
INPUTS, OUTPUTS = ("input_features",), ("audio_features",)
_STRIDE = 4  # frames of a token
_MOST = 1 << 16  # tokens


class Conformer(torch.nn.Module):
    """`Gemma4AudioModel` and `Gemma4MultimodalEmbedder` (E2B, E4B). ``distances``: how many embeddings of them."""

    def __init__(self, audio_tower: Any, embed_audio: Any, distances: int) -> None:
        super().__init__()
        del audio_tower.rel_pos_enc  # what it gives is one table, whatever the sound
        for layer in audio_tower.layers:
            del layer.self_attn.softcap
        self.audio_tower, self.embed_audio = audio_tower, embed_audio
        table = torch.empty(distances, audio_tower.config.hidden_size, device="meta")
        self.register_buffer("positions", table, persistent=False)

    def forward(self, input_features: torch.Tensor) -> torch.Tensor:
        tower = self.audio_tower
        subsample = tower.subsample_conv_projection
        hidden, _ = subsample.layer0(input_features[None, None])
        hidden, _ = subsample.layer1(hidden)
        hidden = subsample.input_proj_linear(hidden.permute(0, 2, 3, 1).flatten(2))
        positions = self.positions.to(hidden.dtype)
        for layer in tower.layers:
            hidden = layer(hidden, attention_mask=None, position_embeddings=positions)
        features: torch.Tensor = self.embed_audio(tower.output_proj(hidden)[0])
        return features


class Waves(torch.nn.Module):
    """`Gemma4UnifiedMultimodalEmbedder` (12B) of frames of samples."""

    def __init__(self, embed_audio: Any) -> None:
        super().__init__()
        self.embed_audio = embed_audio

    def forward(self, input_features: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.embed_audio(input_features)
        return features


def export_audio(facts: ModelFacts, dtype: torch.dtype, source_lines: bool = False) -> Exported:
    """Trace the audio encoder of ``facts`` at ``dtype``. Raises InputError when the model has none."""
    audio = tower_facts(facts).get(AUDIO)
    if isinstance(audio, WaveFacts):
        return _export_waves(facts, audio, dtype, source_lines)
    if isinstance(audio, AudioFacts):
        return _export_conformer(facts, audio, dtype, source_lines)
    raise InputError("this model has no audio encoder", fix=f"it takes: {', '.join(facts.modalities)}")


def _export_conformer(facts: ModelFacts, audio: AudioFacts, dtype: torch.dtype, source_lines: bool) -> Exported:
    _, tower = build(_TOWER, facts.raw["audio_config"], dtype=dtype)
    config = tower.config
    source = import_module(type(tower).__module__)
    with torch.device("cpu"):  # the meta device holds no values
        table = type(tower.rel_pos_enc)(config)(torch.empty(0))[0]
    module = Conformer(tower.eval(), projection(source.Gemma4MultimodalEmbedder, config, facts, dtype), len(table))
    # Exported with a multiple of four frames, whose sizes behind the convolutions are plain names. The graph takes any
    # number: none of its nodes reads such a size.
    tokens = torch.export.Dim("tokens", min=2, max=_MOST)
    bins = audio.channels[0] // _STRIDE * _STRIDE  # the tower projects channels times a quarter of the bins
    with replaced(source.Gemma4AudioAttention, "forward", relative_attention):
        program = export_program(
            module, (torch.zeros(6 * _STRIDE, bins, device="meta"),), ({0: _STRIDE * tokens},), source_lines
        )
    axes = {INPUTS[0]: ("frames", ""), OUTPUTS[0]: ("tokens", "")}
    return encoder(AUDIO, program, INPUTS, OUTPUTS, axes, {"positions": table.float().numpy()})


def _export_waves(facts: ModelFacts, audio: WaveFacts, dtype: torch.dtype, source_lines: bool) -> Exported:
    source = import_module("transformers.models.gemma4_unified.modeling_gemma4_unified")
    config = import_module("transformers").Gemma4UnifiedAudioConfig(**facts.raw["audio_config"])
    module = Waves(projection(source.Gemma4UnifiedMultimodalEmbedder, config, facts, dtype))
    tokens = torch.export.Dim("tokens", min=2, max=_MOST)
    program = export_program(module, (torch.zeros(6, audio.samples, device="meta"),), ({0: tokens},), source_lines)
    return encoder(AUDIO, program, INPUTS, OUTPUTS, {INPUTS[0]: ("tokens", ""), OUTPUTS[0]: ("tokens", "")})
