"""Writing a bundle so that it appears whole or not at all, and so that nothing else is lost.

Everything goes into a sibling folder that no runtime loads; the manifest is written last; what was written is read as
a runtime reads it; then the folder takes its name in one rename. A bundle that is replaced changes places with the new
one in one step, so a reader finds a whole bundle at every moment. A killed compile leaves the sibling behind, and the
next compile to the same place takes it over: when it is of the same work, the tensors it already holds are kept. Two
compiles at once to one place are told apart by a lock that dies with its process.

For an output `out` the siblings are `.out.g4partial` (being written, or just replaced) and `.out.g4lock`; on systems
that cannot exchange two names, `.out.g4old` (replaced). None is trusted for its name: see `targets/ownership.py`.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from g4compile.bundle.folder import Bundle, sha256
from g4compile.bundle.manifest import DATA, MANIFEST, FileSpec, Manifest, encode
from g4compile.errors import BundleError, Defect, G4Error
from g4compile.inputs.files import is_there
from g4compile.inputs.system import system_error
from g4compile.targets.lock import locked
from g4compile.targets.ownership import MARKER, check_replaceable, check_side, mark, may_go_on, remove, sync, unmark
from g4compile.targets.renames import exchange, rename_to_new
from g4compile.weights.journal import Journal


@contextmanager
def staging(output: Path, force: bool, identity: str = "", checkpoint: Path | None = None) -> Iterator[Path]:
    """A folder beside ``output`` to write into: fresh, or with a killed compile's work of the same ``identity``.

    Raises BundleError before any work when ``output`` is a link; when it exists, and not ``force``, or it is no bundle
    of ours, or it has files of ``checkpoint`` in it or lies among them; and when a sibling is not ours. An OSError of
    the block becomes a BundleError or, when the machine is the reason, a MachineError; nothing half-written is left.
    """
    try:
        _check_output(output, force, checkpoint)
        output.parent.mkdir(parents=True, exist_ok=True)
        with locked(_sibling(output, "g4lock"), output):
            _recover(output)
            _check_output(output, force, checkpoint)
            folder = _sibling(output, "g4partial")
            check_side(folder)
            try:
                _take_over(folder, identity)
                yield folder
            finally:
                _drop(folder)
    except BrokenPipeError:  # of whom progress is told: nothing that is written goes through a pipe
        raise
    except OSError as error:
        files = [str(file) for file in (error.filename, error.filename2) if file]  # of a copy or a rename both
        where = " -> ".join(files) or str(output)
        raise system_error(error, f"making the bundle {output}", where, BundleError) from error


def finish(folder: Path, output: Path, manifest: Manifest, force: bool) -> Bundle:
    """Write the manifest of the files in ``folder``, then let the folder take the name ``output``.

    Raises BundleError when something has come to stand at ``output`` meanwhile: anything but a bundle, or, without
    ``force``, a bundle too. Raises Defect when what was written is not a bundle that loads.
    """
    (folder / Journal.NAME).unlink(missing_ok=True)
    paths = sorted(path for path in folder.iterdir() if path.name != MARKER)
    files = {path.name: FileSpec(path.stat().st_size, sha256(path)) for path in paths}
    whole = msgspec.structs.replace(manifest, files=files)
    (folder / MANIFEST).write_bytes(encode(whole))
    for path in (*paths, folder / MANIFEST):
        with path.open("rb") as opened:
            os.fsync(opened.fileno())
    _check_loads(folder)
    unmark(folder)  # from here on the manifest says whose it is
    _put_in_place(folder, output, force)
    try:
        parent = os.open(output.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            sync(parent)
        finally:
            os.close(parent)
    except OSError as error:  # the bundle is whole, and stands under its name
        warnings.warn(f"{output} is written, but may be lost when the power fails now: {error}", stacklevel=2)
    return Bundle(output, whole)


def _sibling(output: Path, kind: str) -> Path:
    return output.with_name(f".{output.name}.{kind}")


def _check_output(output: Path, force: bool, checkpoint: Path | None) -> None:
    try:
        encoded = os.fsencode(output)
    except UnicodeEncodeError as error:
        raise BundleError(f"{output!r} is no name of a folder", why=str(error), fix="choose another output") from error
    if output.name in ("", "..") or b"\0" in encoded:
        raise BundleError(f"{output} is no name for a new folder", fix="name the folder to write")
    if output.is_symlink():
        raise BundleError(
            f"{output} is a link, and a bundle takes the place of what it replaces", fix="give the folder it points to"
        )
    if not is_there(output, BundleError):
        return
    if os.path.ismount(output):
        raise BundleError(
            f"{output} is the root of a mounted file system, and a bundle cannot take its place",
            fix="name a new folder in it",
        )
    if not force:
        raise BundleError(f"{output} exists", fix="choose another output, or replace it with --force")
    check_replaceable(output, checkpoint)


def _take_over(folder: Path, identity: str) -> None:
    """Make ``folder``, or keep what it holds of the unfinished work of ``identity``: tensors, and the notes of them."""
    if may_go_on(folder) and identity and Journal.belongs(folder, identity):
        remove(folder, keep=(MARKER, Journal.NAME, DATA))
    else:
        if is_there(folder, BundleError):
            remove(folder)
        folder.mkdir()  # fails when something has come to stand there since
    mark(folder)


def _recover(output: Path) -> None:
    """A replacement killed between its two renames left the old bundle aside: put it back, or drop it."""
    old = _sibling(output, "g4old")
    check_side(old)
    if is_there(old, BundleError):
        if is_there(output, BundleError):
            remove(old)
        else:
            rename_to_new(old, output)


def _check_loads(folder: Path) -> None:
    """Read the bundle in ``folder`` as a runtime does. Raises Defect when it is refused."""
    try:
        Bundle.open(folder)
    except BundleError as error:
        if isinstance(error.__cause__, OSError):  # the system refused to read it: nothing is known of what was written
            raise
        why = f"{error.what}: {error.why}"
        raise Defect("the bundle that was made does not load", where=error.where, why=why) from error


def _put_in_place(folder: Path, output: Path, force: bool) -> None:
    """Let ``folder`` take the name ``output``. A bundle that it replaces then has the name of ``folder``, or is
    gone where there is no exchange."""
    if not is_there(output, BundleError):
        try:
            rename_to_new(folder, output)
            return
        except FileExistsError:
            pass
    if not force:
        raise BundleError(
            f"{output} has appeared while it was compiled", fix="choose another output, or replace it with --force"
        )
    check_replaceable(output)
    if exchange(folder, output):
        return
    # Without an exchange there is a moment without a bundle at `output`; `_recover` knows what a kill then leaves.
    old = _sibling(output, "g4old")
    output.rename(old)
    try:
        folder.rename(output)
    except OSError:
        old.rename(output)
        raise
    _drop(old)  # the new bundle stands under its name: from here on nothing is a failure of the compile


def _drop(folder: Path) -> None:
    """Delete unfinished work, or what was replaced; a warning when that fails, since it changes nothing of the rest."""
    try:
        remove(folder)
    except FileNotFoundError:  # it has become the bundle
        pass
    except (OSError, G4Error) as error:
        warnings.warn(f"{folder} could not be removed, the next compile to this place does: {error}", stacklevel=2)
