"""`g4compile doctor`: what is installed, what each target needs, and the fix for what is missing."""

from __future__ import annotations

import platform
from typing import Annotated

import typer

from g4compile.cli.console import Json, result, table, verb

# Package -> (lowest version that pyproject.toml admits, what it is for).
_NEEDS: dict[str, tuple[str, str]] = {
    "onnxruntime": ("1.30", "run onnx-cpu bundles"),
    "tokenizers": ("0.20", "text prompts"),
    "onnx": ("1.23", "compile"),
    "onnx-ir": ("1.0", "compile"),
    "safetensors": ("0.5", "compile"),
    "torch": ("2.13", "compile: trace the model; verify"),
    "transformers": ("5.14", "compile: the model's code; verify"),
}
# Wanted by one target or runtime alone: package -> (lowest version, what it is for, what installs it).
_OPTIONAL: dict[str, tuple[str, str, str]] = {
    "tensorrt-rtx-cu13": (
        "1.7",
        "target tensorrt-rtx: engines, built without a GPU",
        "pip install 'g4compile[tensorrt-rtx]'",
    ),
    "tensorrt-cu13": ("10.16", "target tensorrt: engines, built on their GPU", "pip install 'g4compile[tensorrt]'"),
    "triton": ("3.6", "target tensorrt: kernels in the engines", "pip install 'g4compile[tensorrt]'"),
    "polygraphy": ("0.49", "compare backends", "pip install 'g4compile[polygraphy]'"),
    "cuda-python": ("13.0", "run engines", "pip install 'g4compile[gpu]'"),
}


@verb
def doctor(
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 3 when something is missing.")] = False,
    as_json: Json = False,
) -> None:
    """Show versions, and how to get what is missing."""
    from importlib.metadata import PackageNotFoundError, version

    import g4compile

    def installed(name: str) -> str | None:
        try:
            return version(name)
        except PackageNotFoundError:
            return None

    found: dict[str, str | None] = {}
    fixes: dict[str, str] = {}
    for name, (lowest, _) in _NEEDS.items():
        found[name] = installed(name)
        if found[name] is None or _older(found[name] or "", lowest):
            fixes[name] = f"pip install '{name}>={lowest}'"
    rows = {"g4compile": g4compile.__version__, "python": f"{platform.python_version()} on {platform.machine()}"}
    for name, (lowest, purpose) in _NEEDS.items():
        rows[name] = f"{found[name] or 'missing'} (needs {lowest}: {purpose})" + (
            f"  fix: {fixes[name]}" if name in fixes else ""
        )
    optional = {name: installed(name) for name in _OPTIONAL}
    for name, (lowest, purpose, install) in _OPTIONAL.items():
        old = optional[name] is None or _older(optional[name] or "", lowest)
        rows[name] = f"{optional[name] or 'not installed'} (optional, {lowest}: {purpose})" + (
            f"  {install}" if old else ""
        )
    targets = {
        "onnx-cpu": not fixes,
        "onnx-mobile": not fixes,
        "tensorrt-rtx": not fixes and optional["tensorrt-rtx-cu13"] is not None,
        "tensorrt": not fixes and None not in (optional["tensorrt-cu13"], optional["triton"]),
    }
    rows |= {f"target {name}": "ready" if ready else "incomplete" for name, ready in targets.items()}
    data = {
        "g4compile": g4compile.__version__,
        "python": platform.python_version(),
        "packages": found,
        "optional": optional,
        "fixes": fixes,
        "targets": targets,
    }
    result(as_json, data, lambda: table("g4compile doctor", rows))
    if strict and fixes:
        raise typer.Exit(3)


def _older(found: str, lowest: str) -> bool:
    def numbers(text: str) -> list[int]:
        return [int(part) for part in text.split("+", maxsplit=1)[0].split(".")[:2] if part.isdigit()]

    return numbers(found) < numbers(lowest)
