"""Text in and out: the bundle's tokenizer, its chat template, and streaming that never splits a character.

Tokenizer and templates run in a process of their own (`text_process.py`), which has limits of time and memory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from g4compile.bundle.folder import Bundle
from g4compile.errors import InputError
from g4compile.runtime.arguments import integer, refused
from g4compile.runtime.text_files import TextFiles
from g4compile.runtime.text_process import TextProcess

Message = Mapping[str, Any]
_BYTE = re.compile("<0x[0-9A-Fa-f]{2}>")  # a token of one byte, as tokenizers' `ByteFallback` decodes it
_MOST = (1 << 32) - 1  # of a token id, in a tokenizer


class TextCodec:
    """Token ids <-> text, as the bundle's tokenizer files say.

    Methods raise BundleError when these files make an error, or take more time or memory than they are given.
    """

    def __init__(self, bundle: Bundle) -> None:
        """Raises BundleError when the bundle holds no tokenizer, or files that are not usable."""
        self._files = TextFiles.open(bundle.folder)
        self._bos = bundle.manifest.bos_token_id
        self._words: dict[int, str | None] = {}
        self._process = TextProcess(self._files.tokenizer, bundle.folder)
        self._process.start()

    @property
    def has_template(self) -> bool:
        return bool(self._files.templates)

    def encode(self, text: str) -> list[int]:
        """Plain text to ids, with `<bos>` in front. Raises InputError for what is no valid text."""
        _check_text("the prompt", text)
        ids: list[int] = self._process.ask("encode", len(text), text=text)
        return ids if ids[:1] == [self._bos] else [self._bos, *ids]

    def encode_chat(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None = None) -> list[int]:
        """Messages (`role`, `content`) through the chat template, ready for the model's turn."""
        return self.encode(self.render_chat(messages, tools))

    def render_chat(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None = None) -> str:
        """The text of `encode_chat`. ``tools``: JSON schemas of functions, where the template knows them.

        Raises InputError for messages that are not JSON, BundleError when there is no template or it cannot be
        rendered.
        """
        template = self._files.template(tools is not None)
        if not isinstance(messages, list | tuple) or not all(isinstance(message, Mapping) for message in messages):
            raise refused("messages", messages, "a list of messages, each with `role` and `content`")
        if not messages:
            raise InputError("the conversation is empty", fix="give at least one message")
        size = len(template) + _check_json("messages", messages) + _check_json("tools", tools)
        given = {"template": template, "messages": messages, "tools": tools, "names": self._files.names}
        text: str = self._process.ask("render", size, **given)
        return text

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ``ids``, special tokens left out. Byte tokens that make no valid UTF-8 are replacement characters."""
        checked = [integer("a token id", token, 0, _MOST) for token in ids]
        text: str = self._process.ask("decode", len(checked), ids=checked)
        return text

    def close(self) -> None:
        """End the process of the tokenizer now, and not with this object."""
        self._process.close()

    def stream(self, ids: Iterable[int]) -> Iterator[str]:
        """Text of ``ids`` as it becomes certain; the pieces joined are what `decode` gives.

        A run of byte tokens is held back until another token ends it: one byte that makes its UTF-8 invalid turns every
        byte of the run into a replacement character. Other tokens are text of their own, whatever stands beside them.
        """
        run: list[int] = []
        for token in ids:
            word = self._word(token)
            if word is None or token in self._process.special:
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

    def _word(self, token: int) -> str | None:
        token = integer("a token id", token, 0, _MOST)
        if token not in self._words:
            self._words[token] = self._process.ask("word", id=token)
        return self._words[token]


def _check_text(name: str, text: object) -> None:
    if not isinstance(text, str):
        raise refused(name, text, "a str")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"{name} is no valid text",
            why=f"character {error.start} is {text[error.start]!a}, half of a pair",
            fix="decode the input as UTF-8",
        ) from error


def _check_json(name: str, value: object) -> int:
    """Characters of ``value`` as JSON. Raises InputError when it is none, or has text that is not valid."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise refused(name, value, "dicts, lists, str, numbers, bool and None", str(error)) from error
    _check_text(name, text)
    return len(text)
