"""Writing a bundle so that it appears whole or not at all.

Everything goes into a sibling folder that no runtime loads; the manifest is written last; then the folder takes
its name in one rename. A killed compile leaves the sibling behind, and the next compile to the same place takes
it over: when it is of the same work, the tensors it already holds are kept. Two compiles at once to one place are told apart by a lock that dies with its process.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from g4compile.bundle import manifest as bundle
from g4compile.bundle.folder import Bundle, sha256
from g4compile.bundle.manifest import FileSpec, Manifest
from g4compile.errors import BundleError, MachineError
from g4compile.weights.journal import Journal

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def staging(output: Path, force: bool, identity: str = "") -> Iterator[Path]:
    """A folder beside ``output`` to write into: fresh, or with a killed compile's work of the same ``identity``.

    Raises BundleError when ``output`` exists and not ``force``.
    """
    if output.exists() and not force:
        raise BundleError(f"{output} exists", fix="choose another output, or replace it with --force")
    if output.exists() and any(output.iterdir()) and not (output / bundle.MANIFEST).exists():
        raise BundleError(
            f"{output} exists and is not a bundle, so --force will not replace it", fix="choose another output"
        )
    folder = output.with_name(f".{output.name}.g4partial")
    lock = output.with_name(f".{output.name}.g4lock")
    with _disk_errors(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("w") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BundleError(
                    f"another compile is writing {output}", fix="wait for it, or choose another output"
                ) from None
            _recover(output)
            if not identity or not Journal.belongs(folder, identity):
                shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(exist_ok=True)
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
                lock.unlink(missing_ok=True)


def finish(folder: Path, output: Path, manifest: Manifest) -> Bundle:
    """Write the manifest of the files in ``folder``, then let the folder take the name ``output``."""
    (folder / Journal.NAME).unlink(missing_ok=True)
    files = {path.name: FileSpec(path.stat().st_size, sha256(path)) for path in sorted(folder.iterdir())}
    whole = Manifest(
        **{name: getattr(manifest, name) for name in manifest.__struct_fields__ if name != "files"}, files=files
    )
    for path in folder.iterdir():
        _sync(path)
    (folder / bundle.MANIFEST).write_bytes(bundle.encode(whole))
    _sync(folder / bundle.MANIFEST)
    if output.exists():
        old = _aside(output)
        output.rename(old)
        folder.rename(output)
        shutil.rmtree(old, ignore_errors=True)
    else:
        folder.rename(output)
    return Bundle(output, whole)


def _aside(output: Path) -> Path:
    return output.with_name(f".{output.name}.g4old")


def _recover(output: Path) -> None:
    """A replacement killed between its two renames left the old bundle aside: put it back, or drop it."""
    old = _aside(output)
    if old.exists() and not output.exists():
        old.rename(output)
    shutil.rmtree(old, ignore_errors=True)


def _sync(path: Path) -> None:
    with path.open("rb") as opened:
        os.fsync(opened.fileno())


@contextmanager
def _disk_errors(output: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise MachineError(
                f"the disk filled up while writing {output}",
                why=error.strerror or "",
                fix="free space or choose another output; nothing half-written was left",
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise BundleError(
                f"cannot write {output}", why=error.strerror or "", fix="choose another output"
            ) from error
        raise
