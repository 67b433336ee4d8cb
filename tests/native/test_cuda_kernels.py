"""The library libg4cuda as sessions see it: found, refused by name, and what it takes as a kernel. No driver."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

import pytest

from g4compile.errors import MachineError
from g4compile.runtime import shared_library
from g4compile.runtime.cuda import library as cuda_library
from tests.native.cuda import kernel


@pytest.fixture
def unnamed(monkeypatch):
    """No library is named; that of the package is hidden from all tests."""
    monkeypatch.delenv("G4CUDA_LIBRARY", raising=False)


def test_none_is_here(unnamed):
    assert cuda_library.find_library() is None
    with pytest.raises(MachineError, match="this bundle needs the library libg4cuda, which is not here") as refused:
        cuda_library.require_library("this bundle")
    assert "make native" in refused.value.fix


def test_the_one_in_the_package(unnamed, cuda_built, monkeypatch):
    monkeypatch.setattr(shared_library, "FOLDER", cuda_built)
    assert cuda_library.find_library().file == cuda_built / "libg4cuda.so"


@pytest.mark.parametrize("name", ["absent", "text", "another"])
def test_a_file_that_is_another(name, monkeypatch, tmp_path, stub):
    """One that is there and cannot be used is an error, never the same as none."""
    file = stub / "libcuda.so.1" if name == "another" else tmp_path / "libg4cuda.so"
    if name == "text":
        file.write_text("no library")
    monkeypatch.setenv("G4CUDA_LIBRARY", str(file))
    with pytest.raises(MachineError, match="libg4cuda cannot be loaded") as refused:
        cuda_library.find_library()
    assert "G4CUDA_LIBRARY" in refused.value.fix and refused.value.code == 3


def test_another_version(cuda_built, monkeypatch):
    monkeypatch.setenv("G4CUDA_LIBRARY", str(cuda_built / "libg4cuda.so"))
    monkeypatch.setattr(cuda_library, "VERSION", 3)
    with pytest.raises(MachineError, match="libg4cuda has version 2, this g4compile needs 3"):
        cuda_library.find_library()


def test_what_onnx_runtime_does_not_take(cuda_built, monkeypatch):
    monkeypatch.setenv("G4CUDA_LIBRARY", str(cuda_built / "libg4cuda.so"))
    with pytest.raises(MachineError, match="ONNX Runtime does not take the library libg4cuda"):
        cuda_library.require_library("the test").register(object())


@pytest.fixture
def add(cuda_built, monkeypatch):
    monkeypatch.setenv("G4CUDA_LIBRARY", str(cuda_built / "libg4cuda.so"))
    library = cuda_library.require_library("the test")

    def give(**changes):
        one = {**kernel("given"), **changes}
        fields = {**one, "image": one["image"].encode(), "grid": tuple(one["grid"])}
        library.add_kernels([SimpleNamespace(**fields)])

    return give


def test_the_same_again(add):
    add()
    add()


@pytest.mark.parametrize(
    "change",
    [
        {"image": "entry=main sizes=8"},
        {"entry": "x"},
        {"threads": 32},
        {"shared": 1},
        {"dependent": True},
        {"grid": "112"},
    ],
)
def test_another_of_the_name(add, change):
    add()
    with pytest.raises(MachineError, match="does not take the kernel given") as refused:
        add(**change)
    assert "two bundles that different versions of g4compile made are open in one process" in str(refused.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": ""}, "a name is one word, and not -"),
        ({"name": "-"}, "a name is one word, and not -"),
        ({"name": "two words"}, "a name is one word, and not -"),
        ({"image": ""}, "it has no machine code"),
        ({"entry": ""}, "it has no entry"),
        ({"threads": 0}, "it has 0 threads, not 1..1024"),
        ({"threads": 1025}, "it has 1025 threads, not 1..1024"),
        ({"shared": 1 << 31}, "it has 2147483648 bytes of shared memory"),
        ({"grid": ["1", "1"]}, 'the grid "1 1" has not three expressions'),
        ({"grid": ["1", "1", "1", "1"]}, 'the grid "1 1 1 1" has not three expressions'),
        ({"grid": ["r", "1", "1"]}, '"r" is not an expression: at place 0 there must be a number or aN'),
    ],
)
def test_what_no_launch_can_use(add, change, words):
    with pytest.raises(MachineError, match="does not take the kernel") as refused:
        add(**{"name": "never", **change})
    assert words in str(refused.value)


def test_missing_arguments(cuda_built):
    """Of the C function: null pointers."""
    library = ctypes.CDLL(str(cuda_built / "libg4cuda.so"))
    library.g4cuda_last_error.restype = ctypes.c_char_p
    assert library.g4cuda_add_kernel(None, b"x", ctypes.c_size_t(1), b"e", 1, 0, 0, b"1 1 1") == -1
    assert library.g4cuda_last_error() == b"g4cuda_add_kernel: name, image, entry or grid is missing"
    assert library.g4cuda_version() == cuda_library.VERSION
