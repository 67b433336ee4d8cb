"""What a bundle's files say about text: the bytes of its tokenizer, its special tokens, its chat templates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from g4compile.errors import BundleError
from g4compile.inputs.documents import decode_json, decode_text
from g4compile.inputs.files import Kind, check_file, is_there, read_bytes, root_of

_FIX = "mend the file in the checkpoint, and compile again"
_TOKENIZER = Kind("the tokenizer tokenizer.json", 128 << 20, BundleError, _FIX)  # the published one has 32 MB
_SETTINGS = Kind("tokenizer_config.json", 16 << 20, BundleError, _FIX)
_TEMPLATE = Kind("the chat template", 1 << 20, BundleError, _FIX)
# Those that templates of `transformers` are given.
_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
DEFAULT, WITH_TOOLS = "default", "tool_use"


@dataclass(frozen=True)
class TextFiles:
    """``names``: special tokens by what templates call them. ``templates``: sources by name."""

    folder: Path
    names: Mapping[str, str]
    templates: Mapping[str, str]

    @classmethod
    def open(cls, folder: Path) -> TextFiles:
        """Read all but the tokenizer, whose file is looked at. Raises BundleError for a file that is not what it
        should be, and when there is no tokenizer."""
        file = folder / "tokenizer.json"
        if not is_there(file, BundleError):
            raise BundleError(
                "the bundle has no tokenizer",
                where=str(folder),
                why="the checkpoint it was compiled from had no tokenizer.json",
                fix="give token ids (--ids), or compile from a checkpoint with tokenizer.json",
            )
        check_file(file, _TOKENIZER, root_of(folder))
        settings = _settings(folder / "tokenizer_config.json")
        return cls(folder, _names(settings, folder), _templates(folder, settings))

    def tokenizer(self) -> bytes:
        """The content of tokenizer.json."""
        return read_bytes(self.folder / "tokenizer.json", _TOKENIZER, root_of(self.folder))

    def template(self, with_tools: bool) -> str:
        """The source of the chat template. Raises BundleError when there is none, or none has a name that is known."""
        if not self.templates:
            raise BundleError("the bundle has no chat template", fix="give the prompt as it is (--raw)")
        name = WITH_TOOLS if with_tools and WITH_TOOLS in self.templates else DEFAULT
        if name not in self.templates:
            raise BundleError(
                f"the bundle has no chat template that is named {DEFAULT}",
                where=str(self.folder),
                why=f"it has {', '.join(map(repr, self.templates))}",
                fix="give the prompt as it is (--raw)",
            )
        return self.templates[name]


def _settings(file: Path) -> dict[str, Any]:
    if not is_there(file, BundleError):
        return {}
    found = decode_json(read_bytes(file, _SETTINGS, root_of(file.parent)), _SETTINGS, file)
    if not isinstance(found, dict):
        raise _SETTINGS.refuse("tokenizer_config.json is not one object of JSON", file)
    return found


def _names(settings: Mapping[str, Any], folder: Path) -> dict[str, str]:
    names = {"bos_token": "<bos>"}
    for name in _NAMED:
        value = settings.get(name)
        text = value.get("content") if isinstance(value, dict) else value
        if isinstance(text, str):
            names[name] = text
        elif value is not None:
            raise _SETTINGS.refuse(
                f"{name} in tokenizer_config.json is no token", folder, "a token is a string, or has one as `content`"
            )
    return names


def _templates(folder: Path, settings: Mapping[str, Any]) -> dict[str, str]:
    """The file's, where there is one, and those of the settings, which are one source or a list of named ones."""
    file, found = folder / "chat_template.jinja", settings.get("chat_template")
    if is_there(file, BundleError):
        return {DEFAULT: decode_text(read_bytes(file, _TEMPLATE, root_of(folder)), _TEMPLATE, file)}
    if found is None:
        return {}
    entries = [{"name": DEFAULT, "template": found}] if isinstance(found, str) else found
    if not isinstance(entries, list) or not all(_is_entry(entry) for entry in entries):
        raise _SETTINGS.refuse(
            "chat_template in tokenizer_config.json is no template",
            folder / "tokenizer_config.json",
            "it is a string, or a list of objects with the strings `name` and `template`",
        )
    return {entry["name"]: entry["template"] for entry in entries}


def _is_entry(entry: object) -> bool:
    return isinstance(entry, dict) and all(isinstance(entry.get(key), str) for key in ("name", "template"))
