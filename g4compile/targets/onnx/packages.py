"""Folders that another runtime than ours runs: which there are, and what does not go with them."""

from __future__ import annotations

from g4compile.errors import InputError
from g4compile.targets.base import FLOAT32
from g4compile.targets.onnx.lower_quantized_weights import G4OPS, ONNXRUNTIME

GENAI = "genai"
PACKAGES = (GENAI,)


def check_package(package: str, asked: str | None, kv: str, target: str, packages: tuple[str, ...]) -> None:
    """Raise InputError for a ``package`` that ``target`` does not make, or that does not go with the kernels ``asked``
    for or with ``kv``. ``packages``: those that the target makes."""
    if package not in PACKAGES:
        raise InputError(f"there is no package {package or '(empty)'}", fix=f"--package {', '.join(PACKAGES)}")
    if package not in packages:
        raise InputError(
            f"{target} makes no package for onnxruntime-genai",
            fix="--target onnx-cpu --package genai; for a phone with --weights mobile --context 4096",
        )
    if asked == G4OPS:
        raise InputError(
            "a package for onnxruntime-genai has ONNX Runtime's own kernels alone",
            why="that runtime loads no library of ours",
            fix=f"--kernels {ONNXRUNTIME}, or no --kernels",
        )
    if kv != FLOAT32:
        raise InputError(
            f"a package for onnxruntime-genai has no KV cache of {kv}",
            why="its caches have no scales for each token, and ONNX Runtime's attention on CPUs reads float32",
            fix=f"--kv {FLOAT32}, or no --kv",
        )


def check_modalities(modalities: tuple[str, ...]) -> None:
    """Raise InputError for ``modalities`` that no package takes."""
    if "audio" in modalities and "image" not in modalities:
        raise InputError(
            "a package for onnxruntime-genai that takes sounds takes images too",
            why="that runtime opens a model of sounds with its image encoder alone",
            fix="--modalities text,image,audio, or text",
        )
