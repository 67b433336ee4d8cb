"""Pass tests are the `*.onnxtxt` files beside this one: a graph, `RUN:` lines and `CHECK:` lines.

`RUN: opt %s -p "pass{option=value}"` checks the printed graph; `RUN: not opt ...` checks the error message of a
run that must fail. `filecheck` (PyPI) does the matching.
"""

import re
import shlex
from pathlib import Path

import pytest
from filecheck.finput import FInput
from filecheck.matcher import Matcher
from filecheck.options import Options
from filecheck.parser import Parser
from typer.testing import CliRunner

from g4compile.cli.app import app
from g4compile.targets.alone import known_passes

FILES = sorted(Path(__file__).parent.glob("*.onnxtxt"))
RUN = re.compile(r"RUN: (not )?opt %s (.*)")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_file(file):
    runs = [found for line in file.read_text().splitlines() if (found := RUN.search(line))]
    assert runs, "the file has no RUN line"
    for run in runs:
        result = CliRunner().invoke(app, ["opt", str(file), *shlex.split(run[2])])
        must_fail = bool(run[1])
        assert (result.exit_code != 0) == must_fail, result.output
        assert result.exit_code in (0, 2, 70) and "Traceback" not in result.output
        options = Options(match_filename=str(file))
        output = result.stderr if must_fail else result.stdout
        assert Matcher(options, FInput(str(file), output), Parser.from_opts(options)).run() == 0, output


def test_every_pass_has_a_match_and_a_reject_case():
    stems = [file.stem for file in FILES]
    for name in known_passes():
        assert any(stem.startswith(f"{name}.") and ".rejects" not in stem for stem in stems), name
        assert any(stem.startswith(f"{name}.rejects") for stem in stems), name


def test_a_check_that_does_not_hold_fails():
    """The driver is not vacuous."""
    file = FILES[0]
    options = Options(match_filename=str(file))
    assert Matcher(options, FInput(str(file), "nothing of the kind"), Parser.from_opts(options)).run() != 0
