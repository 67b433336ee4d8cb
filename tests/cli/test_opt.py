"""`opt` on graphs that a user gives: what is wrong with them, or with what a pass makes of them, has exit code 2."""

import pytest
from typer.testing import CliRunner

from g4compile.cli.app import app
from g4compile.errors import InputError
from g4compile.passes.canonicalize_dead_code import CanonicalizeDeadCode
from g4compile.targets.alone import run_on_text

GRAPH = """<ir_version: 11, opset_import: ["" : 24, "g4" : 1], metadata_props: ["g4.stage": "quantized"]>
g (float[batch,new,4] x, int64[batch,new] ids, uint8[4] u) => (float[batch,new,8] y)
  <float[8,4] w = ["location": "w"], float[4] n = ["location": "n"], float[batch,new,4] a>
{
  ["layers.3/norm"] a = g4.RMSNorm <epsilon = 0.000001> (x, n)
  ["layers.3/up"] y = g4.Linear (a, w)
}
"""
NORM = "g4.RMSNorm <epsilon = 0.000001> (x, n)"
REFUSED = {
    "an op of another stage": (NORM, "Identity (x)", ["Identity is not allowed", "layers.3/norm, after reading"]),
    "an op that does not exist": (NORM, "g4.Nothing (x)", ["g4.Nothing is not allowed", "layers.3/norm"]),
    "operands that do not fit": (
        "float[4] n",
        "float[5] n",
        ["the operands of g4.RMSNorm do not fit", "layers.3/norm"],
    ),
    "an overload of other operands": ("g4.RMSNorm <", "g4.RMSNorm:no_scale <", ["RMSNorm:no_scale stands with"]),
    "an attribute that is absent": (" <epsilon = 0.000001>", "", ["not a valid graph", "epsilon", "layers.3/norm"]),
    "an operand too many": ("(x, n)", "(x, n, n, n)", ["not a valid graph", "layers.3/norm"]),
    "a value that nothing computes": ("(a, w)", "(b, w)", ["not a valid graph", "layers.3/up"]),
    "a value that is computed twice": ("] y =", "] a =", ["not a valid graph"]),
    "a type that the op does not take": (NORM, "Tanh (u)", ["not a valid graph", "layers.3/norm"]),
    "ops of another version": ('"" : 24', '"" : 13', ["version 13 of the ops of ONNX", '"" : 24']),
    "no stage": ('"g4.stage"', '"stage"', ["names no stage"]),
    "a stage that does not exist": ('"quantized"', '"done"', ["the stage done, which no pass takes"]),
    "a size below 0": ("[batch,new,4] x", "[batch,new,-4] x", ["a size of x is out of range"]),
    "an order that is not written out": (NORM, "Transpose (x)", ["Transpose node layers.3/norm has no perm"]),
    "a step that no weight has": (
        '"location": "n"',
        '"location": "n", "steps": "scale=nan"',
        ["scale=nan", "weight n"],
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_with_a_given_graph_is_named(name, tmp_path):
    old, new, words = REFUSED[name]
    assert old in GRAPH
    file = tmp_path / "graph.onnxtxt"
    file.write_text(GRAPH.replace(old, new))
    result = CliRunner().invoke(app, ["opt", str(file), "-p", "canonicalize-dead-code"])
    assert result.exit_code == 2, result.output
    for word in words:
        assert word in result.stderr
    assert "defect" not in result.stderr


def test_attributes_that_are_left_to_defaults_are_written_out():
    graph = GRAPH.replace(NORM, "Softmax (x)")
    assert "Softmax <axis: int = -1> (x)" in run_on_text(graph, "canonicalize-dead-code")


def test_what_a_pass_refuses_is_no_defect():
    with pytest.raises(InputError, match="the graph computes no output logits") as raised:
        run_on_text(GRAPH, "insert-top-tokens")
    assert "report" not in raised.value.fix


def test_what_a_pass_makes_of_a_graph_is_checked(monkeypatch):
    def apply(self, model):
        model.graph[0].op_type = "Nothing"

    monkeypatch.setattr(CanonicalizeDeadCode, "apply", apply)
    graph = GRAPH.replace('"quantized"', '"fused"')
    with pytest.raises(InputError, match=r"g4\.Nothing is not allowed") as raised:
        run_on_text(graph, "canonicalize-dead-code")
    assert "after canonicalize-dead-code" in raised.value.where and "if that fails too, report it" in raised.value.fix


def test_a_damaged_graph_is_named(bundles, tmp_path, monkeypatch):
    from g4compile.bundle.folder import Bundle

    file = tmp_path / "decoder.onnx"
    file.write_bytes(b"\x08\x0b\xff\xff\xff")
    monkeypatch.setattr(Bundle, "graph_path", lambda self, name: file)
    result = CliRunner().invoke(app, ["inspect", str(bundles("tiny-31b").folder), "--graph", "legal:onnx-cpu"])
    assert result.exit_code == 2 and "the graph decoder.onnx cannot be read" in result.stderr, result.output
