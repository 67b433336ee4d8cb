"""Every `raise` and every `expect` of a pass is reached by a reject case: a text here, or one of `test_rejects`."""

from __future__ import annotations

import shlex

import pytest

from g4compile.errors import G4Error, InputError, MatchError
from g4compile.passes.base import expect
from g4compile.targets.alone import run_on_text
from tests.passes.reached import files_of_passes, not_reached, places_of, refusals_in
from tests.passes.test_filecheck import FILES, RUN
from tests.passes.test_rejects import CASES


def _texts():
    """(text, pass list) of every run that must fail."""
    for file in FILES:
        source = file.read_text()
        for run in RUN.finditer(source):
            if run[1]:
                yield source, shlex.split(run[2])[-1]


def test_every_refusal_of_a_pass_is_reached_by_a_reject_case():
    reached = set()
    for source, passes in _texts():
        with pytest.raises(G4Error) as error:
            run_on_text(source, passes)
        reached |= places_of(error.value)
    for case in CASES.values():
        with pytest.raises(G4Error) as error:
            case.run()
        reached |= places_of(error.value)
    missing = not_reached(files_of_passes(), reached)
    assert not missing, "no reject case reaches\n" + "\n".join(missing)


def test_a_refusal_that_no_case_reaches_is_named(tmp_path):
    """The check is not vacuous."""
    file = tmp_path / "one.py"
    file.write_text("def f(x):\n    if x:\n        raise InputError(\n            'a')\n    raise MatchError('b')\n")
    assert refusals_in(file.read_text()) == [(3, 4), (5, 5)]
    assert not_reached([file], {(str(file), 3)}) == ["one.py:5: raise MatchError('b')"]
    assert not_reached([file], {(str(file), 4), (str(file), 5)}) == []


def test_places_are_those_an_error_came_through():
    with pytest.raises(MatchError) as error:
        expect("a-pass", "sites", 1, 2, "none is left")
    assert any(file.endswith("passes/base.py") for file, _ in places_of(error.value))
    assert places_of(InputError("never raised")) == set()
