"""The bundle on disk: a folder with `g4.json` (the manifest), graphs, their data, and tokenizer files.

Read by every runtime, written by every target; imports no compiler code. A bundle is relocatable: the manifest
names files relative to it.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import msgspec

from g4compile.errors import BundleError

MANIFEST, VERSION = "g4.json", 1
_BITS = {"int4": 4, "int8": 8, "float8e4m3fn": 8, "bfloat16": 16, "float": 32}  # of a weight that an engine binds


class TensorSpec(msgspec.Struct, frozen=True):
    """One graph input or output. ``shape`` holds sizes and names of dynamic dimensions."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


class GraphSpec(msgspec.Struct, frozen=True):
    file: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class KVLayer(msgspec.Struct, frozen=True):
    """KV of one layer that owns it: `[batch, heads, tokens, head_dim]` for key and for value.

    ``keep``: tokens a sliding layer keeps; None for a full layer, whose buffer has as many slots as the runtime
    gives it. ``bytes_per_token`` counts key and value of one sequence.
    """

    layer: int
    kind: str
    heads: int
    head_dim: int
    window: int | None
    keep: int | None
    bytes_per_token: int


class KVSpec(msgspec.Struct, frozen=True):
    """``dtype`` float32, or int8: then each key and value has a float32 scale a token and head, `[.., tokens, 1]`,
    as `past_key_values.N.key_scale` and so on. ``rewind``: tokens that sliding layers can take back."""

    dtype: str
    rewind: int
    layers: tuple[KVLayer, ...]


class FileSpec(msgspec.Struct, frozen=True):
    bytes: int
    sha256: str


class QuantizedSpec(msgspec.Struct, frozen=True):
    """A quantised weight, by its checkpoint key: its codes are the initializer `KEY.codes`, and so on.

    ``shape`` is that of the float weight, ``block`` the weights a scale stands for (0: a row). ``scale`` was folded
    in: the codes stand for the stored weight times it.
    """

    shape: tuple[int, ...]
    bits: int
    block: int
    symmetric: bool
    scale: float


class TableSpec(msgspec.Struct, frozen=True):
    """An engine input that is looked up by the host: row ``ids`` of the tensor ``key`` of the checkpoint times ``scale``
    (in float32, then rounded to the input's dtype), each row in the shape ``row``."""

    name: str
    key: str
    scale: float
    row: tuple[int, ...]


class HostSpec(msgspec.Struct, frozen=True):
    """What stands between token ids and engine inputs: ``placeholders`` of other modalities are looked up as ``pad``."""

    placeholders: tuple[int, ...]
    pad: int
    tables: tuple[TableSpec, ...]


class WeightSpec(msgspec.Struct, frozen=True):
    """An engine input that is bound at load: the tensor ``key`` of the checkpoint after ``steps`` (`bundle/weight_steps.py`), or,
    with an ``offset``, bytes of the bundle's `weights.data` as they are."""

    name: str
    key: str
    dtype: str
    shape: tuple[int, ...]
    steps: tuple[str, ...]
    offset: int | None = None
    rank: int = 0

    @property
    def bytes(self) -> int:
        """On the device."""
        return math.prod(self.shape) * _BITS[self.dtype] // 8


class EngineStep(msgspec.Struct, frozen=True):
    """``tokens``: least, usual and most new tokens. ``keep``: logits of the last position, or of all. The plan is the graph
    of the step's name. ``activation_bytes``: of values between layers at the most tokens, as planned; the engine says its own.
    """

    name: str
    tokens: tuple[int, int, int]
    keep: str
    activation_bytes: int

    @property
    def counts(self) -> str:
        """How many tokens it takes, in words."""
        least, _, most = self.tokens
        return f"{least} to {most} tokens" if most > least else "1 token"


class EngineSpec(msgspec.Struct, frozen=True):
    """TensorRT plans: by ``product`` and its version, for GPUs of these compute capabilities (89 for 8.9; empty: the GPU that
    built them). ``ring``: slots of a sliding layer, a multiple of ``chunk``; a full layer has as many as the context.
    All steps share caches and weights, whose bytes on the device these are (KV: of a whole batch). Of several ``ranks`` each
    has plans and weights of its own, and bytes are those of one."""

    product: str
    version: str
    compute_capabilities: tuple[int, ...]
    batch: int
    chunk: int
    ring: int
    steps: tuple[EngineStep, ...]
    host: HostSpec
    weights: tuple[WeightSpec, ...]
    weight_bytes: int
    kv_bytes: int
    ranks: int = 1

    def graph(self, step: str, rank: int = 0) -> str:
        """The name of a step's plan among the manifest's graphs."""
        return step if self.ranks == 1 else f"{step}.rank{rank}"


class Manifest(msgspec.Struct, frozen=True):
    """`g4.json`. Holds no time and no path, so that equal inputs give equal bytes. ``engine``: of a TensorRT bundle.

    ``recipe``: the rules by which weights were quantised. ``activations``: `int8` when some product rounds its other
    operand to 8 bits, else `float32`.
    """

    manifest_version: int
    generator: str
    model_type: str
    architecture: str
    target: str
    weights: str
    modalities: tuple[str, ...]
    context: int
    vocab_size: int
    bos_token_id: int
    pad_token_id: int
    stop_token_ids: tuple[int, ...]
    graphs: dict[str, GraphSpec]
    kv: KVSpec
    source: dict[str, str]
    versions: dict[str, str]
    recipe: tuple[str, ...]
    activations: str
    quantized: dict[str, QuantizedSpec]
    files: dict[str, FileSpec]
    engine: EngineSpec | None = None


class Bundle:
    """A bundle that is whole: its manifest was read and its files have the sizes that it states."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest

    @classmethod
    def open(cls, path: str | Path) -> Bundle:
        """Read and check the manifest and all file sizes. Raises BundleError naming the file."""
        folder = Path(path)
        file = folder / MANIFEST
        if not folder.is_dir() or not file.exists():
            raise BundleError(
                f"there is no bundle at {folder}",
                why=f"{MANIFEST} is not there",
                fix="give the folder that `g4compile compile` wrote",
            )
        manifest = _decode(file)
        for name, spec in manifest.files.items():
            part = folder / name
            if not part.exists():
                raise BundleError(
                    f"the bundle lacks its file {name}",
                    where=str(folder),
                    fix="compile it again, or copy the whole folder",
                )
            if part.stat().st_size != spec.bytes:
                raise BundleError(
                    f"{name} has {part.stat().st_size:,} bytes, the manifest says {spec.bytes:,}",
                    where=str(folder),
                    why="the file was cut short or replaced",
                    fix="compile it again, or copy the whole folder",
                )
        return cls(folder, manifest)

    def graph_path(self, name: str) -> Path:
        return self.folder / self.manifest.graphs[name].file

    def check_hashes(self) -> None:
        """Compare the content of every file with the manifest. Raises BundleError naming the first that differs."""
        for name, spec in self.manifest.files.items():
            if sha256(self.folder / name) != spec.sha256:
                raise BundleError(
                    f"the content of {name} is not what was compiled", where=str(self.folder), fix="compile it again"
                )

    @property
    def size(self) -> int:
        """Bytes of all files the manifest lists."""
        return sum(spec.bytes for spec in self.manifest.files.values())


def _decode(file: Path) -> Manifest:
    data = file.read_bytes()
    try:
        head: dict[str, Any] = msgspec.json.decode(data)
        version = head.get("manifest_version")
    except (msgspec.DecodeError, AttributeError) as error:
        raise BundleError(
            "the bundle's manifest cannot be read", where=str(file), why=str(error), fix="compile it again"
        ) from error
    if version != VERSION:
        newer = isinstance(version, int) and version > VERSION
        fix = "update g4compile" if newer else "compile it again"
        raise BundleError(
            f"the bundle has manifest version {version}, this g4compile reads version {VERSION}",
            where=str(file),
            fix=fix,
        )
    try:
        return msgspec.json.decode(data, type=Manifest)
    except msgspec.ValidationError as error:
        raise BundleError(
            "the bundle's manifest is not valid", where=str(file), why=str(error), fix="compile it again"
        ) from error


def encode(manifest: Manifest) -> bytes:
    """The manifest as the bytes of `g4.json`."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
