"""The lowest versions: what pyproject.toml declares, what `make test-lowest` installs, what `doctor` asks for."""

import re
import tomllib
from pathlib import Path

import numpy as np
import onnx_ir as ir

from g4compile.graph.edit import constant_array
from g4compile.graph.stage import set_stage
from g4compile.graph.text import to_text
from g4compile.requirements import REQUIREMENTS
from g4compile.weights.text import parse_graph

ROOT = Path(__file__).parent.parent


def declared():
    """Package -> lowest version, of all dependencies, the optional ones too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    found = (re.match(r"([\w-]+)>=([\d.]+)", line) for one in lists for line in one)
    return {match[1]: match[2] for match in found if match}


def same(left, right):
    """1.23 and 1.23.0 are one version."""
    return re.sub(r"(\.0)+$", "", left) == re.sub(r"(\.0)+$", "", right)


def test_the_lowest_versions_tested_are_those_declared():
    lines = [line for line in (ROOT / "tests" / "lowest.txt").read_text().splitlines() if not line.startswith("#")]
    pinned = dict(line.split("+")[0].split("==") for line in lines)
    assert set(pinned) == {"torch", "transformers", "onnx", "onnx-ir", "onnxruntime"}
    for name, version in pinned.items():
        assert same(declared()[name], version), name


def test_doctor_asks_for_the_versions_declared():
    for need in REQUIREMENTS:
        names = [name for name in need.distributions if name in declared()]
        assert names and same(declared()[names[0]], need.lowest), need.module


def test_text_keeps_every_bit_of_a_float():
    """Frequencies of rotations do, above all; onnx before 1.23 prints 0.316228."""
    values = np.array([10**-0.5, 1 / 3, 1e-30, 16777217.0], dtype=np.float32)
    constant = ir.Value(
        name="c", shape=ir.Shape([4]), type=ir.TensorType(ir.DataType.FLOAT), const_value=ir.tensor(values)
    )
    x = ir.Value(name="x", shape=ir.Shape([4]), type=ir.TensorType(ir.DataType.FLOAT))
    node = ir.node("Mul", [x, constant])
    node.outputs[0].name, node.outputs[0].shape, node.outputs[0].type = "y", x.shape, x.type
    graph = ir.Graph([x], node.outputs, nodes=[node], initializers=[constant], opset_imports={"": 24}, name="g")
    model = ir.Model(graph, ir_version=11)
    set_stage(model, "traced")
    np.testing.assert_array_equal(constant_array(parse_graph(to_text(model)).graph.initializers["c"]), values)
