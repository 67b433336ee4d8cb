"""A prompt with images: token ids, and what stands in the place of some of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from g4compile.bundle.folder import Bundle
from g4compile.bundle.media import MediaSpec
from g4compile.errors import InputError
from g4compile.runtime.generation import check_takes
from g4compile.runtime.media.placeholders import Media, place, write_out
from g4compile.runtime.media.preprocessor import Preprocessor
from g4compile.runtime.media.records import Array, ImageInputs
from g4compile.runtime.media.sources import Source
from g4compile.runtime.text import TextCodec

Message = Mapping[str, Any]


@dataclass(frozen=True)
class Prompt:
    """``input_ids`` int64 [tokens] of one sequence. ``images`` in the order of their placeholders among the ids: an
    image takes as many of them as it has tokens."""

    input_ids: Array | Sequence[int]
    images: tuple[ImageInputs, ...] = ()

    @classmethod
    def from_text(cls, text: str, images: Sequence[ImageInputs], bundle: Bundle, codec: TextCodec) -> Prompt:
        """``text`` with `<|image|>` where each of ``images`` belongs.

        Raises InputError when their numbers differ, or the bundle takes no images.
        """
        if not images:
            return cls(np.array(codec.encode(text), np.int64))
        media, tokens = Media(images=tuple(images)), media_of(bundle).tokens
        placed = place(codec.encode(write_out(text, media, tokens)), media, tokens)
        return cls(placed.input_ids, tuple(images))

    @classmethod
    def from_messages(cls, messages: Sequence[Message], bundle: Bundle, codec: TextCodec) -> Prompt:
        """Messages (`role`, `content`) through the chat template, ready for the model's turn. A content is a text, or a
        list of items: `{"type": "text", "text": ...}`, and `{"type": "image", "image": path or bytes}`, which may have
        a ``budget`` of tokens.

        Raises InputError for an image that cannot be read, or where the bundle takes none, MachineError without Pillow.
        """
        images: list[ImageInputs] = []
        plain = [_without_images(message, bundle, images) for message in messages]
        return cls.from_text(codec.render_chat(plain), images, bundle, codec)


def ask(bundle: Bundle, codec: TextCodec, text: str, images: Sequence[Source], chat: bool) -> Prompt:
    """The prompt of one question: ``text`` and ``images``, which stand in front of it, or where it has `<|image|>`.

    ``chat``: through the chat template, as a message of the user. Raises what `Prompt.from_messages` raises.
    """
    reader = Preprocessor(media_of(bundle)) if images else None
    made = [reader.image(source) for source in images] if reader is not None else []
    placeholder = reader.spec.tokens.image.text if reader is not None else ""
    placed = bool(images) and placeholder in text
    if not chat:
        return Prompt.from_text(text if placed else placeholder * len(made) + text, made, bundle, codec)
    content: Any = text
    if images and not placed:
        content = [*({"type": "image"} for _ in made), {"type": "text", "text": text}]
    return Prompt.from_text(codec.render_chat([{"role": "user", "content": content}]), made, bundle, codec)


def media_of(bundle: Bundle) -> MediaSpec:
    """What ``bundle`` takes beside text. Raises InputError when it takes no images."""
    check_takes(bundle, "image")
    spec = bundle.manifest.media
    if spec is None:  # `bundle/consistency.py` has seen to it
        raise InputError("this bundle does not say how images become inputs", fix="compile it again")
    return spec


def _without_images(message: Message, bundle: Bundle, images: list[ImageInputs]) -> Message:
    """``message`` as the template reads it; its images are read, and added to ``images``."""
    content = message.get("content") if isinstance(message, Mapping) else None
    if not isinstance(content, list | tuple):
        return message
    items: list[Any] = []
    for item in content:
        if isinstance(item, Mapping) and item.get("type") == "image":
            if "image" not in item:
                raise InputError("an item of the type image names none", fix='{"type": "image", "image": PATH}')
            images.append(Preprocessor(media_of(bundle)).image(item["image"], item.get("budget")))
            items.append({"type": "image"})
        else:
            items.append(item)
    return {**message, "content": items}
