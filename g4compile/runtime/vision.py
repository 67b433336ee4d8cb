"""Images, and frames of videos, as features: the vision encoder of an ONNX bundle."""

from __future__ import annotations

from g4compile.bundle.manifest import VISION
from g4compile.errors import InputError
from g4compile.runtime.encoder import Encoder
from g4compile.runtime.media.patches import in_token_order
from g4compile.runtime.media.records import Array, ImageInputs


class VisionEncoder(Encoder[ImageInputs]):
    part = VISION

    def feeds(self, item: ImageInputs) -> dict[str, Array]:
        if self.spec is None or self.spec.image is None:  # `bundle/consistency.py` has seen to it
            raise InputError("this bundle takes no image")
        values, positions = in_token_order(item, self.spec.image)
        self.check_width("an image", values, 3 * self.spec.image.patch_size**2)
        return {"pixel_values": values, "pixel_position_ids": positions}

    def size(self, item: ImageInputs) -> str:
        return f"an image of {item.tokens:,} tokens"
