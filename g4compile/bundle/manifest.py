"""What `g4.json` says: the manifest of a bundle. `docs/manifest.md` states the same for a runtime in any language.

Read by every runtime, written by every target; imports no compiler code. Names of files are plain names of files
beside the manifest, so a bundle may stand anywhere. The types hold the range of each field; what fields say of each
other is checked in `consistency.py`, and in files beside it for kinds of bundles.
"""

from __future__ import annotations

import math
from typing import Annotated

import msgspec
from msgspec import Meta

from g4compile.bundle.media import MediaSpec
from g4compile.bundle.own_hash import add_own_hash
from g4compile.errors import BundleError

TENSORS = ".safetensors"
MANIFEST, DATA, VERSION = "g4.json", "weights.data", 3
DECODER, EMBED = "decoder", "embed"  # parts of a text model
CHOICE, TOP_TOKENS = "choice", 64  # the part that finds the likeliest tokens of logits, and how many it finds
VISION, AUDIO = "vision", "audio"  # the parts that make features of an image, and of a sound
BLOCKS, PANELS = "blocks", "panels-1"  # how the codes of a weight lie in an ONNX bundle
ANY = "any"  # the variant of a part that has one graph for every number of tokens
# Of a weight that an engine binds.
_BITS = {"int4": 4, "uint8": 8, "float8e4m3fn": 8, "bfloat16": 16, "float": 32}


def _one_of(*words: str) -> Meta:
    return Meta(pattern=rf"^({'|'.join(words)})\Z")


# Ranges. The largest published model has 16 heads of KV, 512 numbers a head, and 262,144 tokens of context.
Bytes = Annotated[int, Meta(ge=0, le=1 << 50)]
Count = Annotated[int, Meta(ge=1, le=1 << 31)]  # of tokens, ids, or numbers along an axis
Index = Annotated[int, Meta(ge=0, le=1 << 31)]  # of a token or of a slot
Factor = Annotated[float, Meta(ge=-3e38, le=3e38)]  # a finite float32: JSON's 1e999 is read as an infinity
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Layer = Annotated[int, Meta(ge=0, lt=1 << 16)]
Heads = Annotated[int, Meta(ge=1, le=1 << 10)]
HeadDim = Annotated[int, Meta(ge=1, le=1 << 14)]
Rank = Annotated[int, Meta(ge=0, lt=1 << 10)]
DType = Annotated[str, _one_of("float", "bfloat16", "int8", "int32", "int64")]  # of a graph's input or output
KVDType = Annotated[str, _one_of("float32", "bfloat16", "int8")]
Form = Annotated[str, _one_of("fused", "select", "folded")]  # of attention in an engine
Activations = Annotated[str, _one_of("float32", "int8", "bfloat16")]


class TensorSpec(msgspec.Struct, frozen=True):
    """One graph input or output. ``shape`` holds sizes and names of dynamic dimensions."""

    name: str
    dtype: DType
    shape: tuple[Count | str, ...]


class GraphSpec(msgspec.Struct, frozen=True):
    """One graph of a ``part`` of the model. ``variant``: `any`, or what it alone is for: the step of an engine
    (`decode`, `verify`, `prefill-short`, `prefill`). ``rank``: which of the devices that compute together runs it."""

    file: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    part: str
    variant: str = ANY
    rank: Rank = 0


class KVLayer(msgspec.Struct, frozen=True):
    """KV of one layer that owns it: `[batch, heads, tokens, head_dim]` for key and for value.

    ``keep``: tokens a sliding layer keeps; None for a full layer, whose buffer has as many slots as the runtime
    gives it. ``bytes_per_token`` counts key and value of one sequence. ``slots``: of a sliding layer whose graph writes
    round and round in place (position p in slot p modulo them); None where it gives back the tokens to keep.
    """

    layer: Layer
    kind: Annotated[str, _one_of("full_attention", "sliding_attention")]
    heads: Heads
    head_dim: HeadDim
    window: Count | None
    keep: Count | None
    bytes_per_token: Bytes
    slots: Count | None = None


class KVSpec(msgspec.Struct, frozen=True):
    """``dtype``: float32; bfloat16, as engines always have; or int8, and then each key and value has a float32 scale
    per token and head, `[.., tokens, 1]`, as `past_key_values.N.key_scale` and so on. ``rewind``: tokens that sliding
    layers can take back."""

    dtype: KVDType
    rewind: Index
    layers: tuple[KVLayer, ...]


class PartSpec(msgspec.Struct, frozen=True):
    """A part of the model, over all its graphs. ``kv``: what it keeps between calls; None where it keeps nothing."""

    kv: KVSpec | None = None


class FileSpec(msgspec.Struct, frozen=True):
    bytes: Bytes
    sha256: Sha256


class QuantizedSpec(msgspec.Struct, frozen=True):
    """A quantised weight, by its checkpoint key: its codes are the initializer `KEY.codes`, and so on.

    ``shape`` is that of the float weight, ``block`` the weights a scale stands for (0: a row). ``scale`` was folded
    in: the codes stand for the stored weight times it. ``layout``: blocks of a row one behind the other, as in
    `weights/formats/blocks.py`, or panels of 32 rows. Where the initializer `KEY.scales` is bfloat16, scales are.
    """

    shape: tuple[Count, ...]
    bits: Annotated[int, Meta(ge=2, le=8, multiple_of=2)]
    block: Index
    symmetric: bool
    scale: Factor
    layout: Annotated[str, _one_of(BLOCKS, PANELS)] = BLOCKS


class TableSpec(msgspec.Struct, frozen=True):
    """An engine input that is looked up by the host: row ``ids`` of the tensor ``key`` of the checkpoint times
    ``scale`` (in float32, then rounded to the input's dtype), each row in the shape ``row``."""

    name: str
    key: str
    scale: Factor
    row: tuple[Count, ...]


class HostSpec(msgspec.Struct, frozen=True):
    """What stands between token ids and engine inputs: ``placeholders`` of other modalities are looked up as
    ``pad``."""

    placeholders: tuple[Index, ...]
    pad: Index
    tables: tuple[TableSpec, ...]


class WeightSpec(msgspec.Struct, frozen=True):
    """An engine input that is bound at load: the tensor ``key`` of the checkpoint after ``steps``
    (`bundle/weight_steps.py`), or, with an ``offset``, bytes of the bundle's `weights.data` as they are."""

    name: str
    key: str
    dtype: Annotated[str, _one_of(*_BITS)]
    shape: tuple[Count, ...]
    steps: tuple[str, ...]
    offset: Bytes | None = None
    rank: Rank = 0

    @property
    def bytes(self) -> int:
        """On the device."""
        return math.prod(self.shape) * _BITS[self.dtype] // 8


class EngineStep(msgspec.Struct, frozen=True):
    """``tokens`` of every run; fewer are filled up. ``keep``: logits of the one position that the input `logit_index`
    names, or of all. Its plans are the decoder's graphs whose variant has the step's name. ``activation_bytes``: of
    values between layers, as planned; the engine says its own. ``attention``: the form in which it was built;
    ``refused``: the forms that the builder did not take before, with its words.
    """

    name: Annotated[str, _one_of("decode", "verify", "prefill-short", "prefill")]
    tokens: Count
    keep: Annotated[str, _one_of("one", "all")]
    activation_bytes: Bytes
    attention: Form = "fused"
    refused: dict[Form, str] = {}


class EngineEncoder(msgspec.Struct, frozen=True):
    """A ``part`` that makes features of one image, or one sound, at a time. Its plan is the part's graph of the
    variant `any`. ``profiles``: by dynamic size of that graph, the least, usual and most that it may be, in the order
    of the plan's optimisation profiles. ``activation_bytes``: as of a step, at the most of the last profile."""

    part: Annotated[str, _one_of(VISION, AUDIO)]
    profiles: tuple[dict[str, tuple[Count, Count, Count]], ...]
    activation_bytes: Bytes


class EngineSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """TensorRT plans: by ``product`` and its version, for GPUs of these compute capabilities (89 for 8.9; empty: the
    GPU that built them). ``ring``: slots of a sliding layer, a multiple of ``chunk``; a full layer has as many as
    the context. All steps share caches and weights, whose bytes on the device these are (KV: of a whole batch). Of
    several ``ranks`` each has plans and weights of its own, and bytes are those of one. ``encoders``: parts beside the
    decoder, whose weights stand among the others; not written where there are none."""

    product: Annotated[str, _one_of("tensorrt", "tensorrt-rtx")]
    version: str
    compute_capabilities: tuple[Count, ...]
    batch: Count
    chunk: Count
    ring: Count
    steps: tuple[EngineStep, ...]
    host: HostSpec
    weights: tuple[WeightSpec, ...]
    weight_bytes: Bytes
    kv_bytes: Bytes
    ranks: Annotated[int, Meta(ge=1, le=1 << 10)]
    encoders: tuple[EngineEncoder, ...] = ()

    @property
    def keys(self) -> set[str]:
        """The tensors of the checkpoint that a runtime reads."""
        return {one.key for one in self.weights if one.offset is None} | {table.key for table in self.host.tables}


class CudaSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of a bundle for ONNX Runtime on CUDA. ``chunk``: most new tokens of a run. ``kernels``: the file that lists the
    compiled kernels, and ``compute_capabilities`` the GPUs whose machine code is among them (89 for 8.9). Where ONNX
    Runtime's own ops compute all, there are no kernels, and caches are outputs too. ``host_sizes``: of such ops some
    compute sizes on the host."""

    chunk: Count
    kernels: str | None = None
    compute_capabilities: tuple[Count, ...] = ()
    host_sizes: bool = False


class TextTables(msgspec.Struct, frozen=True):
    """Files that a runtime without Python reads in the place of text files: the ``tokenizer``, and the ``chat``
    template; None where there is no such file, or no table of it. ``refused``: why not, by the same words."""

    tokenizer: str | None
    chat: str | None
    refused: dict[Annotated[str, _one_of("tokenizer", "chat")], str] = {}

    @property
    def files(self) -> dict[str, str]:
        """File -> what it is."""
        given = {self.tokenizer: "the table of the tokenizer", self.chat: "the table of the chat template"}
        return {name: what for name, what in given.items() if name is not None}


class Manifest(msgspec.Struct, frozen=True):
    """`g4.json`. Holds no time and no path, so that equal inputs give equal bytes. ``engine``: of a TensorRT bundle.

    ``requires``: what a runtime must understand to run the bundle (`bundle/requires.py`). ``recipe``: the rules by
    which weights were quantised. ``media``: how files become inputs of the parts beside the decoder; None without any.
    ``activations``: `int8` when some product rounds its other operand to 8 bits; else the
    dtype they are computed in, bfloat16 in engines and on CUDA alone. ``cuda``: of a bundle for ONNX Runtime on CUDA.
    ``text_tables``: of a bundle for ONNX Runtime on the CPU; None in others.
    """

    manifest_version: int
    generator: str
    model_type: str
    architecture: str
    target: str
    weights: str
    modalities: tuple[str, ...]
    context: Count
    vocab_size: Count
    bos_token_id: Index
    pad_token_id: Index
    stop_token_ids: tuple[Index, ...]
    requires: tuple[str, ...]
    parts: dict[str, PartSpec]
    graphs: dict[str, GraphSpec]
    source: dict[str, str]
    versions: dict[str, str]
    recipe: tuple[str, ...]
    activations: Activations
    quantized: dict[str, QuantizedSpec]
    files: dict[str, FileSpec]
    engine: EngineSpec | None = None
    media: MediaSpec | None = None
    cuda: CudaSpec | None = None
    text_tables: TextTables | None = None

    @property
    def kv(self) -> KVSpec:
        """What the decoder keeps between calls. Raises BundleError when the bundle has no decoder that keeps any."""
        part = self.parts.get(DECODER)
        if part is None or part.kv is None:
            raise BundleError(f"the bundle has no {DECODER} with a KV cache", fix="compile it again")
        return part.kv

    def graph(self, part: str, variant: str = ANY, rank: int = 0) -> str:
        """The name of a part's graph among ``graphs``. Raises BundleError when there is none."""
        for name, graph in self.graphs.items():
            if (graph.part, graph.variant, graph.rank) == (part, variant, rank):
                return name
        raise BundleError(f"the bundle has no graph of the part {part}, variant {variant}, rank {rank}")

    @property
    def tensor_files(self) -> tuple[str, ...]:
        """The checkpoint's files in an engine bundle that needs no checkpoint; none in others."""
        return tuple(name for name in self.files if name.endswith(TENSORS) and self.engine is not None)

    @property
    def layouts(self) -> set[str]:
        """Of the codes of an ONNX bundle."""
        return {spec.layout for spec in self.quantized.values()}

    @property
    def needed_files(self) -> dict[str, str]:
        """File -> what needs it: graphs, and the weights that they share."""
        found = {graph.file: f"the graph {name}" for name, graph in self.graphs.items()}
        if self.engine is None:
            found[DATA] = "the weights"
        elif any(weight.offset is not None for weight in self.engine.weights):
            found[DATA] = "weights that the engines bind"
        return found | ({} if self.text_tables is None else self.text_tables.files)


def encode(manifest: Manifest) -> bytes:
    """The manifest as the bytes of `g4.json`, with their own hash (`own_hash.py`)."""
    return add_own_hash(msgspec.to_builtins(manifest))
