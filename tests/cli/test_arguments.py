"""Arguments of every verb that are out of range, of another kind, empty or unknown: exit code 2 or 3, one message."""

import os

import pytest
from typer.testing import CliRunner

from g4compile.cli.app import VERBS, app

NOT_INTEGERS = ("nan", "inf", "1e400", "1.5", "", "x", "0x10", "9" * 5000)
NOT_COUNTS = (*NOT_INTEGERS, "-1", "0")
NOT_NUMBERS = ("nan", "", "x", "-1", "-inf", "1,5")
NOT_NAMES = ("", " ", "x", "../x", "é", "*", ",", "text,text", "a" * 5000)
HUGE = (str(2**31), str(2**63 - 1), str(2**63), str(2**64))
NOT_SIZES = ("nan", "inf", "1e400", "-5", "0", "", "x", "1 parsec", "9" * 5000)

# By verb: arguments that are right, and for each option what it refuses.
REFUSED = {
    "compile": {
        "--kernels": NOT_NAMES,
        "--package": NOT_NAMES,
        "--max-memory": NOT_SIZES,
        "--context": (*NOT_COUNTS, *HUGE),
        "--batch": NOT_INTEGERS,
        "--sm": ("x", "80,,89", "9", "-89", "nan", "9" * 5000, ","),
        "--kv": NOT_NAMES[2:],
        "--modalities": NOT_NAMES,
        "--weights": NOT_NAMES,
        "--target": NOT_NAMES,
    },
    "plan": {
        "--context": (*NOT_COUNTS, *HUGE),
        "--kv": NOT_NAMES[2:],
        "--weights": NOT_NAMES,
        "--kernels": NOT_NAMES,
        "--device": NOT_NAMES,
        "--target": NOT_NAMES,
    },
    "synth": {
        "--seed": (*NOT_INTEGERS, "-1"),
        "--dtype": NOT_NAMES,
        "--weights": NOT_NAMES,
        "--modalities": NOT_NAMES[1:],
        "--shard-size": NOT_SIZES,
    },
    "run": {
        "--ids": (*NOT_INTEGERS[:4], "x", "-1", "1,,2", ",", "1;2", *HUGE),
        "--max-new-tokens": NOT_COUNTS,
        "--temperature": NOT_NUMBERS,
        "--top-k": (*NOT_INTEGERS, "-1"),
        "--top-p": (*NOT_NUMBERS, "1.1"),
        "--seed": (*NOT_INTEGERS, "-1"),
        "--threads": (*NOT_INTEGERS, "-1"),
    },
    "bench": {
        "--prompt-tokens": (*NOT_COUNTS, *HUGE),
        "--new-tokens": (*NOT_COUNTS, *HUGE),
        "--repeats": (*NOT_COUNTS, *HUGE),
        "--threads": NOT_COUNTS,
    },
    "verify": {
        "--prompt-tokens": (*NOT_COUNTS, *HUGE),
        "--new-tokens": (*NOT_COUNTS, *HUGE),
        "--batch": (*NOT_COUNTS, *HUGE),
        "--seed": (*NOT_INTEGERS, "-1"),
        "--against": NOT_NAMES,
    },
    "inspect": {"--graph": NOT_NAMES[1:]},
    "embed": {"--platform": NOT_NAMES},
    "opt": {"--passes": (*NOT_NAMES, "{", "a{", "schedule-step{tokens=x}", "quantize-weights{recipe=/dev/zero}")},
    "doctor": {"--no-such-option": ("x",)},
}
PATHS = ("", "nowhere", "nowhere/x/y", "/", "/dev/null", "/dev/zero", "x" * 300, "y/" * 3000, "a\udcffb", "~")


@pytest.fixture(scope="module")
def right(bundles, checkpoints, tmp_path_factory):
    """Arguments of each verb that are right: its first, and the others."""
    bundle, checkpoint = bundles("tiny-31b").folder, checkpoints("tiny-31b").folder
    folder = tmp_path_factory.mktemp("out")
    graph = folder / "graph.onnxtxt"
    graph.write_text('<ir_version: 11, opset_import: ["" : 24]> g (float[1] x) => (float[1] y) { y = Tanh (x) }')
    return {
        "synth": ("tiny-31b", ["-o", folder / "checkpoint"]),
        "plan": ("tiny-31b", ["--target", "onnx-cpu"]),
        "compile": (checkpoint, ["--target", "onnx-cpu", "-o", folder / "bundle"]),
        "embed": (bundle, ["-o", folder / "app", "--platform", "ios"]),
        "inspect": (bundle, []),
        "run": (bundle, ["--ids", "2"]),
        "verify": (bundle, ["--against", checkpoint]),
        "bench": (bundle, []),
        "opt": (graph, ["-p", "canonicalize-dead-code"]),
        "doctor": ("", []),
    }


def refuse(verb, *arguments):
    """Run the verb, which must refuse its arguments; what it says of them."""
    result = CliRunner().invoke(app, [verb, *map(str, arguments)])
    said = f"{verb} {str(arguments)[:200]}: exit code {result.exit_code}\n{result.output}"
    assert result.exit_code in (2, 3), said
    messages = [line for line in result.stderr.splitlines() if line.lower().startswith("error: ")]
    assert len(messages) == 1 and "Traceback" not in result.output and not result.stdout, said
    return result.stderr


@pytest.mark.parametrize(("verb", "option"), [(verb, option) for verb in REFUSED for option in REFUSED[verb]])
def test_a_value_that_an_option_does_not_take(right, verb, option):
    first, others = right[verb]
    for value in REFUSED[verb][option]:
        refuse(verb, first, *others, option, value)


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "doctor"])
def test_a_path_that_holds_nothing_of_the_kind(right, verb):
    for path in PATHS:
        refuse(verb, path, *right[verb][1])


def test_every_verb_is_in_the_table():
    assert REFUSED.keys() == VERBS.keys()


def test_an_option_that_is_not_told_what_is_refused(right):
    assert "--checkpoint" in refuse("run", right["run"][0], "--ids", "2", "--checkpoint")
    assert "passes" in refuse("opt", right["opt"][0])


@pytest.mark.parametrize("size", ["1", "2 kB", "1.5GiB"])
def test_a_size_that_is_one(size):
    from g4compile.cli.arguments import parse_size

    assert parse_size(size) >= 1


def test_an_output_that_cannot_be_written(right, tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    for output in (file, file / "below", os.devnull, tmp_path / ("x" * 300)):
        assert refuse("synth", "tiny-31b", "-o", output)
    assert file.read_text() == "mine"
