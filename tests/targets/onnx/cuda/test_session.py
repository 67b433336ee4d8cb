"""The session of `onnx-cuda` bundles over whole graphs, in NumPy on a device of host memory, against HF."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from g4compile.bundle.kv import PAST
from g4compile.bundle.manifest import CudaSpec
from g4compile.runtime.cuda.session import CudaSession
from g4compile.targets.base import REWIND
from g4compile.targets.onnx.cuda.bundle import _kv_layer
from g4compile.targets.onnx.cuda.options import cuda_options
from g4compile.targets.onnx.cuda.target import ONNX_CUDA
from tests.runtime.cuda import fake
from tests.runtime.host_device import HostDevice
from tests.scenario import STEPS, run_scenario
from tests.targets.onnx.cuda.conftest import CHUNK, CONTEXT
from tests.targets.onnx.cuda.reference import Graph


class Runtime(fake.Runtime):
    """ONNX Runtime of a graph in float32. Of a cache the numbers that bfloat16 has no room for stand beside the
    device's memory, by the address of a row."""

    def __init__(self, device, model):
        super().__init__(device)
        self._graph, self._caches = Graph(model, exact=True), {}

    def _execute(self, number, bound):
        caches = {name: list(self._rows(*bound[name])) for name in bound if name.startswith(PAST)}
        fed = {name: np.stack(rows) for name, rows in caches.items()}
        for name in ("input_ids", "position_ids", "logit_index", "counters"):
            fed[name] = self._array(bound, name).copy()
        found = self._graph.run(fed)
        for name, rows in caches.items():
            for row, array in zip(rows, fed[name], strict=True):
                row[:] = array
        keep = bound["logit_index"][1][1]
        if keep:
            for name in ("logits", "next_token"):
                self._array(bound, name)[:] = found[name]
        self.runs.append((number, *bound["input_ids"][1], keep))

    def _rows(self, dtype, shape, address):
        assert dtype == 16
        size = 2 * int(np.prod(shape[1:]))
        for row in range(shape[0]):
            assert self.device.at(address + row * size, size) is not None
            yield self._caches.setdefault(address + row * size, np.zeros(shape[1:], np.float32))


@pytest.fixture
def opened(cuda_graph, stored_narrow):
    def get(variant):
        model, facts, base = cuda_graph(variant), stored_narrow(variant).facts.text, fake.manifest()
        options = cuda_options(ONNX_CUDA.options(context=CONTEXT, chunk=CHUNK))
        layers = (_kv_layer(layer, options) for layer in facts.kv_layers)
        layers = tuple(layer if layer.window else msgspec.structs.replace(layer, slots=None) for layer in layers)
        kv = msgspec.structs.replace(base.kv, layers=layers, rewind=REWIND)
        manifest = msgspec.structs.replace(
            base,
            context=CONTEXT,
            vocab_size=facts.vocab_size,
            stop_token_ids=(),
            parts={"decoder": msgspec.structs.replace(base.parts["decoder"], kv=kv)},
            cuda=CudaSpec(CHUNK, 1, "kernels.json"),
        )
        device = HostDevice()
        runtime = Runtime(device, model)
        bundle = SimpleNamespace(folder=Path("bundle"), manifest=manifest, graph_path=Path)
        return SimpleNamespace(session=CudaSession(bundle, device, lambda *_: runtime), runtime=runtime)

    return get


@pytest.mark.parametrize("variant", ["tiny-e2b", "tiny-26b-a4b"])
def test_a_session_gives_hf_s_logits(variant, opened, expected_narrow):
    """A prompt at once and in chunks, then 120 captured steps, past windows and rings."""
    session = opened(variant).session
    run_scenario(expected_narrow(variant, 2), lambda ids: session.forward(ids, all_positions=True), session.reset)


def test_generate_gives_hf_s_tokens(opened, expected_narrow):
    here, want = opened("tiny-e2b"), expected_narrow("tiny-e2b", 1)
    found = list(here.session.generate(want.prompt, max_new_tokens=STEPS))
    assert found == want.tokens[0].tolist()
    assert len(here.runtime.replayed) == STEPS - 1


def test_a_batch_gives_hf_s_tokens(opened, expected_narrow):
    """Rows that join one step after the other, beside a conversation."""
    here, found, steps = opened("tiny-e2b"), {}, 30
    here.session.forward([5, 6, 7])
    batch = here.session.new_batch(3)
    for want in expected_narrow("tiny-e2b", 3).prompt:
        batch.join(want, max_new_tokens=steps)
        for row, token in batch.step():
            found.setdefault(row, []).append(token)
    while batch.active:
        for row, token in batch.step():
            found[row].append(token)
    tokens = expected_narrow("tiny-e2b", 3).tokens
    assert [found[row] for row in range(3)] == tokens[:, :steps].tolist()
