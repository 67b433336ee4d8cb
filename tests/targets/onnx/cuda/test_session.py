"""The session of `onnx-cuda` bundles over whole graphs, on a device of host memory, against HF: graphs of kernels in
NumPy, and stock ones on ONNX Runtime's CPU provider."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from g4compile.bundle.kv import PAST, PRESENT
from g4compile.bundle.manifest import CudaSpec
from g4compile.errors import BundleError
from g4compile.runtime.cuda.session import CudaSession
from g4compile.runtime.feeds import past_of
from g4compile.runtime.sampling import Sampling
from g4compile.targets.base import REWIND
from g4compile.targets.onnx.cuda.bundle import _kv_layer
from g4compile.targets.onnx.cuda.choice import choice_graph
from g4compile.targets.onnx.cuda.options import KERNELS, cuda_options
from g4compile.targets.onnx.cuda.target import ONNX_CUDA
from tests.runtime.cuda import fake
from tests.runtime.host_device import HostDevice
from tests.scenario import STEPS, assert_equal, run_scenario
from tests.targets.onnx.cuda import stock
from tests.targets.onnx.cuda.conftest import CHUNK, CONTEXT
from tests.targets.onnx.cuda.reference import Graph


class Choice(fake.Choice):
    """ONNX Runtime of a graph `choice`."""

    def __init__(self, device, model):
        super().__init__(device)
        self._graph = Graph(model)

    def _execute(self, bound):
        found = self._graph.run({"logits": fake.array_at(self.device, *bound["logits"])})
        for name in ("top_logits", "top_tokens"):
            fake.array_at(self.device, *bound[name])[:] = found[name]
        self.runs.append(bound["logits"][1])


class Runtime(fake.Runtime):
    """ONNX Runtime of a graph in float32. Of a cache the numbers that bfloat16 has no room for stand beside the
    device's memory, by the address of a row."""

    def __init__(self, device, model):
        super().__init__(device)
        self._graph, self._caches = Graph(model, exact=True), {}

    def _execute(self, number, bound):
        caches = {name: list(self._rows(*bound[name])) for name in bound if name.startswith(PAST)}
        fed = {name: np.stack(rows) for name, rows in caches.items()}
        for name in ("input_ids", "position_ids", "logit_index"):
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


class StockRuntime(Runtime):
    """The same of a graph without kernels, whose caches are outputs over the memory of the inputs."""

    def __init__(self, device, model):
        fake.Runtime.__init__(self, device)
        self._session, self._caches = stock.opened(model), {}

    def _execute(self, number, bound):
        caches = {name: list(self._rows(*bound[name])) for name in bound if name.startswith(PAST)}
        assert all(bound[name] == bound[past_of(name)] for name in bound if name.startswith(PRESENT))
        fed = {name: np.stack(rows) for name, rows in caches.items()}
        fed |= {name: self._array(bound, name).copy() for name in ("input_ids", "position_ids", "logit_index")}
        assert fed["position_ids"].min() >= 0 and bound["logit_index"][1][1]
        names = [output.name for output in self._session.get_outputs()]
        for name, array in zip(names, self._session.run(names, fed), strict=True):
            if name.startswith(PRESENT):
                for row, now in zip(caches[past_of(name)], array, strict=True):
                    row[:] = now
            else:
                self._array(bound, name)[:] = array
        self.runs.append((number, *bound["input_ids"][1], bound["logit_index"][1][1]))


@pytest.fixture
def opened(cuda_graph, stored_narrow):
    def get(variant, kernels="g4cuda"):
        model = cuda_graph(variant, kernels=kernels)
        options = cuda_options(ONNX_CUDA.options(context=CONTEXT, chunk=CHUNK, kernels=kernels))
        facts, base = stored_narrow(variant).facts.text, fake.manifest(choice=not options.stock)
        stock_spec = CudaSpec(CHUNK, host_sizes=facts.moe is not None)
        layers = (_kv_layer(layer, options) for layer in facts.kv_layers)
        layers = tuple(layer if layer.window else msgspec.structs.replace(layer, slots=None) for layer in layers)
        kv = msgspec.structs.replace(base.kv, layers=layers, rewind=REWIND)
        manifest = msgspec.structs.replace(
            base,
            context=CONTEXT,
            vocab_size=facts.vocab_size,
            stop_token_ids=(),
            parts={**base.parts, "decoder": msgspec.structs.replace(base.parts["decoder"], kv=kv)},
            cuda=stock_spec if options.stock else CudaSpec(CHUNK, "kernels.json"),
        )
        device = HostDevice()
        runtime = (StockRuntime if options.stock else Runtime)(device, model)
        choice = None if options.stock else Choice(device, choice_graph(model))
        bundle = SimpleNamespace(folder=Path("bundle"), manifest=manifest, graph_path=Path)
        graphs = {"decoder": runtime, "choice": choice}
        session = CudaSession(bundle, device, lambda bundle, here, part: graphs[part])
        return SimpleNamespace(session=session, runtime=runtime, choice=choice)

    return get


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("variant", ["tiny-e2b", "tiny-26b-a4b"])
def test_a_session_gives_hf_s_logits(variant, kernels, opened, expected_narrow):
    """A prompt at once and in chunks, then 120 captured steps, past windows and rings."""
    session = opened(variant, kernels).session
    run_scenario(expected_narrow(variant, 2), lambda ids: session.forward(ids, all_positions=True), session.reset)


@pytest.mark.parametrize("kernels", KERNELS)
def test_generate_gives_hf_s_tokens(kernels, opened, expected_narrow):
    here, want = opened("tiny-e2b", kernels), expected_narrow("tiny-e2b", 1)
    found = list(here.session.generate(want.prompt, max_new_tokens=STEPS))
    assert found == want.tokens[0].tolist()
    assert len(here.runtime.replayed) == STEPS - 1


def test_an_error_leaves_the_state_as_it_was(opened, expected_narrow, monkeypatch):
    here, want = opened("tiny-e2b", "onnxruntime"), expected_narrow("tiny-e2b", 1)
    here.session.forward(want.prompt)

    def fails(number, bound):
        raise RuntimeError("a kernel failed")

    with monkeypatch.context() as patched, pytest.raises(BundleError, match="a kernel failed"):
        patched.setattr(here.runtime, "_execute", fails)
        here.session.forward(want.tokens[:, :1])
    assert here.session.length == want.prompt.shape[1]
    assert_equal(want.decode[:, :1], here.session.forward(want.tokens[:, :1])[:, None], "behind an error")


def test_sizes_on_the_host_capture_nothing(opened, expected_narrow):
    """Steps are put on the stream ahead all the same."""
    here, want = opened("tiny-26b-a4b", "onnxruntime"), expected_narrow("tiny-26b-a4b", 1)
    assert list(here.session.generate(want.prompt, max_new_tokens=40)) == want.tokens[0, :40].tolist()
    assert not here.runtime.replayed and {run[0] for run in here.runtime.runs} == {-1}


@pytest.mark.parametrize("kernels", KERNELS)
def test_drawn_tokens_are_those_of_all_logits(kernels, opened, expected_narrow):
    """With kernels they are drawn from what is found on the device."""
    here, prompt = opened("tiny-e2b", kernels), expected_narrow("tiny-e2b", 1).prompt
    options = {"temperature": 1.5, "top_k": 40, "top_p": 0.95, "seed": 11}
    found = list(here.session.generate(prompt, max_new_tokens=20, stop_token_ids=[], **options))
    assert here.choice is None or here.choice.runs == [(1, 1, 1024)] * 20
    here.session.reset()
    sampling, logits, drawn = Sampling(**options), here.session.forward(prompt), []
    for _ in found:
        drawn.append(sampling.choose(logits[0]))
        logits = here.session.forward([drawn[-1]])
    assert found == drawn and len(set(found)) > 5


@pytest.mark.parametrize(
    ("variant", "kernels"), [("tiny-e2b", one) for one in KERNELS] + [("tiny-26b-a4b", KERNELS[1])]
)
def test_a_batch_gives_hf_s_tokens(variant, kernels, opened, expected_narrow):
    """Rows that join one step after the other, beside a conversation."""
    here, found, steps = opened(variant, kernels), {}, 30
    here.session.forward([5, 6, 7])
    batch = here.session.new_batch(3)
    for want in expected_narrow(variant, 3).prompt:
        batch.join(want, max_new_tokens=steps)
        for row, token in batch.step():
            found.setdefault(row, []).append(token)
    while batch.active:
        for row, token in batch.step():
            found[row].append(token)
    tokens = expected_narrow(variant, 3).tokens
    assert [found[row] for row in range(3)] == tokens[:, :steps].tolist()
