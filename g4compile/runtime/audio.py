"""Sounds as features: the audio encoder of an ONNX bundle."""

from __future__ import annotations

from g4compile.bundle.manifest import AUDIO
from g4compile.bundle.media import MelSpec
from g4compile.runtime.encoder import Encoder
from g4compile.runtime.media.records import Array, AudioInputs


class AudioEncoder(Encoder[AudioInputs]):
    part = AUDIO

    def feeds(self, item: AudioInputs) -> dict[str, Array]:
        """Frames that are wholly of the sound; transformers masks the others, which then change nothing."""
        frames = item.input_features[item.input_features_mask]
        spec = None if self.spec is None else self.spec.audio
        if spec is not None:
            self.check_width(
                "a sound", frames, spec.feature_size if isinstance(spec, MelSpec) else spec.audio_samples_per_token
            )
        return {"input_features": frames}

    def size(self, item: AudioInputs) -> str:
        return f"a sound of {item.tokens:,} tokens"
