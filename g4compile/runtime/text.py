"""Text in and out: the bundle's tokenizer, its chat template, and streaming that never splits a character."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from g4compile.bundle.folder import Bundle
from g4compile.errors import BundleError

Message = Mapping[str, str]
_BYTE = re.compile("<0x[0-9A-Fa-f]{2}>")  # a token of one byte, as tokenizers' `ByteFallback` decodes it


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
        added = self._tokenizer.get_added_tokens_decoder()
        self._special = {token for token, content in added.items() if content.special}
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
        """Text of ``ids``, special tokens left out. Byte tokens that make no valid UTF-8 are replacement characters."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return text

    def stream(self, ids: Iterable[int]) -> Iterator[str]:
        """Text of ``ids`` as it becomes certain; the pieces joined are what `decode` gives.

        A run of byte tokens is held back until another token ends it: one byte that makes its UTF-8 invalid turns every
        byte of the run into a replacement character. Other tokens are text of their own, whatever stands beside them.
        """
        run: list[int] = []
        for token in ids:
            word = self._tokenizer.id_to_token(token)
            if word is None or token in self._special:
                continue  # decoding leaves it out, and a run of bytes goes on behind it
            run.append(token)
            if not _BYTE.fullmatch(word):
                yield from self._piece(run)
                run = []
        yield from self._piece(run)

    def _piece(self, ids: Sequence[int]) -> Iterator[str]:
        text = self.decode(ids)
        if text:
            yield text


def _refuse(message: str) -> None:
    from jinja2.exceptions import TemplateError

    raise TemplateError(message)


def _json(file: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return loaded


def _template(folder: Path, settings: Mapping[str, Any]) -> str | None:
    file = folder / "chat_template.jinja"
    return file.read_text(encoding="utf-8") if file.exists() else settings.get("chat_template")
