"""Sessions of libg4rt give what Python's sessions give: tokens, logits, and the state that a call leaves."""

import ctypes
import os
import threading

import numpy as np
import pytest

from g4compile.runtime.session import Session
from tests.conftest import VARIANTS
from tests.manifests import linked, replace
from tests.native.building import build_once
from tests.native.rt.g4rt import ON_TOKEN, G4rt, Refused
from tests.scenario import window_of

RECIPES = ("float32", "int8", "int4", "int2", "mobile", "exact")
KV = ("float32", "int8", "bfloat16")
# By default: each variant, each recipe, each dtype of KV, both kinds of kernels; every night all.
CHOSEN = {
    ("tiny-e2b", "mobile", "g4ops", "float32"),
    ("tiny-e2b", "int4", "onnxruntime", "float32"),
    ("tiny-e4b", "int4", "g4ops", "int8"),
    ("tiny-12b", "int8", "g4ops", "bfloat16"),
    ("tiny-26b-a4b", "exact", "g4ops", "float32"),
    ("tiny-31b", "int2", "onnxruntime", "int8"),
    ("tiny-31b", "float32", "onnxruntime", "float32"),
}
CASES = [
    pytest.param(*case, marks=() if case in CHOSEN else pytest.mark.nightly)
    for variant in VARIANTS
    for recipe in RECIPES
    for kernels in ("onnxruntime", "g4ops")
    for kv in KV
    if (case := (variant, recipe, kernels, kv)) and (kv != "bfloat16" or kernels == "g4ops")
    if recipe != "float32" or kernels == "onnxruntime"
]


@pytest.fixture
def bundle_of(quantized, bundles, request):
    def get(variant, recipe, kernels, kv):
        if kernels == "g4ops":
            request.getfixturevalue("g4ops")
        return bundles(variant) if (recipe, kv) == ("float32", "float32") else quantized(variant, recipe, kernels, kv)

    return get


def prompt_of(checkpoint, seed=1):
    """Longer than two windows, so that sliding layers have given up what they saw first."""
    text = checkpoint.facts.text
    return np.random.default_rng(seed).integers(3, text.vocab_size, 2 * window_of(checkpoint) + 3).tolist()


@pytest.mark.parametrize(("variant", "recipe", "kernels", "kv"), CASES)
def test_tokens_are_those_of_python(variant, recipe, kernels, kv, bundle_of, checkpoints, rt):
    """200 tokens, greedy and drawn."""
    bundle, prompt = bundle_of(variant, recipe, kernels, kv), prompt_of(checkpoints(variant))
    python = Session(bundle, threads=1)
    with rt.open(bundle.folder) as model, model.session() as session:
        for settings in (
            {},
            {"temperature": 0.9, "top_k": 40, "top_p": 0.95, "seed": 11},
            {"temperature": 1.5, "seed": 2},
        ):
            python.reset()
            session.reset()
            expected = list(python.generate(prompt, max_new_tokens=200, **settings))
            assert session.generate(prompt, 200, **settings) == expected
            assert session.length == python.length
            assert session.memory.kv_bytes == python.kv_bytes


@pytest.fixture
def opened(bundles, rt):
    """A model of tiny-e2b, and Python's session of the same bundle."""
    bundle = bundles("tiny-e2b")
    with rt.open(bundle.folder) as model:
        yield model, Session(bundle, threads=1)


def test_logits_of_pieces_and_behind_a_rewind(opened):
    """The same bits as Python's, whatever the pieces of the prompt; a rewind that caches allow, and one they do not."""
    model, python = opened
    ids = np.random.default_rng(3).integers(3, 500, 60).tolist()
    with model.session() as session:
        for piece in (ids[:1], ids[1:40], ids[40:]):
            session.prefill(piece)
            np.testing.assert_array_equal(session.logits, python.forward(piece)[0])
        session.decode(9)
        np.testing.assert_array_equal(session.logits, python.forward([9])[0])
        rewind = python.bundle.manifest.kv.rewind
        session.rewind(rewind)
        python.rewind(rewind)
        with pytest.raises(Refused, match="there are no logits"):
            _ = session.logits
        session.prefill([5, 6])
        np.testing.assert_array_equal(session.logits, python.forward([5, 6])[0])
        session.rewind(2)
        with pytest.raises(Refused, match=f"sliding layers hold {rewind} more") as refused:
            session.rewind(rewind)
        assert refused.value.status == "bad-argument"


def test_a_context_is_filled_and_not_exceeded(opened, rt):
    model, python = opened
    context = model.facts.context
    with rt.open(python.bundle.folder, capacity=64) as small, small.session() as session:
        session.prefill(list(range(5, 65)))
        with pytest.raises(Refused, match="beyond what this session may hold, 64") as refused:
            session.prefill([1, 2, 3, 4, 5])
        assert (refused.value.status, session.length) == ("context-full", 60)
        assert len(session.generate([7], 100)) == 4  # the prompt's logits, and three tokens more that fit
        assert session.length == 64
    with pytest.raises(Refused, match=f"not from 0 to the context of this bundle, {context}"):
        rt.open(python.bundle.folder, capacity=context + 1)


def test_sessions_of_one_model_go_on_beside_each_other(opened, g4ops):
    """Four threads, each with a session; and one session from two threads is refused, not mixed up."""
    model, python = opened
    expected = list(python.generate([2, 5, 9, 11], max_new_tokens=60))
    found = {}

    def answer(number):
        with model.session() as session:
            found[number] = session.generate([2, 5, 9, 11], 60)

    threads = [threading.Thread(target=answer, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == dict.fromkeys(range(4), expected)


def test_a_session_takes_one_call_at_a_time(opened):
    model, _ = opened
    with model.session() as session:
        seen = []

        def stop(token):
            with pytest.raises(Refused) as refused:
                session.prefill([5])
            seen.append(refused.value.status)
            assert session.length == 0  # of a session that is in a call
            session.cancel()

        with pytest.raises(Refused) as refused:
            during(session, [2, 5], stop)
        assert (refused.value.status, seen) == ("cancelled", ["busy"])
        assert session.length == 2  # the state behind the token that was given


def during(session, ids, call):
    """Generate, and ``call`` with each token."""

    def take(user, token, text, size):
        call(token)
        return 0

    prompt = session._prompt(ids, ())
    session.call("g4rt_session_generate", *prompt, None, ctypes.c_size_t(10), ON_TOKEN(take), None, None)


def test_a_callback_ends_an_answer(opened):
    model, python = opened
    expected = list(python.generate([2, 5, 9], max_new_tokens=10))
    with model.session() as session:
        with pytest.raises(Refused, match="the callback ended the answer"):
            session.generate([2, 5, 9], 10, stop_after=4)
        assert session.generated == expected[:4]
        assert session.length == 3 + 3


def test_an_answer_that_fails_leaves_no_logits(bundles, rt, tmp_path):
    """Damaged weights, which nothing compares with their hash: no token can be chosen, and the session is as it was."""
    folder = linked(bundles("tiny-e2b").folder, tmp_path / "bundle")
    size = (folder / "weights.data").stat().st_size
    replace(folder / "weights.data", b"\xff" * size)  # NaN
    with rt.open(folder) as model, model.session() as session:
        with pytest.raises(Refused, match="the greatest logit is not finite") as refused:
            session.generate([2, 5], 5)
        assert (refused.value.status, session.length) == ("bad-bundle", 0)
        with pytest.raises(Refused, match="there are no logits"):
            _ = session.logits


def test_a_call_that_is_cancelled_half_way_leaves_the_logits(opened):
    """Cancelled at many moments of a prompt of several runs: tokens and logits are those before."""
    model, _ = opened
    ids = np.random.default_rng(8).integers(3, 500, 1000).tolist()
    cancelled = 0
    with model.session() as session:
        session.prefill([5, 6, 7])
        before = session.logits
        for delay in (0.0, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.06) * 2:
            timer = threading.Timer(delay, session.cancel)
            timer.start()
            try:
                session.prefill(ids)
            except Refused as refused:
                assert refused.status == "cancelled"
                cancelled += 1
            else:
                session.reset()
                session.prefill([5, 6, 7])
            timer.join()
            assert session.length == 3
            np.testing.assert_array_equal(session.logits, before)
    assert cancelled


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"temperature": 1e-9}, "temperature"),
        ({"top_k": -1}, "top_k"),
        ({"top_p": 1.5}, "top_p"),
        ({"top_p": float("nan")}, "top_p"),
    ],
)
def test_settings_out_of_range_are_refused(rt, settings, words):
    with pytest.raises(Refused, match=words) as refused:
        rt.sampler(**settings)
    assert refused.value.status == "bad-argument"


@pytest.mark.parametrize("ids", [[], [-1], [1 << 30], [5, 1024]])
def test_ids_that_are_none_are_refused(opened, ids):
    model, _ = opened
    with model.session() as session:
        with pytest.raises(Refused, match="token id") as refused:
            session.prefill(ids)
        assert (refused.value.status, session.length) == ("bad-argument", 0)


def test_weights_are_mapped_once_for_all_sessions(quantized, g4ops, rt):
    """Anonymous memory of a second session is that of its keys and values."""
    bundle = quantized("tiny-31b", "int4", "g4ops")
    with rt.open(bundle.folder) as model, model.session() as first, model.session() as second:
        first.prefill([5, 6, 7])
        before = first.memory.anonymous_bytes
        second.prefill([5, 6, 7])
        grown = second.memory.anonymous_bytes - before
        assert grown < second.memory.kv_bytes + (1 << 21)
        assert first.memory.weight_bytes == bundle.manifest.files["weights.data"].bytes


def spoil_unseen(file):
    """Another content of the same size, and the time at which it was written before."""
    found = file.stat()
    with file.open("r+b") as opened:
        opened.write(b"\0" * found.st_size)
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))


def test_a_cache_of_rearranged_weights(quantized, rt, tmp_path):
    """Made once, then mapped; damaged, it is made again; what is not ours stays."""
    bundle, cache = quantized("tiny-e2b", "int4", "onnxruntime"), tmp_path / "cache"
    expected = list(Session(bundle, threads=1).generate([2, 5, 9], max_new_tokens=20))

    def answer():
        with rt.open(bundle.folder, cache=cache) as model, model.session() as session:
            return session.generate([2, 5, 9], 20)

    assert answer() == expected
    (entry,) = cache.iterdir()
    (cache / "own.txt").write_text("mine")
    header = entry / "g4rt-prepacked.txt"
    made = header.stat().st_mtime_ns
    assert answer() == expected
    assert header.stat().st_mtime_ns == made
    (entry / "decoder.onnx").write_bytes(b"damaged")
    assert answer() == expected
    assert header.stat().st_mtime_ns != made
    assert (cache / "own.txt").read_text() == "mine"
    weights = entry / "weights.data"
    assert weights.stat().st_mode & 0o777 == 0o600
    for spoil in (lambda: spoil_unseen(weights), lambda: weights.chmod(0o660), lambda: entry.chmod(0o777)):
        made = header.stat().st_mtime_ns
        spoil()
        assert answer() == expected
        assert header.stat().st_mtime_ns != made
    weights.unlink()
    (entry / "foreign").write_text("mine")
    with pytest.raises(Refused, match="has files that libg4rt did not write: delete it") as refused:
        answer()
    assert refused.value.status == "machine"
    assert [file.name for file in entry.iterdir()] == ["foreign"]
    assert {file.name for file in cache.iterdir()} == {"own.txt", entry.name}
    cache.chmod(0o777)
    with pytest.raises(Refused, match="of this user alone") as refused:
        answer()
    assert refused.value.status == "bad-argument"


def test_a_cache_is_filled_by_one_of_many(quantized, rt, tmp_path):
    """Eight threads open a bundle with a cache that is empty, or damaged: none meets what another one deletes."""
    bundle, cache = quantized("tiny-e2b", "int4", "onnxruntime"), tmp_path / "cache"
    failed = []

    def opening():
        try:
            rt.open(bundle.folder, cache=cache).close()
        except Refused as refused:
            failed.append(refused)

    for _ in range(4):
        threads = [threading.Thread(target=opening) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (entry,) = cache.iterdir()
        (entry / "decoder.onnx").write_bytes(b"damaged")
    assert not failed


def test_what_a_kill_left_in_a_cache_is_deleted(quantized, rt, tmp_path):
    left = tmp_path / "cache" / ".g4rt-filling-5"
    left.mkdir(parents=True, mode=0o700)
    left.parent.chmod(0o700)
    (left / "weights.data").write_bytes(b"half")
    rt.open(quantized("tiny-e2b", "int4", "onnxruntime").folder, cache=left.parent).close()
    assert [entry.name[:5] for entry in left.parent.iterdir()] == ["g4rt-"]


def test_the_library_that_is_named_is_the_one(bundles, rt, tmp_path):
    folder = bundles("tiny-e2b").folder
    with pytest.raises(Refused, match=r"(?s)libonnxruntime.so cannot be loaded.*nowhere.so") as refused:
        rt.open(folder, onnxruntime=tmp_path / "nowhere.so")
    assert refused.value.status == "machine"


@pytest.mark.nightly
def test_the_ops_may_be_linked_in(quantized, g4ops, shared):
    """As where there are no shared libraries: no libg4ops is loaded, and none is there."""
    library = build_once(shared, "rt-linked", ("g4rt",), G4RT_LINKED_OPS="ON") / "libg4rt.so"
    bundle = quantized("tiny-31b", "int4", "g4ops")
    expected = list(Session(bundle, threads=1).generate([2, 5, 9], max_new_tokens=40))
    with G4rt(library, ops="/nowhere/libg4ops.so").open(bundle.folder) as model, model.session() as session:
        assert session.generate([2, 5, 9], 40) == expected


def test_models_open_and_close_in_any_order(bundles, rt):
    """Sessions and media outlive the handle of their model; two models share what they have of ONNX Runtime."""
    folder = bundles("tiny-e2b").folder
    first, second = rt.open(folder), rt.open(folder)
    session = first.session()
    first.close()
    other = second.session()
    expected = other.generate([2, 5, 9], 10)
    second.close()
    assert session.generate([2, 5, 9], 10) == expected
    other.close()
    with rt.open(folder) as third, third.session() as last:
        assert last.generate([2, 5, 9], 10) == expected
    session.close()


def test_a_token_that_cannot_be_chosen_is_not_there(opened):
    model, _ = opened
    with model.session() as session:
        session.prefill([2, 5, 9])
        before = session.logits
        with pytest.raises(Refused, match="temperature"):
            session.generate([7], 5, temperature=-1.0)
        assert session.length == 3
        np.testing.assert_array_equal(session.logits, before)
