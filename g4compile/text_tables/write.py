"""The tables of a bundle's text files: what a runtime without Python reads in their place."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from pathlib import Path

from g4compile.bundle.manifest import TextTables
from g4compile.inputs.files import is_there
from g4compile.runtime.text_files import TOKENIZER, TextFiles
from g4compile.text_tables.no_table import NoTable
from g4compile.text_tables.tokenizer import TOKENIZER_TABLE, tokenizer_table

_tokenizer_table = functools.lru_cache(maxsize=2)(tokenizer_table)  # many bundles are made of one checkpoint


def write_text_tables(folder: Path) -> TextTables:
    """Write the tables of the text files in ``folder``, a bundle's, beside them; what the manifest says of them.

    A file that its table cannot say is warned about, and has none: the bundle has no text from C then.
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

    tokenizer = table("tokenizer", TOKENIZER_TABLE, lambda: _tokenizer_table(files.tokenizer()))
    return TextTables(tokenizer, None, refused)
