"""A prompt with images, videos and sounds: token ids, and what stands in the place of some of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from g4compile.bundle.folder import Bundle
from g4compile.bundle.media import MediaSpec
from g4compile.errors import InputError
from g4compile.runtime import arguments
from g4compile.runtime.generation import check_takes
from g4compile.runtime.media.placeholders import Media, place, write_out
from g4compile.runtime.media.preprocessor import Preprocessor
from g4compile.runtime.media.records import Array, AudioInputs, ImageInputs, VideoInputs
from g4compile.runtime.media.sources import Source
from g4compile.runtime.text import TextCodec

Message = Mapping[str, Any]
KINDS = ("image", "video", "audio")
# What an item of a message may say beside its source: arguments of the `Preprocessor`.
_OPTIONS = {"image": ("budget",), "video": ("frames", "budget", "rate"), "audio": ("sampling_rate",)}


@dataclass(frozen=True, eq=False)
class Prompt:
    """``input_ids`` int64 [tokens] of one sequence. Media of each kind in the order of their placeholders among the
    ids: each takes as many of them as it has tokens."""

    input_ids: Array | Sequence[int]
    images: tuple[ImageInputs, ...] = ()
    videos: tuple[VideoInputs, ...] = ()
    audios: tuple[AudioInputs, ...] = ()

    @property
    def media(self) -> Media:
        return Media(self.images, self.videos, self.audios)

    @classmethod
    def from_text(cls, text: str, media: Media, bundle: Bundle, codec: TextCodec) -> Prompt:
        """``text`` with `<|image|>`, `<|video|>` and `<|audio|>` where each of ``media`` belongs.

        Raises InputError when their numbers differ, or the bundle does not take them.
        """
        if media.is_empty and bundle.manifest.media is None:
            return cls(np.array(codec.encode(text), np.int64))
        tokens = media_of(bundle).tokens
        placed = place(codec.encode(write_out(text, media, tokens)), media, tokens)
        return cls(placed.input_ids, tuple(media.images), tuple(media.videos), tuple(media.audios))

    @classmethod
    def from_messages(cls, messages: Sequence[Message], bundle: Bundle, codec: TextCodec | None = None) -> Prompt:
        """Messages (`role`, `content`) through the chat template, ready for the model's turn. A content is a text, or a
        list of items:

            {"type": "text", "text": ...}
            {"type": "image", "image": path or bytes, "budget": most tokens}
            {"type": "video", "video": path, bytes, or list of frames, "frames": most, "budget": of each, "rate": ...}
            {"type": "audio", "audio": path, bytes, or float array, "sampling_rate": of an array}

        ``codec``: that of the bundle; None makes one. What may stand beside a source is what `Preprocessor` takes.

        Raises InputError for a file that cannot be read, or where the bundle does not take it, MachineError without a
        library of the extra `media`.
        """
        if not isinstance(bundle, Bundle):
            raise arguments.refused("bundle", bundle, "a Bundle, such as `session.bundle`")
        if not isinstance(messages, list | tuple):
            raise arguments.refused("messages", messages, "a list of messages")
        reader = _Reader(bundle)
        plain = [reader.without_media(message) for message in messages]
        text = codec or TextCodec(bundle)
        return cls.from_text(text.render_chat(plain), reader.media, bundle, text)


def ask(
    bundle: Bundle,
    codec: TextCodec,
    text: str,
    sources: Mapping[str, Sequence[Source]],
    chat: bool,
    budget: int | None = None,
) -> Prompt:
    """The prompt of one question: ``text``, and ``sources`` by kind (`KINDS`). Those of a kind stand where the text has
    its placeholder, or in front of it: images, then videos, then sounds.

    ``chat``: through the chat template, as a message of the user. ``budget``: most tokens of each image; None for what
    the checkpoint says. Raises what `Prompt.from_messages` raises.
    """
    reader = _Reader(bundle)
    front: list[str] = []
    for kind in KINDS:
        given = sources.get(kind, ())
        for source in given:
            reader.read(kind, source, {"budget": budget} if kind == "image" else {})
        if given and reader.placeholder(kind) not in text:
            front += [kind] * len(given)
    if not chat:
        return Prompt.from_text("".join(map(reader.placeholder, front)) + text, reader.media, bundle, codec)
    content: Any = text
    if front:
        content = [*({"type": kind} for kind in front), {"type": "text", "text": text}]
    return Prompt.from_text(codec.render_chat([{"role": "user", "content": content}]), reader.media, bundle, codec)


def media_of(bundle: Bundle) -> MediaSpec:
    """How media become inputs of ``bundle``. Raises InputError when it takes none."""
    spec = bundle.manifest.media
    if spec is None:
        check_takes(bundle, "image")
        raise InputError("this bundle does not say how images become inputs", fix="compile it again")
    return spec


class _Reader:
    """Reads the media of a prompt for ``bundle``."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._found: dict[str, list[Any]] = {kind: [] for kind in KINDS}

    @property
    def media(self) -> Media:
        return Media(*map(tuple, self._found.values()))

    def placeholder(self, kind: str) -> str:
        text: str = getattr(media_of(self.bundle).tokens, kind).text
        return text

    def read(self, kind: str, source: Any, options: Mapping[str, Any]) -> None:
        check_takes(self.bundle, kind)
        read = getattr(Preprocessor(media_of(self.bundle)), kind)
        self._found[kind].append(read(source, **options))

    def without_media(self, message: Message) -> Message:
        """``message`` as the template reads it; its media are read."""
        content = message.get("content") if isinstance(message, Mapping) else None
        if not isinstance(content, list | tuple):
            return message
        items: list[Any] = []
        for item in content:
            kind = item.get("type") if isinstance(item, Mapping) else None
            if kind not in KINDS:
                items.append(item)
                continue
            if kind not in item:
                raise InputError(f"an item of the type {kind} names none", fix=f'{{"type": "{kind}", "{kind}": PATH}}')
            unknown = [str(name) for name in item if name not in ("type", kind, *_OPTIONS[kind])]
            if unknown:
                raise InputError(
                    f"an item of the type {kind} has no {', '.join(unknown)}",
                    fix=f"beside its source it takes: {', '.join(_OPTIONS[kind])}",
                )
            self.read(kind, item[kind], {name: item[name] for name in _OPTIONS[kind] if name in item})
            items.append({"type": kind})
        return {**message, "content": items}
