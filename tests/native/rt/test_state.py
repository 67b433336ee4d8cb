"""States in files: what is restored goes on as the session did; no file that is not whole is taken; a kill leaves the
old file."""

import hashlib
import os
import random
import signal
import struct
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.native.rt.g4rt import Refused

RECIPES = [("tiny-e2b", "float32", "onnxruntime", "float32"), ("tiny-31b", "int4", "g4ops", "int8")]
PROMPT = list(range(5, 60))


@pytest.fixture(params=RECIPES, ids=lambda one: f"{one[0]}-{one[1]}")
def model(request, quantized, bundles, rt):
    variant, recipe, kernels, kv = request.param
    if kernels == "g4ops":
        request.getfixturevalue("g4ops")
    bundle = bundles(variant) if recipe == "float32" else quantized(variant, recipe, kernels, kv)
    with rt.open(bundle.folder) as opened:
        yield opened


def test_a_restored_session_goes_on(model, tmp_path):
    with model.session() as session, model.session() as other:
        session.prefill(PROMPT)
        session.save(tmp_path / "state")
        logits = session.logits
        expected = session.generate([7], 30)
        other.prefill([9, 9])  # a state that is replaced
        other.restore(tmp_path / "state")
        assert other.length == len(PROMPT)
        np.testing.assert_array_equal(other.logits, logits)
        assert other.generate([7], 30) == expected
        other.save(tmp_path / "state")  # over the old one
        session.restore(tmp_path / "state")
        assert session.length == other.length
        assert [file.name for file in tmp_path.iterdir()] == ["state"]


def test_empty_and_rewound_states(model, tmp_path):
    with model.session() as session, model.session() as other:
        session.save(tmp_path / "empty")
        other.prefill(PROMPT)
        other.restore(tmp_path / "empty")
        assert other.length == 0
        session.prefill(PROMPT)
        session.rewind(2)
        session.save(tmp_path / "rewound")
        other.restore(tmp_path / "rewound")
        assert other.length == len(PROMPT) - 2
        assert other.generate([7], 20) == session.generate([7], 20)


def fixed(data):
    """``data`` with the sum that belongs to it."""
    return data[:-32] + hashlib.sha256(data[:-32]).digest()


@pytest.fixture
def saved(model, tmp_path):
    with model.session() as session:
        session.prefill(PROMPT)
        session.save(tmp_path / "state")
        yield model, session, (tmp_path / "state").read_bytes(), tmp_path / "changed"


def test_files_that_were_changed_are_refused(saved):
    """Cut anywhere, a byte flipped anywhere, sums mended or not: a status, and the session as it was."""
    model, session, data, file = saved
    picked, header = random.Random(5), 64 + 16 * 40
    with model.session() as other:
        other.prefill([5, 6])
        for index in range(300):
            place = picked.randrange(len(data) if index % 2 else header)
            broken = bytearray(data)
            broken[place] ^= 1 << picked.randrange(8)
            if index % 5 == 0:
                broken = broken[:place]
            file.write_bytes(fixed(bytes(broken)) if index % 3 == 0 and len(broken) > 32 else bytes(broken))
            try:
                other.restore(file)
            except Refused as refused:
                assert refused.status in ("bad-bundle", "context-full"), refused
                assert other.length == 2
            else:  # numbers of keys and values that a mended sum vouches for, or logits: no size is wrong
                assert index % 3 == 0 and other.length == len(PROMPT)
                other.reset()
                other.prefill([5, 6])
    for kind, words in ((b"", "too short"), (data + b"x", "1 bytes more than")):
        file.write_bytes(kind)
        with pytest.raises(Refused, match=words):
            session.restore(file)


@pytest.mark.parametrize(
    ("offset", "kind", "value", "words"),
    [
        (0, "<8s", b"G4STATE\0", "does not begin as one"),
        (8, "<I", 2, "it has version 2"),
        (12, "<I", 1 << 31, "another number of tensors"),
        (16, "<Q", 0, "saved with another one"),
        (48, "<q", -1, "it says that it has -1 tokens"),
        (48, "<q", 1 << 40, "it says that it has"),
        (56, "<q", 1 << 60, "another vocabulary"),
        (64, "<q", 1 << 60, "holds 1152921504606846976 tokens"),
        (72, "<q", 1 << 60, "has 1152921504606846976 slots"),
        (72, "<q", -5, "has -5 slots"),
    ],
)
def test_sizes_that_lie_are_refused(saved, offset, kind, value, words):
    _, session, data, file = saved
    changed = bytearray(data)
    struct.pack_into(kind, changed, offset, value)
    file.write_bytes(fixed(bytes(changed)))
    with pytest.raises(Refused, match=words) as refused:
        session.restore(file)
    assert refused.value.status == "bad-bundle"
    assert session.length == len(PROMPT)


def test_larger_rings_than_the_graph_takes_are_refused(quantized, g4ops, rt, tmp_path):
    """Sums and sizes agree: only the graph would not run."""
    bundle, file = quantized("tiny-31b", "int4", "g4ops"), tmp_path / "state"
    layers = bundle.manifest.kv.layers
    ring = next(index for index, layer in enumerate(layers) if layer.slots)
    with rt.open(bundle.folder) as model, model.session() as session:
        session.save(file)
        data = bytearray(file.read_bytes())
        row = layers[ring].heads * layers[ring].head_dim * 4
        for part in (0, 1):
            struct.pack_into("<q", data, 64 + 16 * (2 * ring + part) + 8, layers[ring].slots + 1)
        file.write_bytes(fixed(bytes(data[:-32]) + b"\0" * (2 * row) + bytes(32)))
        with pytest.raises(Refused, match=f"has {layers[ring].slots + 1} slots") as refused:
            session.restore(file)
        assert refused.value.status == "bad-bundle"


def test_a_state_of_another_bundle_or_of_more_tokens_than_fit(bundles, rt, tmp_path):
    with rt.open(bundles("tiny-e2b").folder) as model, model.session() as session:
        session.prefill(PROMPT)
        session.save(tmp_path / "state")
    another = bundles("tiny-e4b").folder
    with rt.open(another) as model, model.session() as session, pytest.raises(Refused, match="saved with another one"):
        session.restore(tmp_path / "state")
    with rt.open(bundles("tiny-e2b").folder, capacity=32) as model, model.session() as session:
        with pytest.raises(Refused, match="this session may hold 32") as refused:
            session.restore(tmp_path / "state")
        assert refused.value.status == "context-full"


def test_what_cannot_be_written_or_read(bundles, rt, tmp_path):
    with rt.open(bundles("tiny-e2b").folder) as model, model.session() as session:
        session.prefill([5])
        os.mkfifo(tmp_path / "pipe")
        for path, status in (
            (tmp_path / "pipe", "bad-bundle"),
            (tmp_path, "bad-bundle"),
            (tmp_path / "nowhere", "bad-argument"),
        ):
            with pytest.raises(Refused) as refused:
                session.restore(path)
            assert refused.value.status == status
        for call in (session.restore, session.save):
            with pytest.raises(Refused, match="path is empty") as refused:
                call("")
            assert refused.value.status == "bad-argument"
        for path in (tmp_path / "nowhere" / "state", "/dev/full/state"):
            with pytest.raises(Refused, match="cannot be written") as refused:
                session.save(path)
            assert refused.value.status == "machine"


SAVES = """
import sys
from tests.native.rt.g4rt import G4rt
library, ops, bundle, state = sys.argv[1:]
with G4rt(library, ops).open(bundle) as model, model.session() as session:
    print("ready", flush=True)
    for token in range(5, 200):
        session.prefill([token] * 3)
        session.save(state)
"""


def test_a_kill_leaves_a_whole_file(bundles, rt, tmp_path):
    """SIGKILL at 12 moments of a process that saves and saves: what stands at the path is a whole state each time."""
    bundle, state, sizes = bundles("tiny-e2b"), tmp_path / "state", set()
    with rt.open(bundle.folder) as model, model.session() as session:
        for round in range(12):
            child = subprocess.Popen(
                [sys.executable, "-c", SAVES, str(rt.file), str(rt.ops), str(bundle.folder), str(state)],
                stdout=subprocess.PIPE,
            )
            assert child.stdout.readline() == b"ready\n"
            time.sleep(0.02 + 0.013 * round)
            child.send_signal(signal.SIGKILL)
            child.wait()
            if state.exists():
                session.restore(state)
                sizes.add(session.length)
    assert len(sizes) > 1 and all(size % 3 == 0 for size in sizes)
