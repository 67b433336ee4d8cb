"""A bundle on disk: a folder that is opened, and refused unless it is whole and its files are what was compiled.

Every refusal is a BundleError that names the file. `docs/bundle.md` lists the checks for a runtime in any language.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from g4compile.bundle.consistency import check_consistent
from g4compile.bundle.manifest import DATA, MANIFEST, Manifest
from g4compile.bundle.reading import read_manifest
from g4compile.errors import BundleError
from g4compile.inputs.files import Kind, check_file, is_there, root_of
from g4compile.inputs.system import system_errors

# What a runtime reads where it is there. One that is not listed was put there later, and nothing vouches for it.
_BY_NAME = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json")
_AGAIN = "compile it again, or copy the whole folder"
_ANY_SIZE = 1 << 62  # the manifest says how large each file is


class Bundle:
    """A bundle that is whole: its manifest was read, its files have the sizes that it states, and all but those of
    weights the hashes."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest

    @classmethod
    def open(cls, path: str | Path) -> Bundle:
        """Read and check the manifest, all file sizes, and the content of all files but `weights.data` and a
        checkpoint's.

        Raises BundleError naming the file, and MachineError when the machine fails to read it."""
        folder = Path(path)
        with system_errors("reading the bundle", folder, BundleError):
            if "\0" in str(folder) or not is_there(folder / MANIFEST, BundleError):
                raise BundleError(
                    f"there is no bundle at {str(folder)!r}",
                    why=f"{MANIFEST} is not there",
                    fix="give the folder that `g4compile compile` wrote",
                )
            within = root_of(folder)
            bundle = cls(folder, read_manifest(folder, within))
            check_consistent(bundle.manifest, folder / MANIFEST)
            bundle._check_files(within)
            bundle._check_content(set(bundle.manifest.files) - {DATA, *bundle.manifest.tensor_files})
        return bundle

    def graph_path(self, name: str) -> Path:
        return self.folder / self.manifest.graphs[name].file

    def check_hashes(self) -> None:
        """Compare the content of every file with the manifest. Raises BundleError naming the first that differs."""
        with system_errors("reading the bundle", self.folder, BundleError):
            self._check_content(set(self.manifest.files))

    @property
    def size(self) -> int:
        """Bytes of all files the manifest lists."""
        return sum(spec.bytes for spec in self.manifest.files.values())

    def _check_files(self, within: Path) -> None:
        """All listed files are regular files of the listed sizes in the folder ``within``; no other one is read."""
        for name, spec in self.manifest.files.items():
            file = self.folder / name
            if not is_there(file, BundleError):
                raise BundleError(f"the bundle lacks its file {name}", where=str(self.folder), fix=_AGAIN)
            size = check_file(file, Kind(f"the bundle's file {name}", _ANY_SIZE, BundleError, _AGAIN), within).st_size
            if size != spec.bytes:
                raise BundleError(
                    f"{name} has {size:,} bytes, the manifest says {spec.bytes:,}",
                    where=str(self.folder),
                    why="the file was cut short or replaced",
                    fix=_AGAIN,
                )
        for name in _BY_NAME:
            if name not in self.manifest.files and is_there(self.folder / name, BundleError):
                raise BundleError(
                    f"{name} stands in the bundle, and its manifest does not list it",
                    where=str(self.folder),
                    why="a runtime would read it, and what is not listed is not checked",
                    fix=f"remove it, or compile again from a checkpoint that has {name}",
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
