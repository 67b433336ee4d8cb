"""The tests of this folder once more, with libraries that check every read; and the C++ driver under all sanitizers."""

from __future__ import annotations

import shutil

import pytest

from tests.native.building import build_once
from tests.native.rt.driver import drive, expected, races
from tests.native.test_toolchains import run_under_the_address_sanitizer


@pytest.mark.nightly
def test_media_under_the_address_sanitizer(tmp_path):
    tests = ("rt/test_media.py", "rt/test_placeholders.py")
    run_under_the_address_sanitizer(tmp_path, ["g4rt_media_parts"], tests, G4RT_BUILD=str(tmp_path))


@pytest.mark.nightly
def test_text_under_the_address_sanitizer(tmp_path):
    """Damaged tables above all."""
    tests = ("rt/test_malformed_tables.py", "rt/test_splitter.py", "rt/test_tokenizer.py")
    options = ("-k", "not hugging_face and not of_a_bundle")  # long, and a process of its own, which is not checked
    run_under_the_address_sanitizer(tmp_path, ["g4rt_text_parts"], tests, *options, G4RT_BUILD=str(tmp_path))


@pytest.mark.nightly
def test_chat_under_the_address_sanitizer(tmp_path):
    run_under_the_address_sanitizer(tmp_path, ["g4rt_chat_parts"], ["rt/test_chat.py"], G4RT_BUILD=str(tmp_path))


OPTIONS = {
    "address,undefined": {"ASAN_OPTIONS": "detect_leaks=1", "UBSAN_OPTIONS": "print_stacktrace=1"},
    "thread": {"TSAN_OPTIONS": "halt_on_error=0 exitcode=0 history_size=7"},  # reports are sorted out below
}


@pytest.fixture(params=["e2b", "31b-int4", "31b-int4-int8", "12b-hearing", "e2b-hearing"])
def bundle(request, bundles, hearing, quantized, g4ops):
    variant = f"tiny-{request.param.split('-')[0]}"
    if "int4" in request.param:
        return quantized(variant, "int4", "g4ops", "int8" if "int8" in request.param else "float32")
    return hearing(variant) if "hearing" in request.param else bundles(variant)


@pytest.mark.nightly
@pytest.mark.parametrize("sanitizers", list(OPTIONS))
def test_the_driver_under_sanitizers(shared, tmp_path, bundle, sanitizers):
    """libg4rt, libg4ops and the driver are checked; ONNX Runtime is not built so."""
    compiler = shutil.which("g++")
    if not compiler:
        pytest.skip("no g++, whose reports are read here")
    settings = {"G4OPS_SANITIZE": sanitizers, "CMAKE_BUILD_TYPE": "Debug", "CMAKE_CXX_COMPILER": compiler}
    built = build_once(shared, f"rt-{sanitizers.split(',')[0]}", ("rt_driver", "g4ops"), **settings)
    found, said = drive(built, bundle.folder, tmp_path / "scratch", **OPTIONS[sanitizers])
    assert found == expected(bundle)
    assert not (races(said) if sanitizers == "thread" else said), said[-6000:]
