"""The bytes of `g4.json` as a manifest: readable, of this version, whole, and with every field in its range.

The order matters. What a newer g4compile wrote may hash and name its fields in another way, so version and requirements
come first. Then a changed byte is called a changed byte, and not the odd field that it makes.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import msgspec

from g4compile.bundle.manifest import MANIFEST, VERSION, FileSpec, GraphSpec, Manifest, PartSpec, QuantizedSpec
from g4compile.bundle.own_hash import own_hash_fault
from g4compile.bundle.requires import KNOWN
from g4compile.errors import BundleError
from g4compile.inputs.documents import decode_json
from g4compile.inputs.files import Kind, read_bytes

KIND = Kind("the bundle's manifest", 16 << 20, BundleError, "compile it again")  # the largest have a third of that
_ENTRIES = {"parts": PartSpec, "graphs": GraphSpec, "files": FileSpec, "quantized": QuantizedSpec}


def read_manifest(folder: Path, within: Path) -> Manifest:
    """The manifest of the bundle in ``folder``, whose files lie in the folder ``within``. Raises BundleError naming
    the file, and the field that is wrong."""
    file = folder / MANIFEST
    data = read_bytes(file, KIND, within)
    head = decode_json(data, KIND, file)
    if not isinstance(head, dict):
        raise KIND.refuse("the bundle's manifest is no JSON object", file)
    _check_version(head, file)
    _check_requires(head.get("requires"), file)
    why = own_hash_fault(data)
    if why:
        raise KIND.refuse(
            "the bundle's manifest is not what was written", file, why, "copy the bundle again, or compile it again"
        )
    try:
        return msgspec.convert(head, Manifest)
    except msgspec.ValidationError as error:
        raise KIND.refuse("the bundle's manifest is not valid", file, _named(head, str(error))) from error


def _check_version(head: dict[str, Any], file: Path) -> None:
    version = head.get("manifest_version")
    if version == VERSION and not isinstance(version, bool | float):
        return
    newer = isinstance(version, int) and version > VERSION
    raise KIND.refuse(
        f"the bundle has manifest version {str(version)[:20]}, this g4compile reads version {VERSION}",
        file,
        fix="update g4compile" if newer else f"compile it again: {_command(head, file.parent)}",
    )


def _check_requires(requires: Any, file: Path) -> None:
    words = [str(word) for word in requires] if isinstance(requires, list) else []
    unknown = [word for word in words if word not in KNOWN]
    if unknown:
        raise KIND.refuse(
            f"this bundle needs {', '.join(unknown)[:200]}, which this g4compile does not know",
            file,
            fix="update g4compile",
        )


def _command(head: dict[str, Any], folder: Path) -> str:
    """What makes the bundle of an older manifest again, whatever its fields hold."""
    kv, engine = (value if isinstance(value, dict) else {} for value in (_kv(head), head.get("engine")))
    capabilities = engine.get("compute_capabilities")
    given = (
        ("--target", head.get("target", "")),
        ("--weights", head.get("weights")),
        ("--kv", "int8" if kv.get("dtype") == "int8" else None),
        ("--context", head.get("context")),
        ("--sm", ",".join(map(str, capabilities)) if isinstance(capabilities, list) and capabilities else None),
        ("--batch", engine.get("batch")),
        ("--chunk", engine.get("chunk")),
        ("--tensor-parallel", engine.get("ranks") if engine.get("ranks", 1) != 1 else None),
    )
    words = [word for option, value in given if value is not None for word in (option, str(value)[:100])]
    return shlex.join(["g4compile", "compile", "CHECKPOINT", *words, "-o", str(folder), "--force"])


def _kv(head: dict[str, Any]) -> Any:
    """Where version 1 had KV, or version 2."""
    value: Any = head.get("parts", {})
    for name in ("decoder", "kv"):
        value = value.get(name) if isinstance(value, dict) else None
    return head.get("kv", value)


def _named(head: dict[str, Any], why: str) -> str:
    """``why`` of msgspec, which leaves the names of entries out of its path, with the name."""
    for field, kind in _ENTRIES.items():
        entries = head.get(field)
        if f"$.{field}[...]" not in why or not isinstance(entries, dict):
            continue
        for name, entry in entries.items():
            try:
                msgspec.convert(entry, kind)
            except msgspec.ValidationError as error:
                said = str(error) if "`$" in str(error) else f"{error} - at `$`"
                return said.replace("`$", f"`$.{field}.{name[:100]}", 1)
    return why
