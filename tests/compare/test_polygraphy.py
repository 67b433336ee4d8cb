"""`polygraphy run` with our runners: the judge, an ONNX bundle and an engine bundle's networks, by the same tokens."""

from __future__ import annotations

import contextlib
import io

import pytest

from g4compile.compiler import compile

pytest.importorskip("polygraphy", reason="polygraphy is not installed: pip install 'g4compile[polygraphy]'")
VARIANT = "tiny-e2b"
INPUTS = ["--input-shapes", "input_ids:[1,20]", "--val-range", "input_ids:[0,1023]"]


def polygraphy(*arguments):
    """Its own main, in this process: a process for each case would load torch each time. Exit status, and all that
    it said."""
    from polygraphy.tools import main

    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            status = main(["run", *map(str, arguments)])
        except SystemExit as end:  # the parser of arguments
            status = end.code
    return status, said.getvalue()


def test_backends_are_compared_with_the_judge(trt, checkpoints, bundles, engine_bundle):
    where = ["--g4-bundle", bundles(VARIANT).folder, "--g4-engines", engine_bundle.folder]
    runners = ["--g4-hf", "--g4-session", "--g4-network"]
    code, said = polygraphy(checkpoints(VARIANT).folder, *runners, *where, *INPUTS, "--atol", "1e-3", "--rtol", "0")
    assert code == 0, said
    assert said.count("Pass Rate: 100.00%") == 2


def test_the_judge_holds_what_codes_stand_for(trt, checkpoints, tmp_path):
    folder, coded = checkpoints(VARIANT).folder, tmp_path / "fp8"
    compile(folder, "tensorrt-rtx", coded, weights="fp8", context=128, chunk=16, compute_capabilities=(89,))
    runners = ["--g4-hf", "--g4-network", "--g4-engines", coded, *INPUTS, "--atol", "1e-3", "--rtol", "0"]
    code, said = polygraphy(folder, *runners, "--g4-weights-of", coded)
    assert code == 0, said
    assert polygraphy(folder, *runners)[0] != 0


def test_a_difference_is_seen(trt, checkpoints, engine_bundle):
    where = ["--g4-engines", engine_bundle.folder, *INPUTS, "--atol", "1e-6", "--rtol", "0"]
    code, said = polygraphy(checkpoints(VARIANT).folder, "--g4-hf", "--g4-rounded-network", *where)
    assert code != 0 and "Mismatched outputs: ['logits']" in said


def test_a_missing_folder_is_named(checkpoints):
    code, said = polygraphy(checkpoints(VARIANT).folder, "--g4-session", *INPUTS)
    assert code != 0 and "--g4-session runs what --g4-bundle names" in said and "Traceback" not in said


def test_an_engine_without_a_gpu_says_so(trt, checkpoints, engine_bundle):
    where = ["--g4-engines", engine_bundle.folder, *INPUTS]
    code, said = polygraphy(checkpoints(VARIANT).folder, "--g4-engine", *where)
    assert code != 0 and "cuda-python" in said and "Traceback" not in said


@pytest.mark.parametrize("runner", ["--g4-hf", "--g4-session"])
def test_ids_that_the_model_does_not_have_are_named(checkpoints, bundles, runner):
    where = ["--g4-bundle", bundles(VARIANT).folder, "--input-shapes", "input_ids:[1,4]"]
    code, said = polygraphy(checkpoints(VARIANT).folder, runner, *where, "--val-range", "input_ids:[1000000,1000001]")
    assert code != 0 and "out of range" in said and "Traceback" not in said
