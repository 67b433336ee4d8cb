"""An op is named in its own file, by ops built on it, where it is made or matched, lowered, and interpreted: nowhere
else."""

import ast
from pathlib import Path

import pytest

import g4compile
from g4compile.ops.registry import all_ops
from g4compile.passes.registry import all_passes
from g4compile.targets import target_passes

PACKAGE = Path(g4compile.__file__).parent
TRACED = {"trace/aten.py", "trace/convolutions.py"}  # make the ops that the model's code is traced to
# What a family of targets says of ops: as standard ops, or as layers of its own.
LOWERINGS = {
    "onnx": {
        "targets/onnx/lowerings.py",
        "targets/onnx/normed_heads.py",
        "targets/onnx/g4_products.py",
        "targets/onnx/cuda/stock_lowerings.py",
        "targets/onnx/genai/lowerings.py",
    },
    "both": {
        "targets/fused/operands.py",
        "targets/fused/plans/registry.py",
        "targets/fused/products.py",
        "targets/lowering/fixed_caches.py",
    },
    "tensorrt": {
        "targets/tensorrt/attention.py",
        "targets/tensorrt/lowerings.py",
        "targets/tensorrt/relative.py",
        "targets/tensorrt/network/layers.py",
        "targets/tensorrt/network/plugin_layers.py",
    },
}
INTERPRETER = {"targets/tensorrt/interpreter/layers.py"}


def passes():
    """Files of passes, and of what they are made of."""
    kinds = {**all_passes(), **target_passes()}.values()
    files = {f"{kind.__module__.removeprefix('g4compile.').replace('.', '/')}.py" for kind in kinds}
    return files | {f"passes/{file.name}" for file in (PACKAGE / "passes").glob("*.py")} | experts()


def experts():
    return {f"passes/experts/{file.name}" for file in (PACKAGE / "passes" / "experts").glob("*.py")}


def names_in(file):
    """Names and strings of a file's code; docstrings and comments do not count."""
    tree = ast.parse(file.read_text())
    documents = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
        and isinstance(node.body[0].value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.alias):
            yield node.name
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
            yield node.value


@pytest.fixture(scope="module")
def files():
    return {str(file.relative_to(PACKAGE)): set(names_in(file)) for file in PACKAGE.rglob("*.py")}


@pytest.mark.parametrize("name", sorted(all_ops()))
def test_an_op_is_named_where_it_is_meant(name, files):
    allowed = TRACED | INTERPRETER | passes() | {file for family in LOWERINGS.values() for file in family}
    allowed |= {file for file in files if file.startswith("ops/")}
    others = {file for file, names in files.items() if name in names and file not in allowed}
    assert not others


@pytest.mark.parametrize("name", sorted(all_ops()))
def test_an_op_is_quoted_nowhere(name, files):
    """Not even in sets of names: what is true of an op stands in its class."""
    quoted = {file for file, names in files.items() if f"g4.{name}" in names}
    assert not quoted


def test_a_file_is_named_as_its_op():
    for name, kind in all_ops().items():
        assert kind.__module__.rpartition(".")[2].replace("_", "") == name.lower()
