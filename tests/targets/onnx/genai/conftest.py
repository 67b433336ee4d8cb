"""Packages of the tiny variants, and a process that runs them with onnxruntime-genai."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from g4compile.bundle.folder import Bundle
from g4compile.compiler import compile
from g4compile.weights.checkpoint import Checkpoint
from tests.conftest import once

DRIVER = Path(__file__).parent / "driver.py"
TEXT = ("text",)


@pytest.fixture(scope="session")
def packages(shared: Path, checkpoints: Callable[[str], Checkpoint]) -> Callable[..., Bundle]:
    """Compiled packages, by preset, modalities and weights. Tests must not change them."""

    def get(variant: str, modalities: tuple[str, ...] = TEXT, weights: str = "float32") -> Bundle:
        def make(path: Path) -> None:
            compile(
                checkpoints(variant).folder, "onnx-cpu", path, package="genai", modalities=modalities, weights=weights
            )

        return Bundle.open(once(shared, f"{variant}-genai-{'-'.join(modalities)}-{weights}", make))

    return get


@pytest.fixture(scope="session")
def driven(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, Any]]:
    """What onnxruntime-genai makes of a package, for jobs by name (`driver.py`)."""
    try:
        found = version("onnxruntime-genai")
    except PackageNotFoundError:
        pytest.skip("onnxruntime-genai is not installed: it is part of the dev extra")
    if tuple(map(int, found.split(".")[:2])) < (0, 18):
        pytest.skip(f"onnxruntime-genai {found} does not have what packages need, 0.18 does")

    def run(package: Bundle, **jobs: Any) -> dict[str, Any]:
        out = tmp_path_factory.mktemp("genai") / "results.npz"
        order = {"folder": str(package.folder), "out": str(out), "jobs": jobs}
        command = [sys.executable, "-P", str(DRIVER)]
        done = subprocess.run(command, input=json.dumps(order), capture_output=True, text=True, check=False)
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
        results = dict(np.load(out))
        assert not results.pop("loaded").size
        return results

    return run
