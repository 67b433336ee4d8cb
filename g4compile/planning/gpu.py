"""What a bundle for ONNX Runtime on CUDA takes of a GPU, and the speed that the GPU's figures allow.

Bytes of weights and caches are exact. Those of a run are an estimate: ONNX Runtime decides what it keeps.
"""

from __future__ import annotations

import msgspec

from g4compile.errors import InputError
from g4compile.model.config import TextFacts
from g4compile.model.inventory import EXPERTS, LOOKUP, PRODUCT, Weight
from g4compile.ops.expert_routing import tile_of
from g4compile.planning.device import DEVICES, Device
from g4compile.planning.speeds import OF_DEVICE, Speeds, operations, read_bytes
from g4compile.planning.storage import FLOAT, Storage
from g4compile.targets.onnx.cuda.options import CudaOptions

NUMBER = 2  # bytes of a weight that is no code, of a scale, and of most values between ops
_DEFAULT = "h100"
_ONE_OP = {"k_proj": "q_proj", "v_proj": "q_proj", "up_proj": "gate_proj"}  # products that are part of another's op


class GpuMemory(msgspec.Struct, frozen=True):
    """Bytes of a GPU. ``load_bytes``: weights, when a bundle is loaded. ``kv_bytes``: caches of one sequence for the
    whole context, from the first token on. ``activation_bytes``: about what lives at once in a run of ``chunk`` tokens,
    its logits and the scratch of an op in it. CUDA's own context and the machine code of kernels come on top."""

    chunk: int
    load_bytes: int
    kv_bytes: int
    activation_bytes: int

    @property
    def all_bytes(self) -> int:
        return self.load_bytes + self.kv_bytes + self.activation_bytes


def gpu_of(device: Device | None, wanted: bool) -> Device:
    """``device``, or the one to plan for where there is none. Raises InputError for a GPU where the target runs on
    processors, and the other way round."""
    if device is None:
        return DEVICES[_DEFAULT if wanted else "server-2-cores"]
    if device.gpu is not wanted:
        others = ", ".join(name for name, one in DEVICES.items() if one.gpu is wanted)
        kinds = ("no GPU", "the target runs on one") if wanted else ("a GPU", "the target runs on processors")
        raise InputError(f"{device.name} is {kinds[0]}", why=kinds[1], fix=f"--device {others}")
    return device


def gpu_storage(options: CudaOptions) -> Storage:
    """How weights are stored: in bfloat16, but what ONNX Runtime's own kernels read in float32."""
    return Storage(options.recipe, number=NUMBER, small=FLOAT if options.stock else NUMBER)


def gpu_memory(text: TextFacts, chunk: int, data_bytes: int, kv_bytes: int, scratch_bytes: int) -> GpuMemory:
    """Of a bundle with ``data_bytes`` of weights, whose runs have ``chunk`` tokens, and an op ``scratch_bytes``."""
    live = _activation_bytes(text, chunk) + scratch_bytes + FLOAT * text.vocab_size
    return GpuMemory(chunk, data_bytes, kv_bytes, live)


def gpu_speeds(found: list[Weight], storage: Storage, kv_read: int, device: Device, chunk: int) -> Speeds:
    """A decoded token reads; a run of ``chunk`` tokens multiplies, or reads all weights, whichever takes longer."""
    decode = device.bandwidth / (kv_read + sum(read_bytes(weight, storage) for weight in found))
    before = [weight for weight in found if not weight.tail]
    reads = sum(storage.tensor_bytes(weight) for weight in before if weight.use != LOOKUP) / device.bandwidth
    products = chunk * sum(map(operations, before)) / device.operations
    return Speeds(decode, chunk / max(reads, products), OF_DEVICE)


def _activation_bytes(text: TextFacts, tokens: int) -> int:
    """Live at once in a run of ``tokens``: the stream before and behind an op, what is normed of it, inputs of layers,
    and the widest of attention, MLP and experts."""
    hidden = text.hidden_size
    stream = tokens * (2 * FLOAT + 2 * NUMBER) * hidden
    by_layer = 3 * NUMBER * tokens * len(text.layers) * text.ple_dim  # looked up, projected, and both together
    attention = max(tokens * NUMBER * (3 * text.heads + 2 * one.kv_heads) * one.head_dim for one in text.layers)
    mlp = max(tokens * NUMBER * one.intermediate_size for one in text.layers)
    experts = 0
    if text.moe is not None:
        slots = tokens * text.moe.top_k + text.moe.experts * tile_of(tokens)
        experts = slots * NUMBER * (text.moe.intermediate_size + hidden)
    return stream + by_layer + max(attention, mlp, experts)


def numbers_bytes(found: list[Weight], storage: Storage) -> int:
    """What codes become in front of a product of many rows: as bfloat16, those of the op that has the most. Experts
    multiply codes, and what stands behind the last layer with a cache has few rows."""
    of_ops = dict[str, int]()
    for weight in found:
        if weight.use == PRODUCT and weight.role != EXPERTS and not weight.tail and storage.rule(weight) is not None:
            layer, _, product = weight.module.rpartition(".")
            op = f"{layer}.{_ONE_OP.get(product, product)}"
            of_ops[op] = of_ops.get(op, 0) + NUMBER * weight.elements
    return max(of_ops.values(), default=0)
