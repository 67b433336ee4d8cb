"""Text in and out: the bundle's tokenizer, its chat template, and streaming that never splits a character."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from g4compile.bundle.folder import Bundle
from g4compile.errors import BundleError

Message = Mapping[str, str]


class TextCodec:
    """Token ids <-> text, as the bundle's tokenizer files say."""

    def __init__(self, bundle: Bundle) -> None:
        """Raises BundleError when the bundle holds no tokenizer."""
        from tokenizers import Tokenizer

        file = bundle.folder / "tokenizer.json"
        if not file.exists():
            raise BundleError(
                "the bundle has no tokenizer",
                where=str(bundle.folder),
                why="the checkpoint it was compiled from had no tokenizer.json",
                fix="give token ids (--ids), or compile from a checkpoint with tokenizer.json",
            )
        self._tokenizer = Tokenizer.from_file(str(file))
        self._bos = bundle.manifest.bos_token_id
        self._settings = _json(bundle.folder / "tokenizer_config.json")
        self._template = _template(bundle.folder, self._settings)

    @property
    def has_template(self) -> bool:
        return self._template is not None

    def encode(self, text: str) -> list[int]:
        """Plain text to ids, with `<bos>` in front."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids if ids[:1] == [self._bos] else [self._bos, *ids]

    def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        """Messages (`role`, `content`) through the chat template, ready for the model's turn."""
        if self._template is None:
            raise BundleError("the bundle has no chat template", fix="give the prompt as it is (--raw)")
        from jinja2.exceptions import TemplateError
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["raise_exception"] = _refuse
        names = {
            key: value if isinstance(value, str) else value.get("content", "")
            for key, value in self._settings.items()
            if key.endswith("_token") and value
        }
        try:
            text = environment.from_string(self._template).render(
                messages=list(messages), add_generation_prompt=True, **{"bos_token": "<bos>", **names}
            )
        except TemplateError as error:
            raise BundleError("the chat template cannot be rendered", why=str(error)) from error
        return self.encode(text)

    def decode(self, ids: Iterable[int]) -> str:
        return "".join(self.stream(ids))

    def stream(self, ids: Iterable[int]) -> Iterator[str]:
        """Text of ``ids`` as it becomes certain: pieces are held back until their UTF-8 characters are whole."""
        from tokenizers.decoders import DecodeStream

        decoder = DecodeStream(skip_special_tokens=True)
        seen: list[int] = []
        length = 0
        for token in ids:
            seen.append(token)
            piece = decoder.step(self._tokenizer, token)
            if piece:
                length += len(piece)
                yield piece
        # Generation may stop inside a character: what is left is shown as the replacement character, not lost.
        rest = self._tokenizer.decode(seen, skip_special_tokens=True)[length:]
        if rest:
            yield rest


def _refuse(message: str) -> None:
    from jinja2.exceptions import TemplateError

    raise TemplateError(message)


def _json(file: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return loaded


def _template(folder: Path, settings: Mapping[str, Any]) -> str | None:
    file = folder / "chat_template.jinja"
    return file.read_text(encoding="utf-8") if file.exists() else settings.get("chat_template")
