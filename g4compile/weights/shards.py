"""The safetensors files of a checkpoint: one, or those that its index names. Index and files must agree."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from g4compile.errors import CheckpointError
from g4compile.inputs.documents import decode_json
from g4compile.inputs.files import Kind, is_there, read_bytes, root_of
from g4compile.weights.headers import StoredTensor

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
_KIND = Kind("the safetensors index", 64 << 20, CheckpointError, "download the checkpoint again")
Listed = set[str] | None  # the keys that the index puts into a file; None without an index


def find_shards(folder: Path) -> dict[Path, Listed]:
    """The safetensors files of ``folder``, and what the index says of each.

    Raises CheckpointError: no weights, an index that cannot be read or is empty, a name that leads elsewhere, a file
    that is missing, an index beside a file that is whole.
    """
    index, single = folder / INDEX, folder / SINGLE
    if not is_there(index, CheckpointError):
        if not is_there(single, CheckpointError):
            raise CheckpointError(
                "the checkpoint has no weights", where=str(folder), why=f"neither {SINGLE} nor {INDEX} is there"
            )
        return {single: None}
    if is_there(single, CheckpointError):
        raise CheckpointError(
            f"the checkpoint has both {SINGLE} and {INDEX}",
            where=str(folder),
            why="each of them says which weights there are",
            fix="remove the one that does not belong to this checkpoint",
        )
    found = decode_json(read_bytes(index, _KIND, root_of(folder)), _KIND, index)
    weight_map = found.get("weight_map") if isinstance(found, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        why = "it has no weight_map, an object that gives each tensor its file"
        raise CheckpointError("the safetensors index cannot be read", where=str(index), why=why, fix=_KIND.fix)
    listed: dict[str, set[str]] = {}
    for key, name in weight_map.items():
        if not _is_plain(name):
            what = f"the index names {name!a}, which is not the name of a file in the folder"
            raise CheckpointError(what, where=str(index))
        listed.setdefault(name, set()).add(key)
    for name in sorted(listed):
        if not is_there(folder / name, CheckpointError):
            what = f"the index names the shard {name}, which is missing"
            raise CheckpointError(what, where=str(index), fix=_KIND.fix)
    return {folder / name: listed[name] for name in sorted(listed)}


def check_listed(file: Path, listed: Listed, found: Mapping[str, StoredTensor]) -> None:
    """Raise CheckpointError when the index and the header of ``file`` do not name the same tensors."""
    differ = set() if listed is None else listed ^ set(found)
    if differ:
        key = min(differ)
        lacks, has = ("the index", file.name) if key in found else (file.name, "the index")
        raise CheckpointError(
            f"{file.name} and the index disagree: {lacks} lacks tensor {key!a}, {has} has it",
            where=str(file.parent / INDEX),
            why=f"they disagree about {len(differ)} tensors",
            fix=_KIND.fix,
        )


def _is_plain(name: object) -> bool:
    """Whether ``name`` is that of a file in the folder, whatever the system."""
    if not isinstance(name, str) or not name.isprintable() or set("/\\") & set(name):
        return False
    return name.strip(".") != "" and len(name.encode()) <= 255
