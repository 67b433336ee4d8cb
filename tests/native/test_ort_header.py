"""Our declaration of ONNX Runtime's C API against its own header, where there is one."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.native.building import NATIVE, need_compiler

HEADER, OURS = "onnxruntime_c_api.h", NATIVE / "include" / "g4" / "ort_api.h"
FOLDERS = ("/usr/include/onnxruntime", "/usr/local/include/onnxruntime")


def problems(ours):
    """What the compiler says of the declarations in the folder ``ours``; nothing where they agree with the header."""
    need_compiler()
    folders = (os.environ.get("ORT_INCLUDE_DIR") or FOLDERS[0], *FOLDERS)
    theirs = next((folder for folder in folders if (Path(folder) / HEADER).exists()), None)
    if theirs is None:
        pytest.skip(f"no {HEADER}: install libonnxruntime-dev, or name its folder in ORT_INCLUDE_DIR")
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    check = NATIVE / "tests" / "ort_header.cc"
    options = ["-std=c++20", "-fsyntax-only", "-Wno-ignored-attributes", f"-I{ours}", f"-I{theirs}"]
    done = subprocess.run([compiler, *options, str(check)], check=False, capture_output=True, text=True)
    assert (done.returncode == 0) == ("error" not in done.stderr)
    return done.stderr


def test_our_declarations_are_those_of_onnx_runtime():
    """Every entry of the table, every number, every member of the op."""
    assert problems(NATIVE / "include") == ""


@pytest.mark.parametrize(
    ("right", "wrong", "named"),
    [
        ("ENTRY(274, ", "ENTRY(273, ", "KernelContext_ParallelFor"),
        ("ENTRY(193, ", "ENTRY(192, ", "KernelContext_GetGPUComputeStream"),
        ("ENTRY(278, ", "ENTRY(277, ", "KernelInfoGetAllocator"),
        ("ELEMENT_DATA_TYPE_INT32 = 6", "ELEMENT_DATA_TYPE_INT32 = 5", "ELEMENT_DATA_TYPE_INT32"),
        ("(const OrtKernelContext* context, size_t* out)", "(const OrtKernelContext* context, int* out)", "InputCount"),
        ("ELEMENT_DATA_TYPE_UINT16 = 4", "ELEMENT_DATA_TYPE_UINT16 = 5", "ELEMENT_DATA_TYPE_UINT16"),
        ("  int(G4_ORT_CALL* GetStartVersion)(const OrtCustomOp*);\n", "", "GetStartVersion"),
        ("* InferOutputShapeFn)(const OrtCustomOp*, ", "* InferOutputShapeFn)(", "InferOutputShapeFn"),
        ("#define G4_ORT_API_VERSION 17", "#define G4_ORT_API_VERSION 1000", "ORT_API_VERSION"),
    ],
)
def test_a_declaration_that_differs_is_found(tmp_path, right, wrong, named):
    text = OURS.read_text()
    assert right in text
    (tmp_path / "g4").mkdir()
    (tmp_path / "g4" / OURS.name).write_text(text.replace(right, wrong))
    assert named in problems(tmp_path)
