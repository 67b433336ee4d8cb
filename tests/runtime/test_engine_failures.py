"""What goes wrong with engines: said in words, and nothing stays on the device behind it: no memory, no graph, no
engine, no context, no stream that captures."""

from __future__ import annotations

import gc
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from g4compile.errors import InputError, MachineError
from g4compile.runtime.engine import EngineSession
from g4compile.targets.tensorrt.steps import Capacities
from tests.runtime.host_device import HostDevice
from tests.runtime.interpreted import interpreted

VARIANT, CAPACITIES = "tiny-e2b", Capacities(context=256, batch=1, chunk=16)


@pytest.fixture
def begin(engine_bundle, emit, trt, checkpoints):
    """What opens a session on a device that may fail, over engines that may be otherwise than they should."""
    made = emit(VARIANT, CAPACITIES)
    networks = {name: ranks[0] for name, ranks in made.networks.items()}

    def get(size=1 << 40, fails=None, cache=None, **changes):
        device = HostDevice(size, fails=fails)
        fake = interpreted(trt, engine_bundle, networks, device, **changes)
        opens = lambda: EngineSession(engine_bundle, checkpoints(VARIANT).folder, device, fake, cache)  # noqa: E731
        return SimpleNamespace(device=device, fake=fake, opens=opens)

    return get


def assert_nothing_left(made):
    gc.collect()
    assert made.fake.alive() == 0
    assert not made.device.memory and not made.device.graphs and not made.device.capturing
    assert made.device.stream == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"refused": ("verify",)}, "the engine verify cannot be loaded on this GPU"),
        ({"contexts": False}, "TensorRT could not make a context of the engine"),
        ({"aliases": {"present.0.key": "past_key_values.2.key"}}, "is the memory of past_key_values.2.key"),
        ({"aliases": {"present.0.key": None}}, "does not update past_key_values.0.key in place"),
        ({"fails": {"staging": (0, MachineError("cudaMallocHost failed"))}}, "cudaMallocHost failed"),
        ({"fails": {"upload": (5, MachineError("cudaErrorUnknown"))}}, "cudaErrorUnknown"),
    ],
)
def test_a_session_that_cannot_be_opened(begin, changes, message):
    made = begin(**changes)
    with pytest.raises(MachineError, match=message) as refused:
        made.opens()
    assert refused.value.fix or "failed" in message or "Unknown" in message
    del refused
    assert_nothing_left(made)


@pytest.mark.parametrize("count", [0, 1, 20, 100])
def test_memory_that_is_not_enough_at_any_place(begin, count):
    """At the first allocation, among the weights, and among the caches."""
    whole = begin()
    with whole.opens() as session:
        pieces = len(whole.device.memory)
        assert pieces > 100 and session.device_memory.weight_bytes > 0
    made = begin(fails={"allocate": (min(count, pieces - 1), MachineError("cudaMalloc failed: out of memory"))})
    with pytest.raises(MachineError, match="not enough memory on the GPU for") as refused:
        made.opens()
    assert "are free" in str(refused.value)
    del refused
    assert_nothing_left(made)


def test_what_a_session_holds_and_gives_back(begin):
    made = begin()
    with made.opens() as session:
        session.forward([1, 2, 3])
        for token in range(3):
            session.forward([token])
        held, engine = session.device_memory, session.bundle.manifest.engine
        assert (held.weight_bytes, held.kv_bytes) == (engine.weight_bytes, engine.kv_bytes) and held.other_bytes == 0
        assert sum((held.weight_bytes, held.kv_bytes, held.buffer_bytes)) == made.device.size - held.free_bytes
        assert made.fake.alive() == 2 * len(engine.steps) and len(made.device.graphs) == 2
    session.close()
    assert_nothing_left(made)
    with pytest.raises(InputError, match="closed"):
        session.forward([5])


def test_two_sessions_in_a_process_and_one_behind_the_other(begin):
    first, second = begin(), begin()
    with first.opens() as one, second.opens() as other:
        want = one.forward([1, 2, 3])
        other.forward([4])
        one.reset()
        np.testing.assert_array_equal(one.forward([1, 2, 3]), want)
        other.reset()
        np.testing.assert_array_equal(other.forward([1, 2, 3]), want)
    assert_nothing_left(first)
    assert_nothing_left(second)


@pytest.mark.parametrize("how", ["TensorRT says so", "CUDA refuses"])
def test_a_capture_that_is_refused_is_said_once(begin, how):
    whole = begin()
    with whole.opens() as session:
        want = [session.forward([1, 2, 3]), *(session.forward([token]) for token in range(4))]
    if how == "CUDA refuses":
        made = begin(fails={"capture": (0, MachineError("cudaStreamEndCapture failed: not permitted"))})
    else:
        made = begin(capturable=False)
    with made.opens() as session, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = [session.forward([1, 2, 3]), *(session.forward([token]) for token in range(4))]
        assert not made.device.graphs and not made.device.capturing and made.device.launched == 0
    np.testing.assert_array_equal(np.stack(found), np.stack(want))
    (one,) = told
    assert "without a CUDA graph" in str(one.message)
    assert ("not permitted" if how == "CUDA refuses" else "cannot be captured") in str(one.message)
    assert_nothing_left(made)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("of another library")])
def test_an_interrupt_in_the_middle_of_a_capture(begin, error):
    made = begin(fails={"capture": (0, error)})
    session = made.opens()
    with pytest.raises(type(error)):
        session.forward([1, 2, 3])
    assert session.length == 0 and not made.device.capturing and not made.device.graphs
    made.device.fails.clear()
    session.forward([1, 2, 3])
    session.forward([1, 2, 3])
    assert made.device.captured == 1
    session.close()
    del session
    assert_nothing_left(made)


@pytest.mark.parametrize("call", ["upload", "download", "launch"])
def test_an_error_in_the_middle_of_a_step(begin, call):
    """The state is as it was, and the next call is right."""
    made = begin()
    session = made.opens()
    session.forward([1, 2, 3, 4])
    want = session.forward([5])
    session.rewind(1)
    session.forward([5])
    session.rewind(1)
    made.device.fails[call] = (0, MachineError("cudaErrorUnknown"))
    with pytest.raises(MachineError, match="cudaErrorUnknown"):
        session.forward([5])
    made.device.fails.clear()
    assert session.length == 4
    np.testing.assert_array_equal(session.forward([5]), want)
    session.close()
    del session
    assert_nothing_left(made)


def test_a_driver_that_fails_at_the_end(begin):
    """What can be given back is, and the error is told."""
    made = begin()
    session = made.opens()
    session.forward([1])
    made.device.fails["destroy"] = (0, MachineError("cudaGraphExecDestroy failed"))
    with pytest.raises(MachineError, match="cudaGraphExecDestroy failed"):
        session.close()
    del session
    assert_nothing_left(made)


def test_compiled_kernels_are_kept(begin, tmp_path):
    cache = tmp_path / "cache"
    with begin(cache=cache).opens():
        (file,) = cache.iterdir()
    assert file.read_bytes() == b"compiled" and file.name.startswith("tensorrt-rtx-")
    (cache / "tensorrt-rtx-0123456789abcdef.kernels").write_bytes(b"of other plans")
    marks = file.stat().st_mtime_ns
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with begin(cache=cache).opens():
            assert file.stat().st_mtime_ns == marks


@pytest.mark.parametrize("how", ["refused", "no file", "too large"])
def test_a_cache_that_is_of_no_use_is_made_again(begin, tmp_path, how, monkeypatch):
    with begin(cache=tmp_path).opens():
        (file,) = tmp_path.iterdir()
    file.write_bytes(b"of another driver")
    if how == "no file":
        file.unlink()
        file.mkdir()
    if how == "too large":
        monkeypatch.setattr("g4compile.runtime.engine_contexts._MOST", 4)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with begin(cache=tmp_path).opens() as session:
            session.forward([1])
    assert {"kernels are compiled again" in str(one.message) for one in told} == {True}
    assert how != "refused" or file.read_bytes() == b"compiled"


def test_a_cache_that_others_can_write_is_refused(begin, tmp_path):
    tmp_path.chmod(0o777)
    with pytest.raises(InputError, match="other users can write"):
        begin(cache=tmp_path).opens()
