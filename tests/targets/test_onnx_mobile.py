"""`onnx-mobile`: the ops of `onnx-cpu`, with a phone's defaults."""

import numpy as np
import pytest

from g4compile.bundle.folder import Bundle
from g4compile.compiler import compile
from g4compile.errors import InputError
from g4compile.planning.plan import plan
from g4compile.runtime.session import Session
from tests.conftest import once


@pytest.fixture
def mobile(shared, checkpoints):
    folder = checkpoints("tiny-e2b").folder
    return Bundle.open(
        once(
            shared,
            "tiny-e2b-onnx-mobile",
            lambda path: compile(folder, "onnx-mobile", path, modalities=("text",)) and None,
        )
    )


def test_it_has_the_mobile_layout_by_default(mobile, quantized):
    cpu = quantized("tiny-e2b", "mobile")
    assert (mobile.manifest.target, mobile.manifest.weights) == ("onnx-mobile", "mobile")
    assert mobile.manifest.files["weights.data"] == cpu.manifest.files["weights.data"]
    ids = [[5, 6, 7, 8]]
    np.testing.assert_array_equal(Session(mobile, 1).forward(ids), Session(cpu, 1).forward(ids))


def test_its_cache_can_be_bfloat16(g4ops, shared, checkpoints):
    """The library's kernels follow from it, and what runs is near float32 KV."""
    folder = checkpoints("tiny-e2b").folder
    made = {
        kv: Bundle.open(
            once(
                shared,
                f"tiny-e2b-onnx-mobile-{kv}",
                lambda path, kv=kv: compile(folder, "onnx-mobile", path, kv=kv, modalities=("text",)) and None,
            )
        )
        for kv in ("float32", "bfloat16")
    }
    manifest = made["bfloat16"].manifest
    assert (manifest.target, manifest.weights, manifest.kv.dtype) == ("onnx-mobile", "mobile", "bfloat16")
    assert {"bfloat16-kv", "ring-kv", "g4ops"} <= set(manifest.requires)
    wide, narrow = (Session(bundle, 1).forward([[5, 6, 7, 8]]) for bundle in made.values())
    assert 0 < np.abs(wide - narrow).max() < 0.1 * np.abs(wide).max()


def test_its_context_is_bounded():
    assert plan("e2b", "onnx-mobile").context == 4096
    assert plan("e2b", "onnx-mobile").weights == "mobile"
    assert plan("e2b", "onnx-mobile", context=8192).context == 8192


def test_a_compile_takes_the_bounded_context(checkpoints, mobile):
    assert mobile.manifest.context == min(4096, checkpoints("tiny-e2b").facts.text.max_positions)


def test_float32_weights_are_refused(checkpoints, tmp_path):
    with pytest.raises(InputError, match="takes no float32 weights"):
        compile(checkpoints("tiny-e2b"), "onnx-mobile", tmp_path / "out", weights="float32")
    with pytest.raises(InputError, match="takes no float32 weights"):
        plan("e2b", "onnx-mobile", weights="float32")
