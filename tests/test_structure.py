"""The import law for every room, the public surface, and file sizes."""

import ast
import itertools
import re
import subprocess
import sys
from pathlib import Path

import g4compile

PACKAGE = Path(g4compile.__file__).parent
# A room may import itself and rooms of a lower rank; rooms of one rank do not know each other.
RANKS = {
    "errors": 0,
    "inputs": 1,
    "requirements": 2,
    "model": 2,
    "bundle": 2,
    "graph": 3,
    "runtime": 3,
    "text_tables": 4,
    "weights": 4,
    "ops": 5,
    "passes": 6,
    "trace": 6,
    "pipeline": 7,
    "program": 7,
    "targets": 8,
    "compiler": 9,
    "compare": 10,
    "embedding": 10,
    "planning": 10,
    "synth": 10,
    "cli": 11,
}
# What knows less than its rank allows, so that a bundle runs without the compiler.
ALONE = {
    "runtime": {"errors", "inputs", "bundle"},
    "embedding": {"errors", "inputs", "bundle", "runtime"},
    "model": {"errors", "inputs"},
    "bundle": {"errors", "inputs"},
}
# Folders of `targets/`: the families, which do not know each other, and what they share.
FAMILIES = ("onnx", "tensorrt")
SHARED = {"fused", "kernels", "lowering"}
# Words of one target or runtime, in any spelling. A pass may name the kind of a weight that engines read.
TARGET_WORDS = re.compile(
    r"tensorrt|\brtx|onnx.?runtime|com\.microsoft|onnx-(cpu|mobile)|phone|engine|plugin", re.IGNORECASE
)
WEIGHTS = re.compile(r"engine_tensors|EngineTensor")


def modules():
    """Module name -> file, of all that is not a package's `__init__`."""
    for file in PACKAGE.rglob("*.py"):
        parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
        yield ".".join(parts).removesuffix(".__init__"), file


def imports(name, file):
    """Names that ``file`` imports, wherever in it; those of our own package down to the module."""
    known = dict(modules())
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (one if one in known else node.module for one in inner)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def room(name):
    parts = name.split(".")
    return parts[1] if parts[0] == "g4compile" and len(parts) > 1 else ""


def test_every_room_has_a_rank():
    rooms = {room(name) for name, _ in modules()} - {"", "__main__"}
    assert rooms <= set(RANKS)


def test_imports_go_one_way():
    for name, file in modules():
        here = room(name)
        for other in imports(name, file):
            there = room(other)
            if here in RANKS and there and there != here:
                assert RANKS[there] < RANKS[here], f"{name} imports {other}"
                assert there in ALONE.get(here, RANKS), f"{name} imports {other}"


def test_families_of_targets_do_not_import_each_other():
    for name, file in modules():
        for one, other in itertools.permutations(FAMILIES, 2):
            if f"{name}.".startswith(f"g4compile.targets.{one}."):
                for imported in imports(name, file):
                    assert not f"{imported}.".startswith(f"g4compile.targets.{other}."), f"{name} imports {imported}"


def test_every_folder_of_targets_is_a_family_or_shared():
    folders = {file.parent.name for file in (PACKAGE / "targets").glob("*/*.py")}
    assert folders == {*FAMILIES, *SHARED}


def test_passes_know_no_target():
    """By name; that none is imported follows from the ranks."""
    for file in sorted((PACKAGE / "passes").rglob("*.py")):
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            found = TARGET_WORDS.search(WEIGHTS.sub("", line))
            assert not found, f"{file.name}:{number} names {found[0]}"


def test_only_the_driver_runs_passes():
    """So `emit` runs none, and what it is given is what `inspect` prints."""
    allowed = {
        "apply": {"pipeline.py", "targets/alone.py", "bundle/weight_steps.py"},  # of one pass; there of a weight step
        "run_alone": {"targets/alone.py"},
        "pipeline.run": {"targets/lower.py"},
    }
    found = {call: set() for call in allowed}
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            for call in allowed:
                if called.endswith((f".{call}", call)):
                    found[call].add(str(file.relative_to(PACKAGE)))
    assert found == allowed


def test_imports_are_absolute():
    """What this file reads of imports would miss others."""
    for name, file in modules():
        relative = [node for node in ast.walk(ast.parse(file.read_text())) if getattr(node, "level", 0)]
        assert not relative, name


def test_no_two_files_import_each_other():
    """Directly or over others. What only a type checker reads counts too."""
    graph = {name: {one for one in imports(name, file) if one != name} for name, file in modules()}
    del graph["g4compile"]  # it imports what it names when that is asked for
    done, path = set(), []

    def visit(name):
        if name in path:
            raise AssertionError(" -> ".join([*path[path.index(name) :], name]))
        if name not in done and name in graph:
            path.append(name)
            for other in sorted(graph[name]):
                visit(other)
            path.pop()
            done.add(name)

    for name in sorted(graph):
        visit(name)


def test_the_runtime_needs_no_compiler():
    for name, file in modules():
        if room(name) in ("runtime", "bundle", "model", "inputs", "errors"):
            for other in imports(name, file):
                assert other.split(".")[0] not in ("torch", "transformers", "onnx", "onnx_ir"), (
                    f"{name} imports {other}"
                )


def test_loading_a_session_imports_no_torch():
    code = """
import sys, g4compile
g4compile.load, g4compile.Bundle
assert not {'torch', 'onnx', 'onnx_ir'} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_surface():
    assert sorted(g4compile.__all__) == ["Bundle", "Prompt", "Session", "compile", "load", "plan", "verify"]
    for name in g4compile.__all__:
        assert getattr(g4compile, name).__doc__


def test_files_hold_one_idea():
    for file in PACKAGE.rglob("*.py"):
        assert len(file.read_text().splitlines()) <= 400, file


def test_passes_and_targets_narrow_types_by_views():
    """An `assert` there says what a typed view or an accessor says with a message."""
    found = [
        f"{file.relative_to(PACKAGE)}:{node.lineno}"
        for room_name in ("passes", "targets")
        for file in (PACKAGE / room_name).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Assert)
    ]
    assert len(found) <= 20, found
