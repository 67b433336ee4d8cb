"""What wheels, source archives and editable installs hold, with a compiler and without one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.native.building import need_compiler

pytest.importorskip("scikit_build_core", reason="scikit-build-core is not installed: pip install 'g4compile[dev]'")

ROOT = Path(__file__).parent.parent
LIBRARY = "g4compile/lib/libg4ops.so"
LIBRARIES = {LIBRARY, "g4compile/lib/libg4cuda.so", "g4compile/lib/libg4rt.so"}
# What `find_library` asks of a library, and no more: the real one takes a minute to compile.
SMALL = """
#include "g4ops.h"
int g4ops_layout_version(void) { return G4OPS_LAYOUT_VERSION; }
const char* g4ops_last_error(void) { return ""; }
const G4Kernels* g4ops_kernels(const char*) { return reinterpret_cast<const G4Kernels*>(""); }
const char* g4ops_kernels_name(const G4Kernels*) { return "small"; }
"""
FOUND = "from g4compile.runtime.native import find_library as find\nlibrary = find()\nprint(library and library.file)"
BACKEND = "import sys\nfrom scikit_build_core import build\n"


def run(*command, cwd, **environment):
    """What a command prints, without its errors; it must succeed."""
    given = {name: value for name, value in os.environ.items() if name not in ("G4OPS_LIBRARY", "PYTHONPATH")}
    command = [str(word) for word in command]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=cwd, env={**given, **environment})
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return done.stdout


def build_wheel(sources, out, *options, **environment):
    """The wheel and what the build says, by its log. Nothing comes from the network."""
    log = out.parent / "log"
    common = ("--no-build-isolation", "--no-deps", "--no-cache-dir", "--wheel-dir", out, "--log", log)
    run(sys.executable, "-m", "pip", "wheel", *common, *options, sources, cwd=out.parent, **environment)
    (wheel,) = out.glob("*.whl")
    return wheel, log.read_text()


def install(wheel, target):
    run(sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", target, wheel, cwd=target.parent)
    return target


def names_in(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def tag_of(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/WHEEL"))
        (line,) = (line for line in archive.read(name).decode().splitlines() if line.startswith("Tag: "))
    return line.removeprefix("Tag: ")


def package_files(sources):
    files = (file.relative_to(sources) for file in (sources / "g4compile").rglob("*") if file.is_file())
    return {file.as_posix() for file in files if file.parts[1] != "lib" and file.parent.name != "__pycache__"}


def native_files(sources):
    """What projects that build the libraries themselves are made of."""
    native = sources / "native"
    files = [
        native / "CMakeLists.txt",
        *(file for part in ("cmake", "include", "src") for file in (native / part).rglob("*")),
    ]
    return {f"g4compile/{file.relative_to(sources).as_posix()}" for file in files if file.is_file()}


@pytest.fixture
def sources(tmp_path):
    """A copy of what is packed, in which somebody has worked: with a library, compiled modules and a build."""
    if not shutil.which("cmake"):
        pytest.skip("no cmake, which a build without the network needs")
    copy = tmp_path / "sources"
    ignored = shutil.ignore_patterns("__pycache__", "build", "lib")
    for folder in ("g4compile", "native"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignored)
    for file in (".gitignore", "LICENSE", "README.md", "pyproject.toml"):
        shutil.copy(ROOT / file, copy / file)
    for left in (LIBRARY, "g4compile/__pycache__/errors.cpython-311.pyc", "native/build/release/CMakeCache.txt"):
        (copy / left).parent.mkdir(parents=True, exist_ok=True)
        (copy / left).write_text("left by other work")
        os.utime(copy / left, (0, 0))  # CMake installs no file that is as old as the one that is there, to the second
    return copy


@pytest.fixture
def small(sources):
    """`sources`, in which the library has next to nothing in it."""
    need_compiler()
    for file in (sources / "native" / "src").rglob("*.cc"):
        file.write_text(SMALL if file.name == "c_api.cc" else "")
    return sources


@pytest.fixture
def no_compiler(tmp_path):
    """The environment of a machine on which nothing compiles."""
    program = tmp_path / "no-compiler"
    program.write_text("#!/bin/sh\necho 'there is no compiler' >&2\nexit 1\n")
    program.chmod(0o755)
    return {"CC": str(program), "CXX": str(program)}


def test_a_wheel_without_a_compiler(sources, no_compiler, tmp_path):
    """It is made, has all but the library, is for any machine, and the log says why."""
    wheel, said = build_wheel(sources, tmp_path / "wheels", **no_compiler)
    assert names_in(wheel) == package_files(sources)
    assert tag_of(wheel) == "py3-none-any"
    assert "there is no compiler" in said and "g4compile is made without libg4ops, libg4cuda and libg4rt" in said


def check_wheel(wheel, said, sources):
    """It has the libraries that were built and their sources, and an install of it finds that."""
    assert names_in(wheel) == package_files(sources) | native_files(sources) | LIBRARIES, said[-4000:]
    assert tag_of(wheel).startswith("py3-none-") and not tag_of(wheel).endswith("-any")
    target = install(wheel, wheel.parent / "target")
    assert run(sys.executable, "-c", FOUND, cwd=target, PYTHONPATH=str(target)).strip() == str(target / LIBRARY)


def test_a_wheel_with_the_library(small, tmp_path):
    """It is not the one that lay in the tree, which does not load."""
    check_wheel(*build_wheel(small, tmp_path / "wheels"), small)


def test_what_comes_beside_the_package(sources, tmp_path):
    """The license, the entry points, the version and the extras."""
    wheel, _ = build_wheel(sources, tmp_path / "wheels", "--config-settings=wheel.cmake=false")
    target = install(wheel, tmp_path / "target")
    code = (
        "import importlib.metadata as m, g4compile\n"
        "(found,) = m.distributions(name='g4compile', path=[sys.argv[1]])\n"
        "assert found.version == g4compile.__version__\n"
        "print(*sorted(point.group for point in found.entry_points), *found.metadata.get_all('Provides-Extra'))\n"
        "print(found.read_text('licenses/LICENSE'))"
    )
    said = run(sys.executable, "-c", f"import sys\n{code}", target, cwd=tmp_path, PYTHONPATH=str(target))
    groups, _, licence = said.partition("\n")
    extras = ["compile", "cuda", "dev", "gpu", "media", "polygraphy", "tensorrt", "tensorrt-rtx"]
    assert sorted(groups.split()) == sorted(["console_scripts", "polygraphy.run.plugins", *extras])
    assert licence.strip() == (ROOT / "LICENSE").read_text().strip()


def build_editable(sources, out, settings=None):
    """The wheel of an editable install."""
    out.mkdir()
    code = f"{BACKEND}build.build_editable(sys.argv[1], {settings or {}})"
    run(sys.executable, "-c", code, out, cwd=sources)
    (wheel,) = out.glob("*.whl")
    return wheel


def test_an_editable_install_names_the_folder(sources, tmp_path):
    """What `PYTHONPATH` names or the current folder has comes before it: several checkouts share an environment."""
    wheel, site, other = tmp_path / "wheels", tmp_path / "site", tmp_path / "other"
    with zipfile.ZipFile(build_editable(sources, wheel, {"wheel.cmake": "false"})) as archive:
        archive.extractall(site)
    (other / "g4compile").mkdir(parents=True)
    (other / "g4compile" / "__init__.py").write_text("")
    (other / "g4compile" / "errors.py").write_text("")
    code = (
        "import site, sys\nsite.addsitedir(sys.argv[1])\nimport g4compile, g4compile.errors\n"
        "print(g4compile.__file__, g4compile.errors.__file__)"
    )
    # -S: this environment has a g4compile too
    command = (sys.executable, "-S", "-c", code, site)
    here, there = ([str(one / "g4compile" / name) for name in ("__init__.py", "errors.py")] for one in (sources, other))
    assert run(*command, cwd=tmp_path).split() == here
    assert run(*command, cwd=tmp_path, PYTHONPATH=str(other)).split() == there
    assert run(*command, cwd=other).split() == there


def test_an_editable_install_builds_the_library_in_place(small, tmp_path):
    assert not names_in(build_editable(small, tmp_path / "wheels")) & LIBRARIES
    assert run(sys.executable, "-c", FOUND, cwd=small).strip() == str(small / LIBRARY)


def build_sdist(out):
    out.mkdir()
    run(sys.executable, "-c", f"{BACKEND}build.build_sdist(sys.argv[1])", out, cwd=ROOT)
    (archive,) = out.glob("*.tar.gz")
    return archive


def test_a_source_archive(tmp_path):
    """What a build needs, nothing that one left, and not the tests."""
    with tarfile.open(build_sdist(tmp_path / "sdist")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"native/CMakeLists.txt", "pyproject.toml", "LICENSE", "README.md"}
    wanted |= {"native/include/g4ops.h", "native/include/g4cuda.h"}
    wanted |= {file.relative_to(ROOT).as_posix() for file in (ROOT / "native" / "src").rglob("*.*")}
    assert package_files(ROOT) | wanted <= names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", ".ci/", "g4compile/lib/"))]
    assert not [name for name in names if "__pycache__" in name or "build/" in name]


@pytest.mark.nightly
def test_a_source_archive_becomes_a_wheel(tmp_path):
    """With the real library."""
    need_compiler()
    check_wheel(*build_wheel(build_sdist(tmp_path / "sdist"), tmp_path / "wheels"), ROOT)
