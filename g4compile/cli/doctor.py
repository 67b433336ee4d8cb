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
    "onnx": ("1.19", "compile"),
    "onnx-ir": ("1.0", "compile"),
    "safetensors": ("0.5", "compile"),
    "torch": ("2.11", "compile: trace the model; verify"),
    "transformers": ("5.14", "compile: the model's code; verify"),
}


@verb
def doctor(
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 3 when something is missing.")] = False,
    as_json: Json = False,
) -> None:
    """Show versions, and how to get what is missing."""
    from importlib.metadata import PackageNotFoundError, version

    import g4compile

    found: dict[str, str | None] = {}
    fixes: dict[str, str] = {}
    for name, (lowest, _) in _NEEDS.items():
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
        if found[name] is None or _older(found[name] or "", lowest):
            fixes[name] = f"pip install '{name}>={lowest}'"
    rows = {"g4compile": g4compile.__version__, "python": f"{platform.python_version()} on {platform.machine()}"}
    for name, (lowest, purpose) in _NEEDS.items():
        rows[name] = f"{found[name] or 'missing'} (needs {lowest}: {purpose})" + (
            f"  fix: {fixes[name]}" if name in fixes else ""
        )
    rows["target onnx-cpu"] = "ready" if not fixes else "incomplete"
    data = {
        "g4compile": g4compile.__version__,
        "python": platform.python_version(),
        "packages": found,
        "fixes": fixes,
        "targets": {"onnx-cpu": not fixes},
    }
    result(as_json, data, lambda: table("g4compile doctor", rows))
    if strict and fixes:
        raise typer.Exit(3)


def _older(found: str, lowest: str) -> bool:
    def numbers(text: str) -> list[int]:
        return [int(part) for part in text.split("+", maxsplit=1)[0].split(".")[:2] if part.isdigit()]

    return numbers(found) < numbers(lowest)
