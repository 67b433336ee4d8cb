"""A bundle of a small model that is a Python function, and an ONNX Runtime that calls it over the bound addresses.

Of each token the model writes the id as key and the position as value, into a full cache and a ring. What it says next
follows from all tokens that a query sees in either, so a token in the wrong place changes the answer.
"""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace

import ml_dtypes
import numpy as np

from g4compile.bundle.manifest import CudaSpec, FileSpec, GraphSpec, KVLayer, KVSpec, Manifest, PartSpec
from g4compile.runtime.cuda.session import CudaSession
from tests.runtime.host_device import HostDevice, LateDevice

VOCABULARY, CONTEXT, CHUNK, WINDOW, REWIND = 61, 96, 8, 6, 4
RING = WINDOW + CHUNK + REWIND
_DTYPES = {1: np.dtype(np.float32), 7: np.dtype(np.int64), 16: np.dtype(ml_dtypes.bfloat16)}
_CACHES = [f"past_key_values.{layer}.{part}" for layer in (0, 3) for part in ("key", "value")]


def manifest(choice=False):
    """``choice``: whether there is a graph that finds the likeliest tokens."""
    parts = ("decoder", "choice") if choice else ("decoder",)
    kv = KVSpec(
        "bfloat16",
        REWIND,
        (
            KVLayer(0, "sliding_attention", 1, 1, WINDOW, WINDOW - 1 + REWIND, 4, RING),
            KVLayer(3, "full_attention", 1, 1, None, None, 4),
        ),
    )
    return Manifest(
        *(3, "test", "gemma4", "tiny", "onnx-cuda", "bf16", ("text",), CONTEXT, VOCABULARY, 2, 0, (1,), ("g4cuda",)),
        parts={part: PartSpec(kv if part == "decoder" else None) for part in parts},
        graphs={part: GraphSpec(f"{part}.onnx", (), (), part) for part in parts},
        source={},
        versions={},
        recipe=(),
        activations="bfloat16",
        quantized={},
        files={"weights.data": FileSpec(1000, "0" * 64)},
        cuda=CudaSpec(CHUNK, "kernels.json"),
    )


def answer(tokens, position):
    """The token that follows ``tokens`` [position + 1], as the model sees them."""
    everything = sum((token + 1) * (at + 3) for at, token in enumerate(tokens[: position + 1]))
    recent = sum((token + 2) * (at + 5) for at, token in enumerate(tokens[: position + 1]) if at > position - WINDOW)
    return (everything + 7 * recent) % (VOCABULARY - 2) + 2  # no stop token


def logits_of(token):
    """float32 [V] whose greatest is that of ``token``."""
    return -((np.arange(VOCABULARY) - token) % VOCABULARY).astype(np.float32)


def greedy(prompt, count):
    """What follows ``prompt``."""
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(answer(tokens, len(tokens) - 1))
    return tokens[len(prompt) :]


class Runtime:
    """An `InferenceSession` of the model on a `HostDevice`. ``runs``: (id, batch, new, kept) of every execution.
    ``fail``: called with the number of each run behind what it has written."""

    def __init__(self, device):
        self.device, self.runs, self.replayed, self.threads = device, [], [], threading.local()
        self.fail, self.shift = lambda number: None, 0

    def io_binding(self):
        return Binding()

    def run_with_iobinding(self, binding, options):
        assert self.device.stream == 7
        assert options.get_run_config_entry("disable_synchronize_execution_providers") == "1"
        number = int(options.get_run_config_entry("gpu_graph_id"))
        captured = self.threads.__dict__.setdefault("captured", {})
        times, bound = 1, dict(binding.bound)
        if number in captured:
            assert captured[number] == bound, "a captured graph was asked for with other addresses"
            self.replayed.append(number)
        elif number != -1:
            captured[number], times = bound, 2  # to give memory, and behind the capture
        for _ in range(times):
            self.device.run(lambda: self._execute(number, bound))

    def _array(self, bound, name):
        return array_at(self.device, *bound[name])

    def _execute(self, number, bound):
        values = {name: self._array(bound, name) for name in bound}
        ids, positions, index = (values[name].copy() for name in ("input_ids", "position_ids", "logit_index"))
        assert sorted(set(bound) - {"input_ids", "position_ids", "logit_index", "logits", "next_token"}) == sorted(
            _CACHES
        )
        (batch, new), keep = ids.shape, index.shape[1]
        assert new <= CHUNK and ids.min() >= 0 and ids.max() < VOCABULARY
        self.runs.append((number, batch, new, keep))
        for row in range(batch):
            for token, position in zip(ids[row], positions[row], strict=True):
                if position >= 0:
                    self._write(values, row, int(token), int(position))
            for place in range(keep):
                at = int(positions[row, index[row, place, 0]])
                found = logits_of(self._see(values, row, at)) if at >= 0 else np.full(VOCABULARY, np.nan)
                values["logits"][row, place] = found + self.shift
            if keep:
                values["next_token"][row, 0] = np.argmax(np.nan_to_num(values["logits"][row, -1], nan=-100))
        self.fail(len(self.runs))

    def _write(self, values, row, token, position):
        for layer in (0, 3):
            key, value = (values[f"past_key_values.{layer}.{part}"] for part in ("key", "value"))
            key[row, 0, position % key.shape[2], 0] = token
            value[row, 0, position % key.shape[2], 0] = position

    def _see(self, values, row, position):
        tokens = {}
        for layer, first in ((3, 0), (0, max(0, position - WINDOW + 1))):
            key, value = (values[f"past_key_values.{layer}.{part}"][row, 0, :, 0] for part in ("key", "value"))
            for at in range(first, position + 1):
                assert value[at % len(key)] == at, f"position {at} is not in layer {layer}, seen from {position}"
                assert tokens.setdefault(at, int(key[at % len(key)])) == key[at % len(key)]
        return answer([tokens[at] for at in range(position + 1)], position)


class Choice:
    """An `InferenceSession` of the graph `choice`. ``runs``: the logits of every run. ``fail``: called with them."""

    def __init__(self, device):
        self.device, self.runs, self.fail = device, [], lambda logits: None

    def io_binding(self):
        return Binding()

    def run_with_iobinding(self, binding, options):
        assert options.get_run_config_entry("gpu_graph_id") == "-1"
        bound = dict(binding.bound)
        self.device.run(lambda: self._execute(bound))

    def _execute(self, bound):
        logits, found, tokens = (array_at(self.device, *bound[one]) for one in ("logits", "top_logits", "top_tokens"))
        assert logits.shape == (len(found), 1, VOCABULARY) and found.shape == tokens.shape == (len(found), 64)
        found[:], tokens[:] = -np.inf, -1
        for row, one in enumerate(logits[:, 0]):
            order = np.lexsort((np.arange(VOCABULARY), -np.where(np.isnan(one), np.inf, one)))[:64]
            found[row, : len(order)], tokens[row, : len(order)] = one[order], order
        self.runs.append(logits[:, 0].copy())
        self.fail(logits)


def array_at(device, dtype, shape, address):
    size = int(np.prod(shape)) * _DTYPES[dtype].itemsize
    return device.at(address, size).view(_DTYPES[dtype]).reshape(shape)


class Binding:
    def __init__(self):
        self.bound = {}

    def bind_input(self, name, kind, number, dtype, shape, address):
        assert (kind, number) == ("cuda", 0)
        self.bound[name] = dtype, tuple(shape), address

    bind_output = bind_input


def opened(size=1 << 30, late=True, choice=True):
    """A session, its device, its runtime, and the one of the graph `choice`, where it has that."""
    device = (LateDevice if late else HostDevice)(size)
    graphs = {"decoder": Runtime(device), "choice": Choice(device)}
    session = CudaSession(
        SimpleNamespace(folder=Path("bundle"), manifest=manifest(choice), graph_path=Path),
        device,
        lambda bundle, here, part: graphs[part],
    )
    return SimpleNamespace(session=session, device=device, runtime=graphs["decoder"], choice=graphs["choice"])
