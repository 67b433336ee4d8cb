"""Choosing tokens: greedy, temperature, top-k, top-p, seeds; the tokens that `docs/sampling.md` promises."""

import math
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from g4compile.errors import BundleError, InputError
from g4compile.runtime.random_numbers import exp, philox, uniform
from g4compile.runtime.sampling import Sampling, _likeliest_first

LOGITS = np.log(np.array([0.05, 0.5, 0.15, 0.3], np.float32))


def counts(draws=4000, **options):
    sampling = Sampling(seed=1, **options)
    return np.bincount([sampling.choose(LOGITS) for _ in range(draws)], minlength=4) / draws


def test_zero_temperature_is_greedy():
    assert counts(50, temperature=0.0).tolist() == [0, 1, 0, 0]


def test_temperature_one_draws_from_the_distribution():
    np.testing.assert_allclose(counts(temperature=1.0), np.exp(LOGITS), atol=0.03)


def test_low_temperature_sharpens():
    want = np.exp(LOGITS) ** 2
    np.testing.assert_allclose(counts(temperature=0.5), want / want.sum(), atol=0.03)


def test_top_k_keeps_the_k_likeliest_and_renormalises():
    np.testing.assert_allclose(counts(temperature=1.0, top_k=2), [0, 5 / 8, 0, 3 / 8], atol=0.03)


@pytest.mark.parametrize(("top_p", "kept"), [(0.4, [1]), (0.6, [1, 3]), (0.9, [1, 2, 3]), (1.0, [0, 1, 2, 3])])
def test_top_p_keeps_the_smallest_set_that_reaches_p(top_p, kept):
    assert np.flatnonzero(counts(temperature=1.0, top_p=top_p)).tolist() == kept


def test_a_seed_repeats_the_draws():
    first, second = (Sampling(1.0, seed=3) for _ in range(2))
    assert [first.choose(LOGITS) for _ in range(30)] == [second.choose(LOGITS) for _ in range(30)]
    assert [first.choose(LOGITS) for _ in range(30)] != [Sampling(1.0, seed=4).choose(LOGITS) for _ in range(30)]


@pytest.mark.parametrize("top_p", [1.0, 0.95, 0.5])
@pytest.mark.parametrize(("temperature", "spread"), [(1.0, 8.0), (0.3, 3.0), (1.0, 1.0), (2.0, 0.1), (1e-5, 3.0)])
def test_draws_from_all_tokens_are_the_same_with_the_likeliest_known(temperature, spread, top_p, monkeypatch):
    """Peaked or flat; and where they are peaked, few draws put all tokens in order."""
    random, sorted_all = np.random.default_rng(3), []
    plain, knowing = (Sampling(temperature, top_p=top_p, seed=9) for _ in range(2))
    choose = Sampling.choose
    monkeypatch.setattr(Sampling, "choose", lambda self, logits: sorted_all.append(1) or choose(self, logits))
    for _ in range(200):
        logits = (spread * random.standard_normal(3000)).astype(np.float32)
        top = np.argpartition(-logits, 64)[:64]
        assert knowing.choose_knowing(logits, logits[top], top) == choose(plain, logits)
    assert knowing.draws == plain.draws == 200
    assert len(sorted_all) < 10 or temperature / spread > 0.2


def test_draws_among_ties_at_the_end_of_those_that_are_known():
    """Which of equal ones a device lists is its own choice; the vocabulary's order decides."""
    plain, knowing = (Sampling(1.0, seed=2) for _ in range(2))
    for _ in range(100):
        logits = np.repeat(np.float32([3, 1]), [4, 60])
        top = np.r_[3, 2, 1, 0, 60:64]
        assert knowing.choose_knowing(logits, logits[top], top) == plain.choose(logits)


def test_no_number_among_all_logits_is_seen_behind_the_likeliest():
    logits = np.array([1, 5, np.nan, 0], np.float32)
    with pytest.raises(BundleError, match="gave nan"):
        Sampling(1.0, seed=1).choose_knowing(logits, logits[:2], np.array([0, 1]))


@pytest.mark.parametrize(
    "options", [{}, {"temperature": 0.7, "top_k": 3}, {"temperature": 1.0, "top_k": 5, "top_p": 0.8}]
)
def test_the_likeliest_tokens_decide_as_all_do(options):
    """In whatever order they come; ties among them are the vocabulary's first."""
    random = np.random.default_rng(0)
    all_of_them, few = (Sampling(seed=5, **options) for _ in range(2))
    assert few.enough(8)
    for _ in range(50):
        logits = random.integers(0, 6, 40).astype(np.float32)
        likeliest = random.permutation(np.argsort(-logits, kind="stable")[:8])
        assert few.choose_among(logits[likeliest], likeliest) == all_of_them.choose(logits)


@pytest.mark.parametrize(
    ("options", "enough"), [({}, True), ({"top_k": 9}, False), ({"top_k": 0}, False), ({"top_k": 8}, True)]
)
def test_when_the_likeliest_are_enough(options, enough):
    assert Sampling(temperature=1.0 if options else 0.0, **options).enough(8) == enough


IMPOSSIBLE = {
    "temperature": [-1.0, math.nan, math.inf, 1e-320, 9e-6, 10**400, True, "1", None, 1j],
    "top_k": [-1, 1.5, True, 2**31, "1", None, np.float32(2)],
    "top_p": [0.0, 1.5, math.nan, -0.5, 1e-320, True, "1", None],
    "seed": [-1, 2**64, 1.5, True, "1", 10**5000],
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_impossible_settings_are_refused(name):
    """The error says which, what it is, and what it may be."""
    for value in IMPOSSIBLE[name]:
        with pytest.raises(InputError, match=rf"(?s){name} is .*{name} is (an integer|a number|0, or a number)"):
            Sampling(**{name: value})


def test_numbers_of_numpy_are_numbers():
    options = {
        "temperature": np.float32(0.5),
        "top_k": np.int64(3),
        "top_p": np.float64(0.9),
        "seed": np.uint64(2**64 - 1),
    }
    given = Sampling(**options)
    same = Sampling(0.5, 3, 0.9, 2**64 - 1)
    assert [given.choose(LOGITS) for _ in range(20)] == [same.choose(LOGITS) for _ in range(20)]


PAGE = np.array([((i * 7919) % 997) / 50 - 10 for i in range(997)], np.float32)  # the logits of the page's vectors


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((2**32 - 1,) * 4, (2**32 - 1,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_gives_the_vectors_of_its_authors(counter, key, words):
    """`kat_vectors` of Random123."""
    assert " ".join(f"{word:08x}" for word in philox(counter, key)) == words


def test_uniform_numbers():
    assert [uniform(0, draw).hex() for draw in range(3)] == [
        "0x1.c2d38b1acc4fdp-1",
        "0x1.72c8036fe3932p-2",
        "0x1.471cca9813ea8p-2",
    ]
    assert uniform(2**64 - 1, 2**40).hex() == "0x1.cf0a1b368e051p-1"
    drawn = [uniform(9, draw) for draw in range(20_000)]
    assert min(drawn) >= 0 and max(drawn) < 1
    np.testing.assert_allclose(np.histogram(drawn, 10, (0, 1))[0] / 2000, 1, atol=0.1)


def test_exp_is_the_written_one_bit_for_bit():
    """Against single Python floats, which are never fused, and near the mathematical value."""

    def written(x):
        if x < -700:
            return 0.0
        n = math.floor(x * float.fromhex("0x1.71547652b82fep+0") + 0.5)
        r = (x - n * float.fromhex("0x1.62e42feep-1")) - n * float.fromhex("0x1.a39ef35793c76p-33")
        p = 1 / math.factorial(13)
        for i in range(12, -1, -1):
            p = p * r + 1 / math.factorial(i)
        return math.ldexp(p, n)

    random = np.random.default_rng(0)
    values = np.concatenate([-random.random(3000) * 720, -random.random(3000) * 3, [0.0, -0.0, -700.0, -math.inf]])
    found = exp(values)
    assert found.tolist() == [written(x) for x in values]
    np.testing.assert_allclose(found[values >= -700], np.exp(values[values >= -700]), rtol=3e-16)
    vectors = {-0.5: "0x1.368b2fc6f960ap-1", -1.0: "0x1.78b56362cef38p-2", -10.0: "0x1.7cd79b5647c9ap-15"}
    assert {x: exp(np.array([x]))[0].hex() for x in vectors} == vectors


@pytest.mark.parametrize(
    ("options", "seed", "tokens"),
    [
        ({"temperature": 1.0}, 0, [754, 805, 700, 945, 106, 70, 911, 105]),
        ({"temperature": 1.0}, 2**64 - 1, [175, 630, 18, 36, 701, 264, 595, 491]),
        ({"temperature": 0.7, "top_k": 40, "top_p": 0.9}, 42, [455, 280, 665, 665, 910, 280, 770, 385]),
        ({"temperature": 1.5, "top_p": 0.5}, 0, [543, 525, 490, 630, 123, 70, 368, 70]),
    ],
)
def test_tokens_of_the_page(options, seed, tokens):
    sampling = Sampling(seed=seed, **options)
    assert [sampling.choose(PAGE) for _ in tokens] == tokens


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The page's sampling in C++."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    out = tmp_path_factory.mktemp("sampling") / "sampling"
    source = Path(__file__).with_name("sampling.cc")
    subprocess.run([compiler, "-O2", "-march=native", "-ffp-contract=off", "-std=c++17", source, "-o", out], check=True)
    return out


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 1.0},
        {"temperature": 0.7, "top_k": 40, "top_p": 0.9},
        {"temperature": 1.9, "top_p": 0.99},
        {"temperature": 1e-3},
    ],
)
def test_cpp_draws_the_same_tokens(program, options):
    random = np.random.default_rng(1)
    for seed, logits in ((7, random.normal(0, 4, 20_000)), (2**63, random.integers(-9, 9, 5000))):
        values = np.asarray(logits, np.float32)
        given = [options["temperature"], options.get("top_k", 0), options.get("top_p", 1.0), seed, 200]
        done = subprocess.run([program, *map(str, given)], input=values.tobytes(), capture_output=True, check=True)
        sampling = Sampling(seed=seed, **options)
        assert [int(line) for line in done.stdout.split()] == [sampling.choose(values) for _ in range(200)]


def test_no_seed_is_another_one_each_time():
    first, second = (Sampling(1.0) for _ in range(2))
    assert [first.choose(PAGE) for _ in range(8)] != [second.choose(PAGE) for _ in range(8)]


def test_greedy_draws_nothing():
    sampling = Sampling(seed=1)
    sampling.choose(PAGE)
    assert sampling.draws == 0


def test_ties_and_zeros_of_both_signs_go_to_the_lowest_token():
    logits = np.array([-0.0, 0.0, -1.0, 0.0], np.float32)
    sampling = Sampling(1.0, top_k=2, seed=0)
    assert {sampling.choose(logits) for _ in range(60)} == {0, 1}


def test_impossible_logits_have_no_chance():
    logits = np.array([-np.inf, 1.0, -np.inf, 0.5], np.float32)
    assert {Sampling(1e-5, seed=3).choose(logits), Sampling(5.0, seed=3).choose(logits)} <= {1, 3}


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("logits", [[1.0, np.nan, 2.0], [1.0, -np.nan, 2.0], [1.0, np.inf, 2.0], [-np.inf, -np.inf]])
def test_logits_that_are_no_numbers_are_said(logits, temperature):
    values = np.array(logits, np.float32)
    with pytest.raises(BundleError, match="greatest logit"):
        Sampling(temperature, seed=1).choose(values)
    with pytest.raises(BundleError, match="greatest logit"):
        Sampling(temperature, top_k=1, seed=1).choose_among(values, np.arange(len(values)))


@pytest.mark.parametrize("count", [1, 7, 40, 199])
@pytest.mark.parametrize("kind", ["spread", "ties", "rising", "equal", "impossible", "zeros"])
def test_what_is_left_out_beforehand_changes_nothing(kind, count):
    """Of a large vocabulary; the order is that of all: the greatest first, of equal ones the lowest token."""
    random, size = np.random.default_rng(count), 60_001
    logits = {
        "spread": lambda: random.standard_normal(size),
        "ties": lambda: random.integers(0, 9, size),
        "rising": lambda: np.arange(size),
        "equal": lambda: np.full(size, 3.5),
        "impossible": lambda: np.where(random.random(size) < 0.999, -np.inf, random.standard_normal(size)),
        "zeros": lambda: np.where(random.random(size) < 0.5, -0.0, 0.0),
    }[kind]().astype(np.float32)
    found, tokens = _likeliest_first(logits, np.arange(size), count)
    expected = np.lexsort((np.arange(size), -logits))[:count]
    np.testing.assert_array_equal(tokens, expected)
    np.testing.assert_array_equal(found, logits[expected])
