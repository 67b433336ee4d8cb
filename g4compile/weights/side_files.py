"""The files beside the weights that a bundle takes with it: tokenizer, template, generation settings.

All are read and checked before a weight is written, and what was read is what the bundle gets. What a compile accepts
here, `runtime/text.py` loads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from g4compile.errors import CheckpointError
from g4compile.inputs.documents import decode_json, decode_text
from g4compile.inputs.files import Kind, is_there, read_bytes, root_of
from g4compile.model.fields import shown
from g4compile.weights.checkpoint import SIDE_FILES, Checkpoint

_LIMITS = {"tokenizer.json": 128 << 20, "chat_template.jinja": 1 << 20}  # bytes; the published tokenizer has 32 MB
_LIMIT = 16 << 20
_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


@dataclass(frozen=True)
class SideFiles:
    """``files``: name -> bytes, of those that are there. ``stop_token_ids``: those of `generation_config.json`."""

    files: Mapping[str, bytes]
    stop_token_ids: tuple[int, ...]

    def write(self, folder: Path) -> None:
        """Put all of them into ``folder``."""
        for name, data in self.files.items():
            (folder / name).write_bytes(data)


def read_side_files(checkpoint: Checkpoint) -> SideFiles:
    """Read and check them. Raises CheckpointError that names the file and, where there is one, the field."""
    files: dict[str, bytes] = {}
    stops: tuple[int, ...] = ()
    for name in SIDE_FILES:
        path = checkpoint.folder / name
        if is_there(path, CheckpointError):
            kind = Kind(name, _LIMITS.get(name, _LIMIT), CheckpointError, "take the file of the published checkpoint")
            files[name] = read_bytes(path, kind, root_of(checkpoint.folder))
            if name == "generation_config.json":
                stops = _stops(_object(files[name], kind, path), checkpoint.facts.text.vocab_size, path)
            else:
                _CHECKS[name](files[name], kind, path)
    return SideFiles(files, stops)


def _object(data: bytes, kind: Kind, path: Path) -> dict[str, Any]:
    loaded = decode_json(data, kind, path)
    if not isinstance(loaded, dict):
        raise kind.refuse(f"{kind.name} does not hold a JSON object", path, f"it holds {shown(loaded)}")
    return loaded


def _stops(config: Mapping[str, Any], vocab_size: int, path: Path) -> tuple[int, ...]:
    """The ids at which an answer ends: one, several, or none."""
    value = config.get("eos_token_id")
    ids = [] if value is None else value if isinstance(value, list) else [value]
    for token in ids:
        if type(token) is not int or not 0 <= token < vocab_size:
            raise CheckpointError(
                f"eos_token_id of {path.name} is {shown(value)}",
                where=str(path),
                why=f"it must be a token id below {vocab_size:,}, a list of such ids, or null",
            )
    return tuple(ids)


def _check_tokenizer(data: bytes, kind: Kind, path: Path) -> None:
    from tokenizers import Tokenizer

    text = decode_text(data, kind, path)
    try:
        Tokenizer.from_str(text)
    except BaseException as error:
        # tokenizers raises bare Exception; a panic of its Rust code is a BaseException, whose class has no public name.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise kind.refuse(f"{kind.name} is not a tokenizer that can be loaded", path, shown(str(error))) from error


def _check_settings(data: bytes, kind: Kind, path: Path) -> None:
    """Names of special tokens are strings, or objects with their `content`; templates are one, or a list by name."""
    settings = _object(data, kind, path)
    for name in _TOKENS:
        value = settings.get(name)
        text = value.get("content") if isinstance(value, dict) else value
        if not (value is None or isinstance(text, str)):
            why = "it must be a string, or an object with one as content"
            raise kind.refuse(f"{name} of {kind.name} is {shown(value)}", path, why)
    given = settings.get("chat_template", [])
    templates = given if isinstance(given, list) else [{"name": "default", "template": given}]
    for one in templates:
        if not isinstance(one, dict) or not all(isinstance(one.get(key), str) for key in ("name", "template")):
            why = "it must be a template, or a list of objects with a name and a template"
            raise kind.refuse(f"chat_template of {kind.name} is {shown(given)}", path, why)
        _check_syntax(one["template"], kind, path)


def _check_template(data: bytes, kind: Kind, path: Path) -> None:
    _check_syntax(decode_text(data, kind, path), kind, path)


def _check_syntax(template: str, kind: Kind, path: Path) -> None:
    """Raise when ``template`` cannot be parsed. It is not compiled: that would compute `{{ 9**9**9 }}`."""
    from jinja2 import Environment, nodes
    from jinja2.exceptions import TemplateSyntaxError
    from jinja2.ext import Extension, loopcontrols
    from jinja2.parser import Parser

    class Generation(Extension):
        """`{% generation %}`, with which transformers marks the model's words for training."""

        tags = {"generation"}

        def parse(self, parser: Parser) -> list[nodes.Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    try:
        Environment(extensions=[Generation, loopcontrols]).parse(template)
    except TemplateSyntaxError as error:
        why = f"line {error.lineno}: {error.message}"
        raise kind.refuse(f"the chat template in {kind.name} is not valid Jinja", path, why) from error
    except RecursionError as error:
        raise kind.refuse(f"the chat template in {kind.name} is nested too deep", path) from error


_CHECKS: dict[str, Callable[[bytes, Kind, Path], Any]] = {
    "tokenizer.json": _check_tokenizer,
    "tokenizer_config.json": _check_settings,
    "chat_template.jinja": _check_template,
    "special_tokens_map.json": _object,
}
