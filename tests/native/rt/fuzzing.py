"""How tests run the fuzzers of `native/fuzz`."""

from __future__ import annotations

import re
import shutil

import pytest

from tests.native.building import NATIVE, build, need_compiler, output

CORPUS = NATIVE / "fuzz" / "corpus"


def replay(folder, name):
    """Files of the corpus ``name``, and how many inputs of them were taken, without libFuzzer."""
    said = output(str(folder / f"replay_{name}"), *map(str, sorted((CORPUS / name).iterdir())))
    files, taken = re.fullmatch(r"(\d+) files, (\d+) taken\n", said).groups()
    return int(files), int(taken)


def fuzz(folder, name, slowest=5, seconds=60):
    """Build the fuzzer ``name`` and let it run over a copy of its corpus. Fails with what it finds, an input that takes
    more than ``slowest`` seconds included."""
    need_compiler()
    compiler = shutil.which("clang++") or shutil.which("clang++-16")
    if not compiler:
        pytest.skip("no clang, whose libFuzzer is used")
    build(folder, f"fuzz_{name}", G4RT_FUZZ="ON", CMAKE_CXX_COMPILER=compiler)
    found = folder / "corpus"
    shutil.copytree(CORPUS / name, found)
    limits = (f"-max_total_time={seconds}", f"-timeout={slowest}", "-rss_limit_mb=1024", "-max_len=8192")
    output(str(folder / f"fuzz_{name}"), *limits, f"-artifact_prefix={folder}/", str(found))
