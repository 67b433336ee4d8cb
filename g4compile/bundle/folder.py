"""A bundle on disk: a folder that is opened, and refused unless it is whole and its graphs are what was compiled.

Every refusal is a BundleError that names the file. `docs/bundle.md` lists the checks for a runtime in any language.
"""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path
from typing import Any

import msgspec

from g4compile.bundle.manifest import MANIFEST, VERSION, Manifest
from g4compile.bundle.requires import KNOWN
from g4compile.errors import BundleError

_NO_PLAIN_NAME = ("/", "\\", ":", "\0")  # characters of paths, on any system
_AGAIN = "compile it again, or copy the whole folder"


class Bundle:
    """A bundle that is whole: its manifest was read, its files have the sizes that it states, its graphs the hashes."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest

    @classmethod
    def open(cls, path: str | Path) -> Bundle:
        """Read and check the manifest, all file sizes, and the content of graphs. Raises BundleError naming the
        file."""
        folder = Path(path)
        file = folder / MANIFEST
        if not file.is_file():
            raise BundleError(
                f"there is no bundle at {folder}",
                why=f"{MANIFEST} is not there",
                fix="give the folder that `g4compile compile` wrote",
            )
        bundle = cls(folder, _decode(file))
        _check_names(bundle.manifest, str(file))
        bundle._check_sizes()
        bundle._check_content({graph.file for graph in bundle.manifest.graphs.values()})
        return bundle

    def graph_path(self, name: str) -> Path:
        return self.folder / self.manifest.graphs[name].file

    def check_hashes(self) -> None:
        """Compare the content of every file with the manifest. Raises BundleError naming the first that differs."""
        self._check_content(set(self.manifest.files))

    @property
    def size(self) -> int:
        """Bytes of all files the manifest lists."""
        return sum(spec.bytes for spec in self.manifest.files.values())

    def _check_sizes(self) -> None:
        for name, spec in self.manifest.files.items():
            file = self.folder / name
            if not file.is_file():
                raise BundleError(f"the bundle lacks its file {name}", where=str(self.folder), fix=_AGAIN)
            if file.stat().st_size != spec.bytes:
                raise BundleError(
                    f"{name} has {file.stat().st_size:,} bytes, the manifest says {spec.bytes:,}",
                    where=str(self.folder),
                    why="the file was cut short or replaced",
                    fix=_AGAIN,
                )

    def _check_content(self, names: set[str]) -> None:
        for name in sorted(names):
            if sha256(self.folder / name) != self.manifest.files[name].sha256:
                raise BundleError(
                    f"the content of {name} is not what was compiled",
                    where=str(self.folder),
                    why="its SHA-256 is not the one that the manifest states",
                    fix=_AGAIN,
                )


def sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _decode(file: Path) -> Manifest:
    data = file.read_bytes()
    try:
        head: dict[str, Any] = msgspec.json.decode(data)
        version = head.get("manifest_version")
    except (msgspec.DecodeError, AttributeError, RecursionError) as error:
        raise BundleError(
            "the bundle's manifest cannot be read", where=str(file), why=str(error), fix="compile it again"
        ) from error
    if version != VERSION:
        newer = isinstance(version, int) and version > VERSION
        raise BundleError(
            f"the bundle has manifest version {version}, this g4compile reads version {VERSION}",
            where=str(file),
            fix="update g4compile" if newer else f"compile it again: {_command(head, file.parent)}",
        )
    # Before the fields: a bundle of a newer g4compile may hold what this one cannot read.
    _check_requires(head.get("requires"), str(file))
    try:
        return msgspec.json.decode(data, type=Manifest)
    except (msgspec.ValidationError, RecursionError) as error:
        raise BundleError(
            "the bundle's manifest is not valid", where=str(file), why=str(error), fix="compile it again"
        ) from error


def _command(head: dict[str, Any], folder: Path) -> str:
    """What makes the bundle of an older manifest again."""
    words = ["g4compile", "compile", "CHECKPOINT", "--target", str(head.get("target"))]
    if "weights" in head:
        words += ["--weights", str(head["weights"])]
    kv = head.get("kv")
    if isinstance(kv, dict) and kv.get("dtype") == "int8":
        words += ["--kv", "int8"]
    if "context" in head:
        words += ["--context", str(head["context"])]
    engine = head.get("engine")
    if isinstance(engine, dict):
        capabilities = ",".join(map(str, engine.get("compute_capabilities", [])))
        words += ["--sm", capabilities] if capabilities else []
        given = (("--batch", engine.get("batch")), ("--chunk", engine.get("chunk")))
        words += [word for option, value in given if value for word in (option, str(value))]
        words += ["--tensor-parallel", str(engine["ranks"])] if engine.get("ranks", 1) != 1 else []
    return shlex.join([*words, "-o", str(folder), "--force"])


def _check_requires(requires: Any, where: str) -> None:
    words = [str(word) for word in requires] if isinstance(requires, list) else []
    unknown = [word for word in words if word not in KNOWN]
    if unknown:
        raise BundleError(
            f"this bundle needs {', '.join(unknown)}, which this g4compile does not know",
            where=where,
            fix="update g4compile",
        )


def _check_names(manifest: Manifest, where: str) -> None:
    """Names stay inside the folder; what graphs need is listed; each graph is of a part that the manifest has."""
    for name in (*manifest.files, *(graph.file for graph in manifest.graphs.values())):
        if name in ("", ".", "..") or any(character in name for character in _NO_PLAIN_NAME):
            raise BundleError(
                f"the manifest names {name!r}, which is not the plain name of a file in the bundle",
                where=where,
                fix="do not use this bundle; compile it again",
            )
    for name, reason in manifest.needed_files.items():
        if name not in manifest.files:
            raise BundleError(
                f"the manifest does not list {name} among its files",
                where=where,
                why=f"{reason} stands there, and what is not listed is not checked",
                fix="compile it again",
            )
    for name, graph in manifest.graphs.items():
        if graph.part not in manifest.parts:
            raise BundleError(
                f"the graph {name} is of the part {graph.part}, which the manifest does not have",
                where=where,
                fix="compile it again",
            )
