"""How a checkpoint wants images, audio and videos: its processor files and its config, as records for a runtime.

`processor_config.json` holds a part for each kind. Older checkpoints have `preprocessor_config.json` (images and audio)
and `video_preprocessor_config.json` in place of a part, as transformers reads them. Fields are checked one by one by
`processor_schema.py`, and here against the config.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from g4compile.bundle.media import MediaSpec, MelSpec, PatchSpec, VideoSpec, WaveSpec
from g4compile.errors import CheckpointError
from g4compile.inputs.documents import decode_object
from g4compile.inputs.files import is_there, read_bytes, root_of
from g4compile.model import schema
from g4compile.model.config import ModelFacts
from g4compile.model.fields import Field, Table, misfit, read_fields, word
from g4compile.runtime.text_files import SETTINGS, kind_of
from g4compile.weights import processor_schema
from g4compile.weights.media_tokens import media_tokens

PROCESSOR, IMAGES, VIDEOS = "processor_config.json", "preprocessor_config.json", "video_preprocessor_config.json"
_FIX = "take the file of the published checkpoint"
_OF_PATCHES = ("patch_size", "pooling_kernel_size")
_MEL_SAMPLES = 480_000  # `max_length` of Gemma4AudioFeatureExtractor.__call__


def read_media(folder: Path, facts: ModelFacts) -> MediaSpec:
    """What the model of ``facts``, whose checkpoint lies in ``folder``, takes beside text.

    Raises InputError, and CheckpointError for a file that is missing or cannot be read; both name the file.
    """
    reader = _Reader(folder, facts, facts.model_type == "gemma4_unified")
    sees = "image" in facts.modalities
    return MediaSpec(
        tokens=media_tokens(facts.raw, reader.file(SETTINGS) or {}, folder / SETTINGS),
        image=reader.image() if sees else None,
        video=reader.video() if sees else None,
        audio=reader.audio() if "audio" in facts.modalities else None,
    )


@dataclass(frozen=True)
class _Reader:
    folder: Path
    facts: ModelFacts
    unified: bool

    def file(self, name: str) -> dict[str, Any] | None:
        """The object in a file; None when there is no such file."""
        path = self.folder / name
        if not is_there(path, CheckpointError):
            return None
        kind = kind_of(name, CheckpointError, _FIX)
        return decode_object(read_bytes(path, kind, root_of(self.folder)), kind, path)

    def part(self, name: str, *files: str) -> tuple[dict[str, Any] | None, str, str]:
        """The settings ``name`` of `processor_config.json`, or of the first of ``files`` that is there; the file that
        they stand in, and their path in it."""
        whole = self.file(PROCESSOR) or {}
        if name in whole:
            if not isinstance(whole[name], dict):
                raise misfit(name, whole[name], "an object", str(self.folder / PROCESSOR))
            return whole[name], str(self.folder / PROCESSOR), name
        for file in files:
            found = self.file(file)
            if found is not None:
                return found, str(self.folder / file), ""
        return None, str(self.folder / PROCESSOR), name

    def needed(self, name: str, what: str) -> tuple[dict[str, Any], str, str]:
        found, where, path = self.part(name, IMAGES)
        if found is None:
            raise CheckpointError(
                f"the checkpoint does not say how {what} become inputs of the model",
                where=str(self.folder),
                why=f"there is no {name} in {PROCESSOR}, and no {IMAGES}",
                fix=f"{_FIX}, or compile with --modalities text",
            )
        return found, where, path

    def kind(self, suffix: str) -> Field:
        """The class that the files name."""
        family = "Gemma4Unified" if self.unified else "Gemma4"
        name = f"{family}{suffix}"
        return word(name, f"{name}Fast", f"{name}Pil").otherwise(name)

    @property
    def vision(self) -> dict[str, Any]:
        """The checked config of the vision part."""
        table = schema.PATCHES if self.unified else schema.VISION
        return read_fields(self.facts.raw["vision_config"], table, "config.json", "vision_config")

    def image(self) -> PatchSpec:
        raw, where, path = self.needed("image_processor", "images")
        table = {**processor_schema.PATCHES, "image_processor_type": self.kind("ImageProcessor")}
        return self.patches(read_fields(raw, table, where, path), where, path)

    def video(self) -> VideoSpec:
        """Where nothing is said of videos, as in some checkpoints, the defaults of transformers' class."""
        raw, where, path = self.part("video_processor", VIDEOS)
        if raw is None:
            raw = {name: self.vision[name] for name in _OF_PATCHES}
        table = {**processor_schema.VIDEO, "video_processor_type": self.kind("VideoProcessor")}
        fields = read_fields(raw, table, where, path)
        return VideoSpec(fields["num_frames"], self.patches(fields, where, path))

    def patches(self, fields: Mapping[str, Any], where: str, path: str) -> PatchSpec:
        """Checked ``fields`` held against the config of the vision part."""
        vision = self.vision
        for name in _OF_PATCHES:
            if fields[name] != vision[name]:
                raise misfit(_place(path, name), fields[name], f"vision_config.{name}, {vision[name]}", where)
        for name, neutral in (("image_mean", 0), ("image_std", 1)):
            if fields["do_normalize"] and any(value != neutral for value in fields[name] or ()):
                wanted = f"{neutral} for each colour: the model reads values from 0 to 1"
                raise misfit(_place(path, name), fields[name], wanted, where)
        size, pool, budget = fields["patch_size"], fields["pooling_kernel_size"], fields["max_soft_tokens"]
        if self.unified:  # three patches of a side are one patch of the model, and a token
            return PatchSpec(size * pool, 1, budget, vision["mm_posemb_size"])
        return PatchSpec(size, pool, budget, vision["position_embedding_size"])

    def audio(self) -> MelSpec | WaveSpec:
        raw, where, path = self.needed("feature_extractor", "sounds")
        kind = {"feature_extractor_type": self.kind("AudioFeatureExtractor")}
        return self.wave(raw, kind, where, path) if self.unified else self.mel(raw, kind, where, path)

    def mel(self, raw: Mapping[str, Any], kind: Table, where: str, path: str) -> MelSpec:
        fields = read_fields(raw, {**processor_schema.MEL, **kind}, where, path)
        rate = fields["sampling_rate"]
        lengths = {name: round(rate * fields[f"{name}_ms"] / 1000) for name in ("frame_length", "hop_length")}
        for name, length in lengths.items():
            if length < 1:
                raise misfit(_place(path, f"{name}_ms"), fields[f"{name}_ms"], "a sample or more", where)
        lengths["fft_length"] = 2 ** math.ceil(math.log2(lengths["frame_length"]))
        for name, length in lengths.items():
            if fields[name] not in (None, length):
                why = "transformers computes it from sampling_rate, frame_length_ms and hop_length_ms"
                raise misfit(_place(path, name), fields[name], str(length), where, why)
        low, high = float(fields["min_frequency"]), float(fields["max_frequency"])
        if not low < high <= rate / 2:
            wanted = f"above min_frequency, {low:g}, and at most half of sampling_rate, {rate / 2:g}"
            raise misfit(_place(path, "max_frequency"), fields["max_frequency"], wanted, where)
        channels = read_fields(self.facts.raw["audio_config"], schema.AUDIO, "config.json", "audio_config")
        first = channels["subsampling_conv_channels"][0]
        if fields["feature_size"] != first // 4 * 4:  # what the tower projects is a fourth of them, times channels
            wanted = f"audio_config.subsampling_conv_channels[0], {first}, down to a multiple of 4"
            raise misfit(_place(path, "feature_size"), fields["feature_size"], wanted, where)
        size, floor = fields["feature_size"], float(fields["mel_floor"])
        return MelSpec(rate, **lengths, feature_size=size, min_frequency=low, max_frequency=high, mel_floor=floor,
                       max_samples=_MEL_SAMPLES)  # fmt: skip

    def wave(self, raw: Mapping[str, Any], kind: Table, where: str, path: str) -> WaveSpec:
        fields = read_fields(raw, {**processor_schema.WAVE, **kind}, where, path)
        config = read_fields(self.facts.raw["audio_config"], schema.WAVE, "config.json", "audio_config")
        samples = config["audio_embed_dim"]
        for name in ("audio_samples_per_token", "feature_size"):
            if fields[name] != samples:
                raise misfit(_place(path, name), fields[name], f"audio_config.audio_embed_dim, {samples}", where)
        whole = read_fields(self.file(PROCESSOR) or {}, processor_schema.WHOLE, str(self.folder / PROCESSOR))
        return WaveSpec(fields["sampling_rate"], samples, whole["audio_seq_length"] * samples)


def _place(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
