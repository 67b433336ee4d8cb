"""The tables of a bundle's text files: what a runtime without Python reads in their place."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from pathlib import Path

from g4compile.bundle.manifest import TextTables
from g4compile.inputs.files import is_there
from g4compile.runtime.text_files import TOKENIZER, TextFiles
from g4compile.text_tables.chat import chat_table
from g4compile.text_tables.chat_check import check_chat_table
from g4compile.text_tables.no_table import NoTable
from g4compile.text_tables.tokenizer import TOKENIZER_TABLE, tokenizer_table

CHAT_TABLE = "chat.g4"  # the file's name in a bundle
_Named = tuple[tuple[str, str], ...]


def write_text_tables(folder: Path) -> TextTables:
    """Write the tables of the text files in ``folder``, a bundle's, beside them; what the manifest says of them.

    A file that its table cannot say is warned about, and has none: the bundle has no such text from C then.
    """
    if not is_there(folder / TOKENIZER):
        return TextTables(None, None)
    files = TextFiles.open(folder)
    refused: dict[str, str] = {}

    def table(kind: str, name: str, make: Callable[[], bytes]) -> str | None:
        try:
            data = make()
        except NoTable as error:
            refused[kind] = error.why
            warnings.warn(f"the bundle has no table of its {kind} for C: {error.why}", stacklevel=3)
            return None
        (folder / name).write_bytes(data)
        return name

    tokenizer, chat = table("tokenizer", TOKENIZER_TABLE, lambda: _tokenizer(files.tokenizer())), None
    if files.templates:
        named = tuple(sorted(files.templates.items())), tuple(sorted(files.names.items()))
        chat = table("chat", CHAT_TABLE, lambda: _chat(*named))
    return TextTables(tokenizer, chat, refused)


# Several bundles are often made of one checkpoint.
_tokenizer = functools.lru_cache(maxsize=2)(tokenizer_table)


@functools.lru_cache(maxsize=2)
def _chat(templates: _Named, names: _Named) -> bytes:
    """A table that has been compared with jinja2. Raises NoTable."""
    made = chat_table(dict(templates), dict(names))
    check_chat_table(made, dict(templates), dict(names), Path(CHAT_TABLE))
    return made
