"""The engine session against a device of host memory and engines that are networks interpreted on the CPU."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import ml_dtypes
import msgspec
import numpy as np
import pytest

from g4compile.bundle.folder import Bundle
from g4compile.bundle.manifest import encode
from g4compile.compiler import compile
from g4compile.errors import BundleError, CheckpointError, InputError, MachineError
from g4compile.planning.describe import describe_compiled
from g4compile.runtime.engine import EngineSession
from g4compile.runtime.sampling import Sampling
from g4compile.runtime.session import load
from g4compile.targets.tensorrt.steps import Capacities
from g4compile.weights.checkpoint import SIDE_FILES
from tests.runtime.host_device import HostDevice, LateDevice
from tests.runtime.interpreted import interpreted

VARIANT, CAPACITIES = "tiny-e2b", Capacities(context=256, batch=1, chunk=16)


@pytest.fixture
def opened(engine_bundle, emit, trt, checkpoints, monkeypatch):
    """A session, its device, and the interpreted networks' own session."""
    monkeypatch.setattr("g4compile.runtime.engine._STAGING", 0)  # weights are sent in pieces
    device, made = LateDevice(), emit(VARIANT, CAPACITIES)
    fake = interpreted(trt, engine_bundle, {name: ranks[0] for name, ranks in made.networks.items()}, device)
    session = EngineSession(engine_bundle, checkpoints(VARIANT).folder, device, fake)
    return SimpleNamespace(session=session, device=device, networks=made.session(exact=False), fake=fake)


def test_session_gives_what_the_networks_give(opened, expected):
    """Prefill in chunks, decode past the ring, all positions, and a second conversation: bit for bit."""
    want = expected(VARIANT, 1)
    for all_positions in (False, True):
        opened.session.reset()
        opened.networks.reset()
        found = opened.session.forward(want.prompt, all_positions=all_positions)
        np.testing.assert_array_equal(found, opened.networks.forward(want.prompt, all_positions))
        for step in range(20):
            token = want.tokens[:, step : step + 1]
            np.testing.assert_array_equal(opened.session.forward(token), opened.networks.forward(token))
    assert opened.session.length == want.prompt.shape[1] + 20


def test_decode_is_one_graph_launch(opened):
    opened.session.forward([1, 2, 3])
    for token in range(5):
        opened.session.forward([token])
    assert opened.device.captured == 2 and opened.device.launched == 4  # of verify, and of decode


def test_graphs_stay_when_the_conversation_ends(opened):
    for _ in range(3):
        opened.session.forward([1, 2, 3])
        opened.session.forward([4])
        opened.session.reset()
    assert opened.device.captured == 2 and opened.device.launched == 4


def test_rewind_takes_tokens_back(opened):
    opened.session.forward(list(range(20)))
    first = opened.session.forward([5])
    opened.session.forward([6, 7])
    opened.session.rewind(3)
    np.testing.assert_array_equal(opened.session.forward([5]), first)
    opened.session.rewind(1)  # what padding and rewound tokens have written is written over
    np.testing.assert_array_equal(opened.session.forward([5]), first)


def test_a_rewind_past_what_rings_hold_is_refused(opened):
    opened.session.forward(list(range(100)))
    with pytest.raises(InputError, match="rings of sliding layers"):
        opened.session.rewind(opened.session.bundle.manifest.kv.rewind + 1)


def test_generate_stops_at_the_context(opened):
    produced = list(opened.session.generate(list(range(1, 250)), max_new_tokens=50, stop_token_ids=[]))
    assert opened.session.length == 256 and len(produced) == 8


@pytest.mark.parametrize("options", [{}, {"temperature": 0.8, "top_k": 20, "seed": 3}, {"temperature": 0.8, "seed": 3}])
def test_generated_tokens_are_those_of_the_logits(opened, options):
    """The device's likeliest tokens where they decide, and then no logits come to the host."""
    session, fetched = opened.session, []
    download = opened.device.download
    opened.device.download = lambda array, address: (fetched.append(array.nbytes), download(array, address))
    prompt = list(range(3, 24))
    found = list(session.generate(prompt, max_new_tokens=6, stop_token_ids=[], **options))
    decided = options.get("top_k", 0) > 0 or not options
    assert (max(fetched) < 4 * session.bundle.manifest.vocab_size) == decided
    sampling = Sampling(options.get("temperature", 0.0), options.get("top_k", 0), 1.0, options.get("seed"))
    opened.networks.reset()
    logits = opened.networks.forward(np.array([prompt]))
    for token in found:
        assert token == sampling.choose(logits[0])
        logits = opened.networks.forward(np.array([[token]]))


def test_weights_are_what_the_engine_wants(opened, checkpoints):
    """p-RoPE's reordered heads among them: the runtime's steps are the compiler's."""
    spec = opened.session.bundle.manifest.engine
    assert any(weight.steps for weight in spec.weights)
    for weight in spec.weights:
        stored = opened.device.memory[opened.session._decoder._addresses[weight.name]].view(ml_dtypes.bfloat16)
        assert stored.size == int(np.prod(weight.shape))


@pytest.mark.parametrize(
    ("ids", "message"),
    [([], "empty"), ([[1], [2]], "at most"), ([10**6], "out of range"), (list(range(300)), "context")],
)
def test_bad_ids(opened, ids, message):
    with pytest.raises(InputError, match=message):
        opened.session.forward(ids)


def test_what_is_missing_is_said(engine_bundle, opened, checkpoints, tmp_path):
    with pytest.raises(InputError, match="holds no weights"):
        load(engine_bundle.folder)
    with pytest.raises(MachineError, match="cuda-python"):
        load(engine_bundle.folder, checkpoint=checkpoints(VARIANT).folder)
    with pytest.raises(CheckpointError, match="no safetensors"):
        EngineSession(engine_bundle, tmp_path, HostDevice(), opened.fake)
    other = checkpoints("tiny-31b").folder
    with pytest.raises(CheckpointError, match=r"no tensor|has the shape"):
        EngineSession(engine_bundle, other, HostDevice(), opened.fake)
    with pytest.raises(BundleError):
        load(tmp_path)


def fails_after(session, monkeypatch, steps, error):
    """The step behind ``steps`` good ones raises, when it has written what it writes."""
    run, calls = session._decoder.run, []

    def failing(step):
        run(step)
        calls.append(step)
        if len(calls) > steps:
            raise error

    monkeypatch.setattr(session._decoder, "run", failing)


@pytest.mark.parametrize(("kept", "new"), [(0, 40), (20, 12)])
def test_an_error_in_the_middle_of_a_prompt_changes_nothing(opened, monkeypatch, kept, new):
    """Where the rings still hold what the earlier state sees."""
    session, prompt = opened.session, list(range(3, 23))[:kept]
    if kept:
        session.forward(prompt)
        opened.networks.forward(np.array([prompt]))
    with monkeypatch.context() as patch:
        fails_after(session, patch, 1, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            session.forward(list(range(100, 100 + new)), all_positions=True)
    assert (session.length, session.batch) == (kept, 1 if kept else None)
    np.testing.assert_array_equal(session.forward([7, 8, 9]), opened.networks.forward(np.array([[7, 8, 9]])))


def test_a_state_that_an_error_has_overwritten_is_not_used(opened, monkeypatch):
    session = opened.session
    session.forward(list(range(3, 23)))
    with monkeypatch.context() as patch:
        fails_after(session, patch, 2, MachineError("cudaErrorUnknown"))
        with pytest.raises(MachineError, match="cudaErrorUnknown"):
            session.forward([7] * (session.bundle.manifest.kv.rewind + 40))
    tokens = session.generate([5])
    for call in (lambda: session.forward([5]), lambda: session.rewind(1), lambda: next(tokens)):
        with pytest.raises(InputError, match="damaged the state"):
            call()
    session.reset()
    np.testing.assert_array_equal(session.forward([7, 8, 9]), opened.networks.forward(np.array([[7, 8, 9]])))


def test_an_error_in_generate_leaves_the_last_whole_token(opened, monkeypatch):
    session = opened.session
    want = list(session.generate([1, 2, 3], max_new_tokens=4, stop_token_ids=[]))
    session.reset()
    tokens = session.generate([1, 2, 3], stop_token_ids=[])
    assert [next(tokens), next(tokens)] == want[:2]
    with monkeypatch.context() as patch:
        fails_after(session, patch, 0, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            next(tokens)
    assert session.length == 4
    assert list(session.generate(want[1:2], max_new_tokens=2, stop_token_ids=[])) == want[2:]


def test_a_closed_session_has_given_the_device_back(opened):
    opened.session.forward([1, 2, 3])
    opened.session.forward([4])
    opened.session.close()
    assert not opened.device.memory and not opened.device.graphs and opened.device.stream == 0
    with pytest.raises(InputError, match="closed"):
        opened.session.forward([5])


def test_what_an_engine_has_no_use_for(engine_bundle, checkpoints):
    for given in ({"threads": 1}, {"profile": "profile"}):
        with pytest.raises(InputError, match=f"no use for {next(iter(given))}"):
            load(engine_bundle.folder, checkpoint=checkpoints(VARIANT).folder, **given)


def test_full_tensorrt_compiles_nothing_when_it_loads(engine_bundle, checkpoints, tmp_path):
    """So it has no use for a folder of compiled kernels, which TensorRT-RTX takes."""
    folder = shutil.copytree(engine_bundle.folder, tmp_path / "full")
    manifest = msgspec.structs.replace(engine_bundle.manifest, engine=msgspec.structs.replace(
        engine_bundle.manifest.engine, product="tensorrt"))  # fmt: skip
    (folder / "g4.json").write_bytes(encode(manifest))
    with pytest.raises(InputError, match="no use for cache"):
        load(folder, checkpoint=checkpoints(VARIANT).folder, cache=tmp_path / "cache")
    with pytest.raises(MachineError, match="cuda-python"):
        load(engine_bundle.folder, checkpoint=checkpoints(VARIANT).folder, cache=tmp_path / "cache")


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("weights", ["bfloat16", "int4"])
def test_a_bundle_that_needs_no_checkpoint(links, weights, opened, checkpoints, tmp_path, monkeypatch, trt, emit):
    """Weights, tables, tokenizer and template stand in it; where there are no hard links, its files are copies. What
    else lies there is not read."""
    source = checkpoints(VARIANT).folder

    def refuse(*given):
        raise OSError("no links here")

    if not links:
        monkeypatch.setattr("os.link", refuse)
    bundle = compile(
        source, "tensorrt-rtx", tmp_path / "out", weights=weights, context=256, chunk=16,
        compute_capabilities=(89,), self_contained=True,
    )  # fmt: skip
    held = bundle.manifest.tensor_files
    assert held and {(bundle.folder / name).stat().st_nlink > 1 for name in held} == {links}
    said = describe_compiled(bundle, checkpoints(VARIANT).facts)["checkpoint_files"]
    assert said == ("linked" if links else "copied")
    texts = {name for name in SIDE_FILES if (source / name).exists()}
    assert "tokenizer.json" in texts and texts <= set(bundle.manifest.files)
    (bundle.folder / "other.safetensors").write_bytes(b"no tensors")
    made = emit(VARIANT, CAPACITIES, weights=weights)
    device = HostDevice()
    fake = interpreted(trt, bundle, {name: ranks[0] for name, ranks in made.networks.items()}, device)
    with EngineSession(Bundle.open(bundle.folder), device=device, trt=fake) as session:
        want = made.session(exact=False).forward(np.array([[1, 2, 3]]))
        np.testing.assert_array_equal(session.forward([1, 2, 3]), want)
    bundle.check_hashes()
    file = bundle.folder / held[0]
    data = bytearray(file.read_bytes())
    file.unlink()  # the checkpoint's stays as it is
    file.write_bytes(bytes([*data[:-1], data[-1] ^ 1]))
    with pytest.raises(BundleError, match="content of"):
        Bundle.open(bundle.folder).check_hashes()


def test_other_targets_hold_their_weights_anyhow(checkpoints, tmp_path):
    with pytest.raises(InputError, match="--self-contained is no option of the target onnx-cpu"):
        compile(checkpoints(VARIANT).folder, "onnx-cpu", tmp_path / "out", self_contained=True)
