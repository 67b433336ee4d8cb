"""The programs in C and C++ of `examples/`, and the headers alone."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from g4compile.runtime.session import Session
from g4compile.runtime.text import TextCodec
from tests.native.building import NATIVE, output
from tests.native.rt.g4rt import onnxruntime_library

EXAMPLES = NATIVE.parent / "examples"
STRICT = ("-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{NATIVE / 'include'}")
C, CXX = os.environ.get("CC", "cc"), os.environ.get("CXX", "c++")
PROGRAMS = {"generate.c": (C, "-std=c11"), "generate.cc": (CXX, "-std=c++17")}


@pytest.fixture(scope="module")
def built(rt, tmp_path_factory):
    """The programs, and the libraries where `embed` puts them."""
    folder = tmp_path_factory.mktemp("examples")
    shutil.copy(rt.file, folder / "libg4rt.so")
    shutil.copy(onnxruntime_library(), folder / "libonnxruntime.so.1")
    for name, compiler in PROGRAMS.items():
        link = ("-L", str(folder), "-lg4rt", f"-Wl,-rpath,{folder}", "-o", str(folder / name.replace(".", "_")))
        output(*compiler, *STRICT, str(EXAMPLES / name), *link)
    return folder


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_is_short_and_says_how_it_is_built(name):
    text = (EXAMPLES / name).read_text()
    assert len(text.splitlines()) <= 60
    assert f"examples/{name}" in text and "g4compile embed" in text


def run(program, *arguments, code=0):
    done = subprocess.run([program, *arguments], capture_output=True, check=False, cwd=Path(program).parent)
    assert done.returncode == code, done.stderr
    return done


def test_their_answers_are_those_of_python(built, bundles):
    bundle = bundles("tiny-e2b")
    python, codec = Session(bundle, threads=1), TextCodec(bundle)
    ids = codec.encode("Tell me more")
    try:
        drawn = list(python.generate(ids, max_new_tokens=20, temperature=0.8, top_k=40, top_p=0.95, seed=7))
        python.reset()
        greedy = list(python.generate(ids, max_new_tokens=20))
        expected = [codec.decode(tokens).encode() for tokens in (drawn, greedy)]
    finally:
        codec.close()
    of_c = run(built / "generate_c", bundle.folder, "Tell me more", "20").stdout
    assert of_c.startswith(expected[0] + b"\n(")
    of_cxx = run(built / "generate_cc", bundle.folder, "Tell me more", "20").stdout
    assert of_cxx.startswith(expected[1] + b"\n(") and b"(with seed 2)" in of_cxx


@pytest.mark.parametrize("program", ["generate_c", "generate_cc"])
def test_their_errors_are_words(built, program, tmp_path):
    assert b"there is no bundle at" in run(built / program, tmp_path, "Hi", "5", code=1).stderr
    assert b"usage" in run(built / program, code=2).stderr


ALONE = [("g4rt.h", C, "c99", "c"), ("g4rt.h", CXX, "c++17", "c++"), ("g4rt.hpp", CXX, "c++17", "c++")]


@pytest.mark.parametrize(("header", "compiler", "standard", "language"), ALONE)
def test_a_header_compiles_alone(header, compiler, standard, language, tmp_path):
    source = tmp_path / "alone"
    source.write_text(f"#include <{header}>\nint main(void) {{ return G4RT_API_VERSION - 1; }}\n")
    output(compiler, f"-std={standard}", "-x", language, *STRICT, "-fsyntax-only", str(source))
