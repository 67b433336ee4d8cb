"""ONNX Runtime's own library for arm64 Linux, from its wheel: fetched once a machine, into the cache of the user."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import onnxruntime
import pytest
from filelock import FileLock

VERSION = onnxruntime.__version__.partition("+")[0]
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64")


def arm64_onnxruntime() -> Path:
    """The file of the version that the tests run with; skips where neither the cache nor pip has it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "g4compile"
    folder = cache / f"onnxruntime-aarch64-{VERSION}"
    library = folder / "libonnxruntime.so.1"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        pytest.skip(f"no folder for ONNX Runtime for arm64: {error}")
    with FileLock(cache / f"{folder.name}.lock"):
        if not library.exists():
            _fetch(folder, library)
    return library


def _fetch(folder, library):
    wheels = folder / "wheels"
    platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--retries",
        "1",
        *platforms,
    ]
    done = subprocess.run(
        [*command, f"onnxruntime=={VERSION}", "-d", str(wheels)], check=False, capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"pip has no onnxruntime {VERSION} for arm64: {done.stderr.strip()[-300:]}")
    (wheel,) = wheels.glob("*.whl")
    part = folder / "part"
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.startswith("onnxruntime/capi/libonnxruntime.so.")]
        with archive.open(name) as packed, part.open("wb") as file:
            shutil.copyfileobj(packed, file)
    part.replace(library)  # whole or not there
    shutil.rmtree(wheels)
