"""Writing a bundle so that it appears whole or not at all, and so that nothing else is lost.

Everything goes into a sibling folder that no runtime loads; the manifest is written last; then the folder takes its
name in one rename. A killed compile leaves the sibling behind, and the next compile to the same place takes it over:
when it is of the same work, the tensors it already holds are kept. Two compiles at once to one place are told apart
by a lock that dies with its process.

For an output `out` the siblings are `.out.g4partial` (being written), `.out.g4old` (replaced) and `.out.g4lock`.
None is trusted for its name: see `targets/ownership.py`.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from g4compile.bundle import manifest as bundle
from g4compile.bundle.folder import Bundle, sha256
from g4compile.bundle.manifest import FileSpec, Manifest
from g4compile.errors import BundleError, MachineError
from g4compile.targets.lock import locked
from g4compile.targets.ownership import MARKER, check_replaceable, check_side, has_only_files, remove
from g4compile.weights.journal import Journal

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_PLACE = {errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG}


@contextmanager
def staging(output: Path, force: bool, identity: str = "", checkpoint: Path | None = None) -> Iterator[Path]:
    """A folder beside ``output`` to write into: fresh, or with a killed compile's work of the same ``identity``.

    Raises BundleError before any work when ``output`` is a link; when it exists, and not ``force``, or it is no bundle
    of ours, or it has files of ``checkpoint`` in it or lies among them; and when a sibling is not ours.
    """
    with _disk_errors(output):
        _check_output(output, force, checkpoint)
        output.parent.mkdir(parents=True, exist_ok=True)
        with locked(_sibling(output, "g4lock"), output):
            _recover(output)
            _check_output(output, force, checkpoint)
            folder = _sibling(output, "g4partial")
            _take_over(folder, identity)
            try:
                yield folder
            finally:
                if folder.exists():
                    with contextlib.suppress(OSError):
                        remove(folder)


def finish(folder: Path, output: Path, manifest: Manifest, force: bool) -> Bundle:
    """Write the manifest of the files in ``folder``, then let the folder take the name ``output``.

    Raises BundleError when something has come to stand at ``output`` meanwhile: anything but a bundle, or, without
    ``force``, a bundle too.
    """
    (folder / Journal.NAME).unlink(missing_ok=True)
    paths = sorted(path for path in folder.iterdir() if path.name != MARKER)
    files = {path.name: FileSpec(path.stat().st_size, sha256(path)) for path in paths}
    whole = Manifest(
        **{name: getattr(manifest, name) for name in manifest.__struct_fields__ if name != "files"}, files=files
    )
    for path in paths:
        _sync(path)
    (folder / bundle.MANIFEST).write_bytes(bundle.encode(whole))
    _sync(folder / bundle.MANIFEST)
    (folder / MARKER).unlink()  # from here on the manifest says whose it is
    if output.exists() or output.is_symlink():
        if not force:
            raise BundleError(
                f"{output} has appeared while it was compiled", fix="choose another output, or replace it with --force"
            )
        check_replaceable(output)
        old = _sibling(output, "g4old")
        output.rename(old)
        folder.rename(output)
        with contextlib.suppress(OSError):
            remove(old)
    else:
        folder.rename(output)
    return Bundle(output, whole)


def _sibling(output: Path, kind: str) -> Path:
    return output.with_name(f".{output.name}.{kind}")


def _check_output(output: Path, force: bool, checkpoint: Path | None) -> None:
    if output.name in ("", ".."):
        raise BundleError(f"{output} is no name for a new folder", fix="name the folder to write")
    if output.is_symlink():
        raise BundleError(
            f"{output} is a link, and a bundle takes the place of what it replaces", fix="give the folder it points to"
        )
    if not output.exists():
        return
    if not force:
        raise BundleError(f"{output} exists", fix="choose another output, or replace it with --force")
    check_replaceable(output, checkpoint)


def _take_over(folder: Path, identity: str) -> None:
    """Make ``folder``, or keep it when it holds unfinished work of ``identity``, files alone."""
    check_side(folder)
    if folder.exists() and not (identity and has_only_files(folder) and Journal.belongs(folder, identity)):
        remove(folder)
    folder.mkdir(exist_ok=True)
    (folder / MARKER).touch()


def _recover(output: Path) -> None:
    """A replacement killed between its two renames left the old bundle aside: put it back, or drop it."""
    old = _sibling(output, "g4old")
    check_side(old)
    if old.exists() and not output.exists():
        old.rename(output)
    elif old.exists():
        remove(old)


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
        if error.errno in _PLACE:
            raise BundleError(
                f"cannot write {output}", why=error.strerror or "", fix="choose another output"
            ) from error
        raise
