"""Graphs and options that passes refuse, where a text beside this file cannot say it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx_ir as ir
import pytest

from g4compile.errors import Defect, G4Error, InputError
from g4compile.ops.schema import DOMAIN
from g4compile.passes.base import parse_pipeline
from g4compile.targets.alone import known_passes
from g4compile.targets.onnx.cuda.lower_to_launches import kernels_of


@dataclass(frozen=True)
class Case:
    """``run`` raises ``kind``, whose message has ``words``."""

    run: Callable[[], object]
    kind: type[G4Error]
    words: str


def _list(text: str, words: str) -> Case:
    return Case(lambda: parse_pipeline(text, known_passes()), InputError, words)


def _two_kernels_of_one_name() -> object:
    """Of nodes that differ in what no name of a kernel says."""
    sizes = (("batch", "new", 128), ("batch", "new", 128), (64,))
    inputs = [ir.Value(name=f"x{index}", shape=ir.Shape(size)) for index, size in enumerate(sizes)]
    fixed = {"projection_scale": 0.125, "scale": 1.0}
    made = ({**fixed, "epsilon": epsilon} for epsilon in (1e-6, 1e-5))
    return kernels_of([ir.node("PerLayerInputs", inputs, attributes, domain=DOMAIN) for attributes in made])


CASES = {
    "empty list": _list("", "the pass list is empty"),
    "unreadable list": _list(
        "canonicalize-geglu; legalize", "cannot read the pass list at 'canonicalize-geglu; legalize'"
    ),
    "unknown pass": _list("canonicalise-geglu", "there is no pass canonicalise-geglu"),
    "unknown option": _list("canonicalize-geglu{gate=1}", "pass canonicalize-geglu has no option 'gate=1'"),
    "option without a value": _list("canonicalize-geglu{gates}", "pass canonicalize-geglu has no option 'gates'"),
    "option that is no number": _list(
        "canonicalize-geglu{gates=two}", "option gates of pass canonicalize-geglu must be an integer, found 'two'"
    ),
    "two kernels of one name": Case(_two_kernels_of_one_name, Defect, "two kernels are named per_layer_inputs.64"),
}


@pytest.mark.parametrize("name", CASES)
def test_is_refused(name):
    case = CASES[name]
    with pytest.raises(G4Error) as error:
        case.run()
    assert type(error.value) is case.kind
    assert case.words in str(error.value)
