"""Projects around a bundle: the one for Linux is built and chats; the others are checked as far as this machine can."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from g4compile.bundle.folder import Bundle
from g4compile.cli.app import app
from g4compile.embedding import native_files
from g4compile.embedding.platforms import PLATFORMS
from g4compile.embedding.project import embed
from g4compile.errors import InputError, MachineError
from tests.native.building import NATIVE, output


@pytest.fixture
def libraries(rt, monkeypatch, tmp_path):
    """The libraries of this run where the package looks for them."""
    folder = tmp_path / "lib"
    folder.mkdir()
    shutil.copy(rt.file, folder / "libg4rt.so")
    shutil.copy(rt.ops, folder / "libg4ops.so")
    monkeypatch.setattr(native_files, "FOLDER", folder)
    return folder


@pytest.mark.parametrize("recipe", ["float32", "int4"])
def test_a_linux_project_chats(bundles, quantized, g4ops, libraries, tmp_path, recipe):
    """Built with CMake as its README says, moved, and run: two messages, two answers."""
    bundle = bundles("tiny-e2b") if recipe == "float32" else quantized("tiny-e2b", "int4", "g4ops")
    made = embed(bundle, tmp_path / "app", "linux")
    assert made.files > 10 and made.linked
    assert (tmp_path / "app" / "lib" / "libg4ops.so").exists() == (recipe == "int4")
    moved = tmp_path / "elsewhere"
    (tmp_path / "app").rename(moved)
    output("cmake", "-S", str(moved), "-B", str(moved / "build"))
    output("cmake", "--build", str(moved / "build"))
    moved = moved.rename(tmp_path / "again")  # what is built finds the libraries from where it stands
    done = subprocess.run(
        [moved / "build" / "chat"], cwd=moved, input=b"Hi\nAgain \xff\nAgain\n\n", capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(b"\n> ") == 3 and b"UTF-8" in done.stdout
    Bundle.open(moved / "bundle").check_hashes()
    licenses = {file.name for file in (moved / "licenses").iterdir()}
    assert licenses == {"g4compile-LICENSE", "onnxruntime-LICENSE", "onnxruntime-ThirdPartyNotices.txt"}


def test_two_projects_at_once(bundles, libraries, tmp_path, monkeypatch):
    """The one that is written first stands, and the other says so."""

    def come_first(*_):
        (tmp_path / "app").mkdir()
        (tmp_path / "app" / "file").touch()

    monkeypatch.setattr("g4compile.embedding.project._copy_licenses", come_first)
    with pytest.raises(InputError, match="is there already"):
        embed(bundles("tiny-e2b"), tmp_path / "app", "linux")
    assert [file.name for file in tmp_path.iterdir() if file.name != "lib"] == ["app"]


def test_the_verb(bundles, libraries, tmp_path):
    run = CliRunner()
    folder = str(bundles("tiny-e2b").folder)
    done = run.invoke(app, ["embed", folder, "-o", str(tmp_path / "app"), "--platform", "linux", "--json"])
    data = json.loads(done.stdout)
    assert done.exit_code == 0 and data["platform"] == "linux" and data["tokenizer"]
    assert data["files"] == sum(file.is_file() for file in (tmp_path / "app").rglob("*"))
    done = run.invoke(app, ["embed", folder, "-o", str(tmp_path / "other"), "--platform", "ios"])
    assert "was never built with Xcode" in " ".join(done.output.split())


def test_what_is_refused(bundles, engine_bundle, libraries, tmp_path):
    bundle = bundles("tiny-e2b")
    with pytest.raises(InputError, match="no platform 'windows'"):
        embed(bundle, tmp_path / "app", "windows")
    with pytest.raises(InputError, match="does not run bundles of the target tensorrt-rtx"):
        embed(engine_bundle, tmp_path / "app", "linux")
    with pytest.raises(InputError, match="lies in the bundle"):
        embed(bundle, bundle.folder / "inside" / "app", "linux")
    (tmp_path / "there").mkdir()
    for there in (tmp_path / "there", Path(), Path("..")):
        with pytest.raises(InputError, match="is there already"):
            embed(bundle, there, "linux")
    with pytest.raises(InputError, match="does not run packages for onnxruntime-genai"):
        embed(
            Bundle(bundle.folder, replace(bundle.manifest, requires=("onnxruntime-genai",))), tmp_path / "app", "linux"
        )
    (libraries / "libg4rt.so").unlink()
    with pytest.raises(MachineError, match=r"libg4rt\.so is not here"):
        embed(bundle, tmp_path / "app", "linux")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["lib", "there"]


@pytest.fixture(scope="module")
def android(bundles, tmp_path_factory):
    return embed(bundles("tiny-e2b"), tmp_path_factory.mktemp("embed") / "android", "android").folder


@pytest.fixture(scope="module")
def ios(bundles, tmp_path_factory):
    return embed(bundles("tiny-e2b"), tmp_path_factory.mktemp("embed") / "ios", "ios").folder


def test_the_calls_from_kotlin_compile(android):
    """jni.cc against a JDK's own header, for every declaration of G4rt.kt that C++ must have."""
    found = [
        *Path("/usr/lib/jvm").glob("*/include/jni.h"),
        *Path(os.environ.get("JAVA_HOME", "/nowhere")).glob("include/jni.h"),
    ]
    source = android / "g4rt" / "src" / "main" / "cpp" / "jni.cc"
    kotlin = (android / "g4rt" / "src/main/kotlin/dev/g4compile/g4rt/G4rt.kt").read_text()
    declared = set(re.findall(r"external fun (\w+)", kotlin))
    assert declared == set(re.findall(r"Java_dev_g4compile_g4rt_G4rt_(\w+)\(", source.read_text()))
    if not found:
        pytest.skip("no jni.h: install a JDK")
    include = found[0].parent
    flags = ["-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Werror"]
    folders = [f"-I{include}", f"-I{include / 'linux'}", f"-I{android / 'native' / 'include'}"]
    output(os.environ.get("CXX", "c++"), *flags, *folders, str(source))


def test_a_project_with_sources_has_all_that_builds_the_libraries(android, tmp_path):
    """Its own CMake makes libg4rt and libg4ops: what the module of Gradle asks for by name is there."""
    module = (android / "g4rt" / "src/main/cpp/CMakeLists.txt").read_text()
    assert "add_subdirectory(${CMAKE_SOURCE_DIR}/../../../../native" in module
    output("cmake", "-S", str(android / "native"), "-B", str(tmp_path / "build"))
    targets = output("cmake", "--build", str(tmp_path / "build"), "--target", "help")
    gradle = (android / "g4rt" / "build.gradle.kts").read_text()
    for name in ("g4rt", "g4ops"):
        assert name in targets and f'"{name}"' in gradle
    for file in (NATIVE / "src").rglob("*"):
        assert (android / "native" / file.relative_to(NATIVE)).exists()


def test_the_swift_package_names_files_that_are_there(ios):
    package = (ios / "Package.swift").read_text()
    native = ios / "native"
    excluded = re.search(r"exclude: \[(.*?)\]", package, re.DOTALL).group(1)
    for name in re.findall(r'"([^"]+)"', excluded):
        assert (native / name).exists(), name
    for sources in re.findall(r'path: "native/src",\s*sources: \[(.*?)\]', package, re.DOTALL):
        for name in re.findall(r'"([^"]+)"', sources):
            assert (native / "src" / name).exists(), name
            assert f'"src/{name}"' in excluded  # compiled once
    assert 'header "g4rt.h"' in (native / "include" / "module.modulemap").read_text()


@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_platform_has_a_readme_that_names_what_is_there(platform, bundles, libraries, tmp_path):
    folder = embed(bundles("tiny-e2b"), tmp_path / "app", platform).folder
    text = (folder / "README.md").read_text()
    named = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
    assert len(named) == 4
    for name in named:
        for one in re.findall(r"`([^`]+)`", name):
            assert (folder / one).exists(), one
    assert ("never built" in text) == bool(PLATFORMS[platform].not_run)
