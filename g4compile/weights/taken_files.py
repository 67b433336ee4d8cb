"""A checkpoint's own files of tensors in a bundle that needs no checkpoint: as hard links, or as copies."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from g4compile.weights.checkpoint import Checkpoint


def take_files(source: Checkpoint, keys: Iterable[str], folder: Path) -> None:
    """Put the files of ``source`` that hold the tensors ``keys`` into ``folder``, whole and under their names. A link
    costs no space, and is the same file: who changes the checkpoint in place changes it. Where the file system has no
    links, or ``folder`` is on another one, they are copies. Raises OSError."""
    for file in sorted({source.tensors[key].file for key in keys}):
        place = folder / file.name
        place.unlink(missing_ok=True)  # of an earlier compile that did not end
        try:
            os.link(file.resolve(), place)
        except OSError:
            shutil.copyfile(file, place)
