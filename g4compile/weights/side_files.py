"""The files beside the weights that a bundle takes with it: tokenizer, template, generation settings.

All are read and checked before a weight is written, and what was read is what the bundle gets. Their forms are those of
`runtime/text_files.py`; the tokenizer is loaded where a runtime loads it, in a process with limits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from g4compile.errors import BundleError, CheckpointError
from g4compile.inputs.documents import decode_object, decode_text, shown
from g4compile.inputs.files import Kind, is_there, read_bytes, root_of
from g4compile.runtime.text_files import SETTINGS, TEMPLATE, TOKENIZER, kind_of, named_templates, special_tokens
from g4compile.runtime.text_process import TextProcess
from g4compile.weights.checkpoint import SIDE_FILES, Checkpoint

_FIX = "take the file of the published checkpoint"


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
            kind = kind_of(name, CheckpointError, _FIX)
            files[name] = read_bytes(path, kind, root_of(checkpoint.folder))
            if name == "generation_config.json":
                stops = _stops(decode_object(files[name], kind, path), checkpoint.facts.text.vocab_size, path)
            else:
                _CHECKS[name](files[name], kind, path)
    return SideFiles(files, stops)


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
    """Load it. A hostile one ends the process that does so (a panic of Rust, an allocation without end), or never
    comes to an end."""
    decode_text(data, kind, path)
    process = TextProcess(lambda: data, path)
    try:
        process.start()
    except BundleError as error:
        raise kind.refuse(f"{kind.name} is not a tokenizer that can be loaded", path, error.why) from error
    finally:
        process.close()


def _check_settings(data: bytes, kind: Kind, path: Path) -> None:
    settings = decode_object(data, kind, path)
    special_tokens(settings, kind, path)
    for template in named_templates(settings, kind, path).values():
        _check_syntax(template, kind, path)


def _check_template(data: bytes, kind: Kind, path: Path) -> None:
    _check_syntax(decode_text(data, kind, path), kind, path)


def _check_syntax(template: str, kind: Kind, path: Path) -> None:
    from jinja2.exceptions import TemplateSyntaxError

    from g4compile.runtime.template import check_syntax

    try:
        check_syntax(template)
    except TemplateSyntaxError as error:
        why = f"line {error.lineno}: {error.message}"
        raise kind.refuse(f"the chat template in {kind.name} is not valid Jinja", path, why) from error
    except RecursionError as error:
        raise kind.refuse(f"the chat template in {kind.name} is nested too deep", path) from error


_CHECKS: dict[str, Callable[[bytes, Kind, Path], Any]] = {
    TOKENIZER: _check_tokenizer,
    SETTINGS: _check_settings,
    TEMPLATE: _check_template,
    "special_tokens_map.json": decode_object,
}
