"""The import law, the public surface, and file sizes."""

import ast
import subprocess
import sys
from pathlib import Path

import g4compile

PACKAGE = Path(g4compile.__file__).parent
# An arrow is allowed from a folder to itself and to what stands before it.
LAYERS = ("config", "graph", "ops", "passes", "targets", "cli")


def imports(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def part(name):
    return name.split(".")[1] if name.startswith("g4compile.") else ""


def test_imports_go_one_way():
    for file in PACKAGE.rglob("*.py"):
        here = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for name in imports(file):
            there = part(name)
            if here in LAYERS and there in LAYERS:
                assert LAYERS.index(there) <= LAYERS.index(here), f"{file} imports {name}"


def test_the_runtime_stands_alone():
    for file in (PACKAGE / "runtime").rglob("*.py"):
        for name in imports(file):
            assert name.split(".")[0] not in ("torch", "transformers", "onnx", "onnx_ir"), f"{file} imports {name}"
            assert part(name) in ("", "runtime", "bundle", "errors", "weight_steps"), f"{file} imports {name}"


def test_loading_a_session_imports_no_torch():
    code = "import sys, g4compile; g4compile.load; g4compile.Bundle; assert not {'torch', 'onnx', 'onnx_ir'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_surface():
    assert sorted(g4compile.__all__) == ["Bundle", "Session", "compile", "load", "plan", "verify"]
    for name in g4compile.__all__:
        assert getattr(g4compile, name).__doc__


def test_files_hold_one_idea():
    for file in PACKAGE.rglob("*.py"):
        assert len(file.read_text().splitlines()) <= 400, file
