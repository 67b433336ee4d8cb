"""What editions of TensorRT take: options, GPUs, releases, and what a machine must have for them."""

from __future__ import annotations

import importlib.util
import warnings
from types import SimpleNamespace

import pytest

from g4compile.compiler import compile
from g4compile.errors import InputError, MachineError
from g4compile.model.config import load_config, model_facts
from g4compile.targets.tensorrt.edition import FULL, MOST_DENSE, RTX
from g4compile.targets.tensorrt.gpu import architecture_of
from g4compile.targets.tensorrt.options import EngineOptions
from g4compile.targets.tensorrt.steps import Capacities

SEEING = ("text", "image")


def facts_of(preset):
    return model_facts(load_config(preset), where=preset)


def options(**changes):
    given = {"weights": "bfloat16", "kv": "bfloat16", "context": 256, "compute_capabilities": (89,), **changes}
    return EngineOptions(**given)


@pytest.mark.parametrize(
    ("preset", "changes", "message"),
    [
        ("tiny-e2b", {"compute_capabilities": ()}, "must know which GPUs"),
        ("tiny-e2b", {"compute_capabilities": (90,)}, "builds nothing for sm90"),
        ("tiny-e2b", {"compute_capabilities": (75,)}, "builds nothing for sm75"),
        ("tiny-e2b", {"compute_capabilities": (89, 89)}, "names a GPU twice"),
        ("tiny-e2b", {"compute_capabilities": (80, 89), "weights": "fp8"}, "sm80 has no products of 8-bit floats"),
        ("tiny-e2b", {"chunk": 96}, "do not divide a ring"),
        ("tiny-e2b", {"chunk": 8}, "do not divide a ring"),
        ("tiny-e2b", {"batch": 0}, "a batch of 0"),
        ("tiny-26b-a4b", {"chunk": 2 * MOST_DENSE, "context": 8192}, "too long for this model"),
        ("tiny-31b", {"context": 64}, "a context of 64 tokens does not hold a chunk of 128"),
        ("tiny-31b", {"attention": "paged"}, "there is no attention paged"),
        ("tiny-31b", {"chunk": 64, "modalities": SEEING}, "chunks of 64 tokens hold no image"),
        ("tiny-e2b", {"tensor_parallel": 2, "modalities": SEEING}, "images are not compiled for 2 ranks"),
        ("tiny-e2b", {"tensor_parallel": 2, "modalities": ("text", "audio")}, "sounds are not compiled for 2 ranks"),
    ],
)
def test_rtx_refuses(trt, preset, changes, message):
    with pytest.raises(InputError, match=message):
        RTX.check(facts_of(preset), options(**changes))


@pytest.mark.parametrize(
    ("context", "fix"), [(100, "--chunk 64, or --context 128 or more"), (15, "--context 128 or more")]
)
def test_a_context_below_a_chunk_names_what_fits(context, fix, trt):
    with pytest.raises(InputError) as error:
        RTX.check(facts_of("tiny-e2b"), options(context=context))
    assert error.value.fix == fix
    RTX.check(facts_of("tiny-e2b"), options(context=100, chunk=64))


def test_a_context_has_no_limit_of_a_fused_layer(trt):
    """Layers that hold more are attended by products."""
    for preset in ("tiny-31b", "31b"):
        RTX.check(facts_of(preset), options(context=262_144, chunk=512, modalities=SEEING))


def test_full_tensorrt_wants_no_gpu_list_a_library_and_a_gpu(monkeypatch):
    with pytest.raises(InputError, match="for the GPU of this machine alone"):
        FULL.check(facts_of("tiny-e2b"), options())
    with pytest.raises(MachineError, match="TensorRT is not installed") as missing:
        FULL.check(facts_of("tiny-e2b"), options(compute_capabilities=()))
    assert "pip install 'g4compile[tensorrt]'" in str(missing.value)
    monkeypatch.setattr(type(FULL), "load", lambda self: None)
    monkeypatch.setattr("g4compile.targets.tensorrt.edition.gpu_capability", lambda: None)
    with pytest.raises(MachineError, match="there is none here"):
        FULL.check(facts_of("tiny-e2b"), options(compute_capabilities=()))


def test_full_tensorrt_looks_at_the_gpu_at_hand(monkeypatch):
    monkeypatch.setattr(type(FULL), "load", lambda self: None)
    monkeypatch.setattr("g4compile.targets.tensorrt.edition.gpu_capability", lambda: 80)
    FULL.check(facts_of("tiny-e2b"), options(compute_capabilities=()))


def test_full_tensorrt_offers_no_8_bit_floats(checkpoints, tmp_path):
    with pytest.raises(InputError, match="tensorrt takes no fp8 weights") as error:
        compile(checkpoints("tiny-e2b").folder, "tensorrt", tmp_path / "out", weights="fp8")
    assert "not measured" in error.value.why and "TensorRT-RTX has them" in error.value.why


@pytest.mark.parametrize("version", ["10.16.1.11", "10.9.0", "11.0.0.114"])
def test_releases_that_are_too_old_are_named(version):
    with pytest.raises(MachineError, match=rf"TensorRT {version} is too old: 11\.1 is needed") as error:
        FULL.check_version(version)
    assert "attention with a mask" in str(error.value.why) or "no attention" in error.value.why


def test_a_release_that_is_doubtful_is_warned_of():
    with pytest.warns(UserWarning, match=r"TensorRT 11\.2\.0\.113: .* error 700"):
        FULL.check_version("11.2.0.113")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for version in ("11.1.0.106", "11.2.1.2", "11.4.0.106"):
            FULL.check_version(version)


@pytest.mark.parametrize(
    ("capability", "architecture"), [(80, 80), (86, 80), (89, 89), (90, 90), (100, 100), (121, 80)]
)
def test_kernels_are_for_what_the_gpu_runs(capability, architecture):
    assert architecture_of(capability) == architecture


def test_kernels_need_an_ampere_gpu_triton_and_a_numpy_that_fits(monkeypatch):
    monkeypatch.setattr("g4compile.targets.tensorrt.edition.gpu_capability", lambda: 75)
    with pytest.raises(MachineError, match="kernels are compiled for sm80"):
        FULL.load_plugins()
    monkeypatch.setattr("g4compile.targets.tensorrt.edition.gpu_capability", lambda: 90)
    monkeypatch.setattr(type(FULL), "load", lambda self: SimpleNamespace(__version__="11.1.0.106"))
    monkeypatch.setattr("numpy.__version__", "2.4.1")
    with pytest.raises(MachineError, match=r"cannot make plugins with NumPy 2\.4\.1") as wrong:
        FULL.load_plugins()
    assert "or TensorRT 11.2 or newer" in wrong.value.fix
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "triton" else find(name))
    with pytest.raises(MachineError, match="Triton is not installed"):
        FULL.check(facts_of("tiny-e2b"), options(compute_capabilities=()))
    assert RTX.load_plugins() is None


def test_a_missing_product_names_the_command(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MachineError, match="TensorRT-RTX is not installed") as missing:
        RTX.load()
    assert "pip install 'g4compile[tensorrt-rtx]'" in str(missing.value)


def test_a_ring_holds_the_window_and_a_chunk_in_whole_chunks():
    for preset in ("e2b", "31b"):
        facts = facts_of(preset).text
        window = max(layer.window or 0 for layer in facts.layers)
        for chunk in (16, 64, 512):
            ring = Capacities(8192, 1, chunk).ring(facts)
            assert ring % chunk == 0 and window - 1 + chunk <= ring < window - 1 + 2 * chunk
