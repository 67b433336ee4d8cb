"""What files say about text: the bytes of a tokenizer, special tokens, chat templates.

Limits and forms of these files stand here alone. A checkpoint's are read with them too (`weights/side_files.py`), so
that what a compile takes, a runtime loads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from g4compile.errors import BundleError, InputError
from g4compile.inputs.documents import decode_object, decode_text, shown
from g4compile.inputs.files import Kind, check_file, is_there, read_bytes, root_of

TOKENIZER, SETTINGS, TEMPLATE = "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"
DEFAULT, WITH_TOOLS = "default", "tool_use"
_LIMITS = {TOKENIZER: 128 << 20, TEMPLATE: 1 << 20}  # bytes; the published tokenizer has 32 MB
_LIMIT = 16 << 20
# Those that templates of `transformers` are given.
_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


def kind_of(name: str, error: type[InputError], fix: str) -> Kind:
    """The file ``name``, one of those beside the weights of a checkpoint, and how large it may be."""
    return Kind(name, _LIMITS.get(name, _LIMIT), error, fix)


def special_tokens(settings: Mapping[str, Any], kind: Kind, where: Path) -> dict[str, str]:
    """Special tokens that tokenizer_config.json names: strings, or objects with one as content."""
    names = {}
    for name in _NAMED:
        value = settings.get(name)
        text = value.get("content") if isinstance(value, dict) else value
        if isinstance(text, str):
            names[name] = text
        elif value is not None:
            why = "it must be a string, or an object with one as content"
            raise kind.refuse(f"{name} of {kind.name} is {shown(value)}", where, why)
    return names


def named_templates(settings: Mapping[str, Any], kind: Kind, where: Path) -> dict[str, str]:
    """Chat templates in tokenizer_config.json, by name: one source, or a list of named ones."""
    given = settings.get("chat_template")
    if given is None:
        return {}
    entries = [{"name": DEFAULT, "template": given}] if isinstance(given, str) else given
    if not isinstance(entries, list) or not all(_is_entry(entry) for entry in entries):
        why = "it must be a template, or a list of objects with a name and a template"
        raise kind.refuse(f"chat_template of {kind.name} is {shown(given)}", where, why)
    return {entry["name"]: entry["template"] for entry in entries}


def _is_entry(entry: object) -> bool:
    return isinstance(entry, dict) and all(isinstance(entry.get(key), str) for key in ("name", "template"))


_FIX = "mend the file in the checkpoint, and compile again"
_KINDS = {name: kind_of(name, BundleError, _FIX) for name in (TOKENIZER, SETTINGS, TEMPLATE)}


@dataclass(frozen=True)
class TextFiles:
    """A bundle's. ``names``: special tokens by what templates call them. ``templates``: sources by name."""

    folder: Path
    names: Mapping[str, str]
    templates: Mapping[str, str]

    @classmethod
    def open(cls, folder: Path) -> TextFiles:
        """Read all but the tokenizer, whose file is looked at. Raises BundleError for a file that is not what it
        should be, and when there is no tokenizer."""
        if not is_there(folder / TOKENIZER, BundleError):
            raise BundleError(
                "the bundle has no tokenizer",
                where=str(folder),
                why="the checkpoint it was compiled from had no tokenizer.json",
                fix="give token ids (--ids), or compile from a checkpoint with tokenizer.json",
            )
        check_file(folder / TOKENIZER, _KINDS[TOKENIZER], root_of(folder))
        kind, file, template = _KINDS[SETTINGS], folder / SETTINGS, folder / TEMPLATE
        settings = decode_object(_read(file), kind, file) if is_there(file, BundleError) else {}
        names = {"bos_token": "<bos>", **special_tokens(settings, kind, file)}
        if is_there(template, BundleError):  # it stands before those of the settings
            return cls(folder, names, {DEFAULT: decode_text(_read(template), _KINDS[TEMPLATE], template)})
        return cls(folder, names, named_templates(settings, kind, file))

    def tokenizer(self) -> bytes:
        """The content of tokenizer.json."""
        return _read(self.folder / TOKENIZER)

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


def _read(file: Path) -> bytes:
    return read_bytes(file, _KINDS[file.name], root_of(file.parent))
