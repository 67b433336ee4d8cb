"""Memory of a process: to compile, after loading, and after a prompt. Estimates, within 10% where they were measured.

Measured on Linux, x86-64, Python 3.11 and the versions of `constraints.txt`; `tests/test_real_sizes.py` compares E2B at
its real size. What cannot be derived from the model are footprints of libraries, which are the constants below.
"""

from __future__ import annotations

import msgspec

from g4compile.model.config import TextFacts
from g4compile.model.inventory import PRODUCT, Weight
from g4compile.planning.storage import FLOAT, Storage

_COMPILER = 361_000_000  # Python with torch, transformers, onnx
_TRACE = 50_000_000  # exporting and rewriting, beside what grows with the layers
_TRACED_LAYER = 1_600_000
_IN_FLIGHT = 100_000_000  # rows that two workers read, quantise and write
_RUNTIME = 55_000_000  # Python with NumPy and ONNX Runtime
_RUNTIME_ANONYMOUS = 25_000_000
_EMBEDDED_ANONYMOUS = 5_000_000  # libg4rt and ONNX Runtime, without Python
_LIBRARY_LOADED = 16_000_000  # of ONNX Runtime's pages, to load
_LIBRARY = 30_000_000  # and to run
_LOADED_LAYER = 750_000  # nodes of a layer in ONNX Runtime
_FUSED_LAYER = 350_000  # where they are ops of libg4ops
_RAW = 80_000_000  # pages of weights as compiled that stay mapped after a load without a cache


class Memory(msgspec.Struct, frozen=True):
    """Resident bytes of a process. ``cached_*``: with a folder of rearranged weights, filled before.

    ``compile_peak_bytes`` at the default chunk of rows; ``load_bytes`` after loading; ``steady_bytes`` after a prompt
    of ``prompt`` tokens, the KV state of the planned context in it. Without a cache the pages of mapped tables come on
    top: how many a lookup maps is the system's choice (0.1 to 0.5 GB were seen), and it may drop them.
    ``cached_anonymous_bytes`` is what of the cached steady state the system cannot drop, in Python;
    ``embedded_anonymous_bytes`` the same of a program in C with libg4rt.
    """

    prompt: int
    compile_peak_bytes: int
    load_bytes: int
    steady_bytes: int
    cached_load_bytes: int
    cached_steady_bytes: int
    cached_anonymous_bytes: int
    embedded_anonymous_bytes: int


def memory(text: TextFacts, found: list[Weight], storage: Storage, kv_bytes: int, prompt: int) -> Memory:
    """Estimate for a model of ``text`` facts; ``kv_bytes``: of the KV state; ``prompt``: tokens of one run.

    Panels are used where they are mapped, with a cache and without: only a run reads their pages."""
    layers = len(text.layers)
    products = [weight for weight in found if weight.use == PRODUCT]
    mapped = sum(storage.tensor_bytes(weight) for weight in products if storage.in_panels(weight))
    packed = sum(_packed_bytes(weight, storage) for weight in products if not storage.in_panels(weight))
    nodes = layers * (_FUSED_LAYER if mapped else _LOADED_LAYER)
    working = (_fused_bytes if mapped else _activation_bytes)(text, prompt) + kv_bytes
    kept = nodes + working + (packed if mapped else 0)
    loaded = _RUNTIME + _LIBRARY_LOADED + nodes + packed + (0 if mapped else _RAW)
    cached = _RUNTIME + _LIBRARY + nodes + packed + mapped + working
    floats = (w.elements * FLOAT for w in products if storage.recipe is None and not w.tail)
    return Memory(
        prompt=prompt,
        compile_peak_bytes=_COMPILER + _TRACE + layers * _TRACED_LAYER + max(_IN_FLIGHT, 2 * max(floats, default=0)),
        load_bytes=loaded,
        steady_bytes=cached if mapped else loaded + working,
        cached_load_bytes=loaded if mapped else _RUNTIME + _LIBRARY_LOADED + nodes,
        cached_steady_bytes=cached,
        cached_anonymous_bytes=_RUNTIME_ANONYMOUS + kept,
        embedded_anonymous_bytes=_EMBEDDED_ANONYMOUS + kept,
    )


def _packed_bytes(weight: Weight, storage: Storage) -> int:
    """As a product's kernel wants it: as stored, and the sum of each block where activations are read in 8 bits."""
    rule = storage.rule(weight)
    stored = storage.tensor_bytes(weight)
    if rule is None or rule.format is None or rule.activations == "float32" or len(weight.shape) > 2:
        return stored
    return stored + FLOAT * weight.shape[0] * rule.format.blocks(weight.shape[1])


def _activation_bytes(text: TextFacts, prompt: int) -> int:
    """Live at once in a run of ``prompt`` tokens: the stream, the widest MLP, one attention, per-layer inputs."""
    full = [layer for layer in text.layers if layer.index <= text.last_producer]
    width = max((layer.intermediate_size for layer in full), default=0)
    heads = max(text.heads * layer.head_dim for layer in text.layers)
    ple = 4 * len(text.layers) * text.ple_dim  # looked up, projected, normed, added
    scores = text.heads * prompt
    return prompt * FLOAT * (4 * text.hidden_size + 3 * width + heads + scores + ple) + FLOAT * text.vocab_size


def _fused_bytes(text: TextFacts, prompt: int) -> int:
    """The same with the ops of libg4ops: of an MLP its gated product and the codes of it, no scores, no per-layer
    inputs before they are scaled and added."""
    width = max((layer.intermediate_size for layer in text.layers if layer.index <= text.last_producer), default=0)
    heads = max(text.heads * layer.head_dim for layer in text.layers)
    ple = 2 * len(text.layers) * text.ple_dim
    of_token = FLOAT * (4 * text.hidden_size + width + 2 * heads + ple) + width
    return prompt * of_token + 2 * FLOAT * text.vocab_size
