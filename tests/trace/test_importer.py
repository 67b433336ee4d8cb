"""Exported programs that cannot be imported are refused by name and source line."""

import pytest
import torch

from g4compile.errors import Defect
from g4compile.model.config import load_config, model_facts
from g4compile.trace.aten import RULES
from g4compile.trace.export import Exported
from g4compile.trace.importer import Importer
from g4compile.trace.trace import trace


class Module(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, input_ids):
        return self.function(input_ids)


def import_(function, dtype=torch.float32):
    return import_module(Module(function), dtype)


def import_module(module, dtype=torch.float32):
    batch, new = torch.export.Dim("batch"), torch.export.Dim("new")
    example = torch.zeros(2, 4, dtype=dtype)
    with torch.no_grad():
        program = torch.export.export(module, (example,), dynamic_shapes=({0: batch, 1: new},), strict=False)
    axes = {"input_ids": ("batch", "new")}
    return Importer(Exported("decoder", program, ("input_ids",), ("out",), axes, str), RULES).run()


def test_an_op_without_a_rule_is_named_with_its_line():
    with pytest.raises(Defect, match=r"no rule imports aten\.erfinv\.default[\s\S]*test_importer\.py:\d+"):
        import_(torch.erfinv)


def test_in_place_updates_are_imported():
    def function(x):
        y = x * 2
        y += 1
        return y * y

    model = import_(function)
    assert [node.op_type for node in model.graph] == ["Mul", "Add", "Mul"]


def test_a_view_that_outlives_an_in_place_update_is_refused():
    """In torch the view sees the new data; in the graph it would be the old."""

    def function(x):
        y = x * 2
        view = y.transpose(0, 1)
        y += 1
        return view * 3

    with pytest.raises(Defect, match=r"add_\.Tensor changes mul, whose view transpose is read later by mul_1"):
        import_(function)


def test_a_product_that_is_no_outer_product_is_refused():
    with pytest.raises(Defect, match="outer product"):
        import_(lambda x: x[:, :, None] @ x[:, None, :] @ x[:, :, None])


def test_an_outer_product_is_a_broadcast_product():
    model = import_(lambda x: x[:, :, None] @ x[:, None, :])
    assert [node.op_type for node in model.graph] == ["Unsqueeze", "Unsqueeze", "Mul"]


def test_alpha_is_refused_not_dropped():
    with pytest.raises(Defect, match="alpha 3"):
        import_(lambda x: torch.add(x, x, alpha=3))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: torch.nn.functional.pad(x, (1, 0), value=2.0), "other values than zeros"),
        (lambda x: torch.nn.functional.pad(x[None], (1, 0), mode="reflect"), "other values than zeros"),
        (lambda x: torch.nn.functional.softplus(x, beta=2.0), r"softplus.*with \(2.0,\)"),
    ],
)
def test_forms_of_ops_that_no_encoder_has_are_refused(function, message):
    with pytest.raises(Defect, match=message):
        import_(function)


def test_the_line_of_model_code_is_named_when_a_model_cannot_be_imported(monkeypatch):
    """Stack traces are left out of the first export, and taken in a second one when the message needs them."""
    monkeypatch.delitem(RULES, "aten.gelu.default")
    with pytest.raises(
        Defect, match=r"no rule imports aten\.gelu\.default\n.*layers\.0\.mlp.*activations\.py:\d+ in forward"
    ):
        trace(model_facts(load_config("tiny-31b")))


def test_only_nodes_of_the_graph_read_its_values():
    """Another reader, made and not put in, keeps alive what a pass has replaced."""
    module = Module(lambda x: torch.nn.functional.linear(x.unsqueeze(-1), module.weight))
    module.weight = torch.nn.Parameter(torch.ones(3, 1))
    graph = import_module(module).graph
    values = [*graph.inputs, *graph.initializers.values(), *(value for node in graph for value in node.outputs)]
    assert {use.node.graph for value in values for use in value.uses()} == {graph}
