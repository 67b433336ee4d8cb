"""Manifests that say something else than was compiled, with the hash of what they are now: lies, and no damage."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from g4compile.bundle.own_hash import add_own_hash


def change(folder: Path, **fields: Any) -> None:
    """Set fields of the manifest; a function is called with the old value."""

    def edit(manifest: dict[str, Any]) -> None:
        for name, value in fields.items():
            manifest[name] = value(manifest.get(name)) if callable(value) else value

    rewrite(folder, edit)


def rewrite(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Let ``edit`` change the manifest as JSON, and write it again."""
    file = folder / "g4.json"
    manifest = json.loads(file.read_text())
    edit(manifest)
    file.unlink()  # it may have other names
    file.write_bytes(add_own_hash(manifest))


def with_own_hash(data: bytes) -> bytes:
    """``data`` with the hash of what it is now, where it has the field once; whatever else it is."""
    before, field, after = data.partition(b'"manifest_sha256": "')
    if len(after) < 64:
        return data
    zeros = before + field + b"0" * 64 + after[64:]
    return before + field + hashlib.sha256(zeros).hexdigest().encode() + after[64:]


def linked(source: Path, folder: Path) -> Path:
    """A copy of a bundle that shares the content of its files. Replace a file in it, never write into one."""
    shutil.copytree(source, folder, copy_function=os.link)
    return folder


def put_listed(folder: Path, name: str, content: bytes) -> None:
    """Give the file ``name`` of a bundle another content, and the manifest the size and the hash of that."""
    replace(folder / name, content)
    spec = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    change(folder, files=lambda files: {**files, name: {**files[name], **spec}})


def replace(file: Path, content: bytes) -> None:
    """Give ``file`` another content, and other names of it none."""
    file.unlink()
    file.write_bytes(content)
