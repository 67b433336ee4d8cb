"""Do the stored tensors fit the config? Names, shapes and dtypes, from headers alone, so before anything is traced."""

from __future__ import annotations

from collections.abc import Collection

from g4compile.errors import CheckpointError
from g4compile.model.contents import DECODER, PARTS, UNUSED, contents
from g4compile.weights.checkpoint import Checkpoint
from g4compile.weights.stored import FLOATS, companions, stored_codes


def check_contents(checkpoint: Checkpoint, needed: Collection[str] = (DECODER,)) -> None:
    """Raise CheckpointError when a tensor of the parts ``needed`` is missing, when one of any part has another shape or
    dtype than the config asks for, and when no part knows one. What is not of these parts may be missing."""
    expected = contents(checkpoint.facts)
    beside = [name for name in expected.parts if name not in needed]
    read: set[str] = set()
    for part in needed:
        for key, shape in expected.parts[part].items():
            read.update(check_tensor(checkpoint, key, shape))
    if checkpoint.facts.quantization and read == {key for part in needed for key in expected.parts[part]}:
        raise CheckpointError(
            "config.json says that the weights are codes, and all of them are stored in float",
            where=f"{checkpoint.folder / 'config.json'}, quantization_config",
            fix="remove quantization_config, or give the checkpoint that it belongs to",
        )
    check_known(checkpoint, read, beside)
    for shapes in (expected.unused, *(expected.parts[name] for name in beside)):
        for key in shapes.keys() & checkpoint.tensors.keys():
            check_tensor(checkpoint, key, shapes[key])


def stored_modalities(checkpoint: Checkpoint) -> tuple[str, ...]:
    """What the model of ``checkpoint`` takes in: all that its config describes, but encoders of which no tensor is
    stored."""
    known = contents(checkpoint.facts)
    stored = {known.part_of(key) for key in checkpoint.tensors}
    return tuple(one for one in checkpoint.facts.modalities if one not in PARTS or PARTS[one] in stored)


def check_known(checkpoint: Checkpoint, read: Collection[str], beside: Collection[str]) -> None:
    """Raise CheckpointError for a tensor that is neither ``read``, nor of the parts ``beside``, nor stored in vain."""
    expected = contents(checkpoint.facts)
    for key in sorted(set(checkpoint.tensors) - set(read)):
        if expected.part_of(key) not in (*beside, UNUSED):
            raise CheckpointError(
                f"unexpected tensor {key}: no part of this model reads it",
                where=str(checkpoint.tensors[key].file),
                fix="check that config.json belongs to these weights",
            )


def check_tensor(checkpoint: Checkpoint, key: str, shape: tuple[int, ...]) -> tuple[str, ...]:
    """Keys of all that is read for the weight ``key`` of ``shape``: itself, or its codes and what belongs to them.

    Raises CheckpointError: it is missing, has another shape (both are named), or a dtype that cannot be read.
    """
    codes = stored_codes(checkpoint, key, shape) if checkpoint.facts.quantization else None
    if codes is not None:
        return tuple(companions(checkpoint, codes))
    stored = checkpoint.tensors.get(key)
    if stored is None:
        raise CheckpointError(
            f"the checkpoint has no tensor {key}", where=str(checkpoint.folder), why=_near(key, checkpoint)
        )
    if stored.dtype not in FLOATS:
        raise CheckpointError(
            f"tensor {key} is stored as {stored.dtype}, which is no float and no code this version reads",
            where=str(stored.file),
            fix="codes need their scale beside them and quant_method gemma in config.json",
        )
    if stored.shape != shape:
        raise CheckpointError(
            f"tensor {key} has shape {list(stored.shape)}, the config asks for {list(shape)}", where=str(stored.file)
        )
    return (key,)


def _near(key: str, checkpoint: Checkpoint) -> str:
    tail = key.rsplit("layers.", maxsplit=1)[-1]
    similar = [other for other in checkpoint.tensors if other.endswith(tail)]
    return f"it has {similar[0]}" if similar else ""
