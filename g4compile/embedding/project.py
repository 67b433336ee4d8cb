"""A ready project around a bundle, for one platform."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from g4compile.bundle.folder import Bundle
from g4compile.bundle.manifest import MANIFEST
from g4compile.bundle.requires import G4OPS, GENAI
from g4compile.embedding.native_files import PARTS, libraries, licenses, sources
from g4compile.embedding.platforms import PLATFORMS, Platform
from g4compile.errors import InputError
from g4compile.inputs.system import system_errors

_TEMPLATES = Path(__file__).parent / "templates"
HEADERS = ("g4rt.h", "g4rt.hpp")


@dataclass(frozen=True)
class Project:
    """``files``: how many it has. ``bytes``: of all, the bundle's included, of which most are hard links where the file
    system has them (``linked``)."""

    folder: Path
    platform: Platform
    files: int
    bytes: int
    linked: bool


def embed(bundle: Bundle, output: Path, platform: str) -> Project:
    """Write the project for ``platform`` (of `PLATFORMS`) around ``bundle`` into the new folder ``output``.

    Raises InputError for another platform, a bundle that libg4rt does not run, and an output that is there;
    MachineError without the libraries or sources of libg4rt.
    """
    chosen = PLATFORMS.get(platform)
    if chosen is None:
        raise InputError(f"there is no platform {platform!r}", fix=f"one of {', '.join(PLATFORMS)}")
    _check_runs(bundle)
    needs_ops = G4OPS in bundle.manifest.requires
    given = libraries(needs_ops) if chosen.libraries else {}
    native = sources()
    output = Path(os.path.abspath(output))  # noqa: PTH100 - without following a link
    with system_errors("writing the project", output, InputError):
        if os.path.lexists(output):
            raise _there_already(output)
        if Path(os.path.realpath(output.parent)).is_relative_to(os.path.realpath(bundle.folder)):
            raise InputError(
                f"the project {output} lies in the bundle, which must be a bundle alone", fix="name a folder beside it"
            )
        output.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
        try:
            shutil.copytree(_TEMPLATES / chosen.name, partial, dirs_exist_ok=True)
            linked = _copy_bundle(bundle, partial / "bundle")
            if chosen.sources:
                _copy_sources(native, partial / chosen.sources)
            else:
                for name in HEADERS:
                    _copy(native / "include" / name, partial / "include" / name)
            for name, file in given.items():
                _copy(file, partial / "lib" / name)
            _copy_licenses(chosen.libraries, partial / "licenses")
            partial.chmod(0o755)
            try:
                partial.rename(output)
            except OSError as error:
                if error.errno in (errno.EEXIST, errno.ENOTEMPTY):  # it has come since
                    raise _there_already(output) from None
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    found = [file for file in output.rglob("*") if file.is_file()]
    return Project(output, chosen, len(found), sum(file.stat().st_size for file in found), linked)


def _there_already(output: Path) -> InputError:
    return InputError(f"{output} is there already", fix="name a new folder")


def _check_runs(bundle: Bundle) -> None:
    manifest = bundle.manifest
    if manifest.engine is not None or manifest.cuda is not None:
        raise InputError(
            f"libg4rt does not run bundles of the target {manifest.target}",
            where=str(bundle.folder),
            fix="compile the checkpoint with --target onnx-cpu or onnx-mobile",
        )
    if GENAI in manifest.requires:
        raise InputError(
            "libg4rt does not run packages for onnxruntime-genai",
            where=str(bundle.folder),
            fix="compile the checkpoint without --package",
        )


def _copy_bundle(bundle: Bundle, folder: Path) -> bool:
    """Whether hard links were made, and not copies."""
    folder.mkdir()
    linked = True
    for name in (MANIFEST, *bundle.manifest.files):
        file = Path(os.path.realpath(bundle.folder / name))
        try:
            os.link(file, folder / name)
        except OSError:  # another file system, or one that has no links
            linked = False
            shutil.copyfile(file, folder / name)
    return linked


def _copy_licenses(with_onnxruntime: bool, folder: Path) -> None:
    for name, file in licenses(with_onnxruntime).items():
        _copy(file, folder / name)


def _copy_sources(native: Path, folder: Path) -> None:
    for part in PARTS:
        if (native / part).is_dir():
            shutil.copytree(native / part, folder / part, dirs_exist_ok=True)
        else:
            _copy(native / part, folder / part)


def _copy(file: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(os.path.realpath(file), to)
