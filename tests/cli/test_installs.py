"""What a runtime install can do, what it says of the rest, and what `doctor` makes of any install."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

import g4compile
from g4compile.cli.app import app
from g4compile.requirements import REQUIREMENTS, install_kind

COMPILER = "torch,transformers,onnx,onnx_ir,ml_dtypes,safetensors"
INSTALL = "pip install 'g4compile[compile]'"
# The modules named first are hidden, as if they were not installed; the rest is the program's arguments.
HIDE = """
import sys
hidden = set(sys.argv.pop(1).split(","))
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name in hidden or name.split(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hide())
"""
RUN = "from g4compile.cli.app import app\napp(sys.argv[1:])"
# Several command lines in one process, as JSON: what each gives.
RUN_ALL = """
import json
from typer.testing import CliRunner
from g4compile.cli.app import app
results = [CliRunner().invoke(app, given) for given in json.loads(sys.argv[1])]
print(json.dumps([[result.exit_code, result.stdout, result.stderr] for result in results]))
"""


def without(hidden, code, *arguments):
    command = [sys.executable, "-c", HIDE + code, hidden, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def run_without(hidden, *commands):
    done = without(hidden, RUN_ALL, json.dumps([[str(word) for word in command] for command in commands]))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_runtime_install_runs_a_bundle(bundles):
    folder = bundles("tiny-31b").folder
    commands = (
        ["run", folder, "--prompt", "Hi", "--max-new-tokens", 2],
        ["bench", folder, "--prompt-tokens", 2, "--new-tokens", 1, "--repeats", 1],
        ["inspect", folder],
        ["inspect", "e2b"],
        ["doctor", "--strict"],
    )
    for code, stdout, stderr in run_without(COMPILER, *([*command, "--json"] for command in commands)):
        assert code == 0 and json.loads(stdout), stdout + stderr


@pytest.mark.parametrize("hidden", [COMPILER, "torch", "onnx"])
def test_verbs_that_compile_name_the_command(hidden, bundles, checkpoints, tmp_path):
    checkpoint, bundle = checkpoints("tiny-31b").folder, bundles("tiny-31b").folder
    graph, out = tmp_path / "graph.onnxtxt", tmp_path / "out"
    graph.write_text("text")
    commands = [
        ["compile", checkpoint, "--target", "onnx-cpu", "-o", out],
        ["verify", bundle, "--against", checkpoint],
        ["plan", "e2b", "--target", "onnx-cpu"],
        ["synth", "tiny-31b", "-o", out],
        ["inspect", "e2b", "--graph", "fused"],
        ["opt", graph, "-p", "canonicalize-dead-code"],
        *([["inspect", checkpoint]] if hidden == COMPILER else []),  # reads headers, for which safetensors is enough
    ]
    for command, (code, stdout, stderr) in zip(commands, run_without(hidden, *commands), strict=True):
        assert code == 3 and INSTALL in stderr and not stdout, f"{command}: {stderr}"
    assert not out.exists()


def test_public_functions_that_compile_name_the_command():
    code = (
        "from g4compile.errors import MachineError\n"
        "import g4compile\n"
        "for name in ('compile', 'plan', 'verify'):\n"
        "    for ask in (f'from g4compile import {name}', f'g4compile.{name}'):\n"
        "        try:\n            exec(ask)\n"
        "        except MachineError as error:\n            print(error.fix)\n"
    )
    assert without("torch", code).stdout.splitlines() == [INSTALL] * 6


def test_a_runtime_install_loads_by_the_api(bundles):
    code = "import g4compile as g\nprint(g.load(sys.argv[1]).forward([2, 5]).shape, g.Bundle, g.Session)"
    assert without(COMPILER, code, bundles("tiny-31b").folder).stdout.startswith("(1, ")


@pytest.mark.parametrize(
    ("hidden", "kind", "missing"),
    [
        ("none", "compile", []),
        (COMPILER, "runtime", []),
        ("torch", "broken", ["torch"]),
        ("jinja2", "broken", ["jinja2"]),
    ],
)
def test_doctor_tells_installs_apart(hidden, kind, missing):
    done = without(hidden, RUN, "doctor", "--strict", "--json")
    found = json.loads(done.stdout)
    assert found["install"] == kind and list(found["fixes"]) == missing
    assert done.returncode == (3 if missing else 0)
    assert found["targets"].get("onnx-cpu", False) is (kind == "compile")
    for module in missing:
        assert found["packages"][module] is None and module in found["fixes"][module]


def test_doctor_of_a_runtime_install_says_how_to_get_the_rest():
    shown = without(COMPILER, RUN, "doctor").stdout
    assert "runs ONNX bundles" in shown and INSTALL in shown and "missing" not in shown and "fix:" not in shown


def test_doctor_asks_for_the_module_that_is_imported(tmp_path):
    """`cuda.bindings` is there, and no distribution of it: a module counts, however it came."""
    (tmp_path / "cuda" / "bindings").mkdir(parents=True)
    (tmp_path / "cuda" / "bindings" / "__init__.py").write_text("")
    code = f"sys.path.insert(0, {str(tmp_path)!r})\n{RUN}"
    assert json.loads(without("none", code, "doctor", "--json").stdout)["optional"]["cuda.bindings"] == "unknown"
    code = "import importlib.metadata as m\nold = m.version\n"
    code += "m.version = lambda name: '13.1' if name == 'cuda-python' else old(name)\n" + RUN
    assert json.loads(without("cuda", code, "doctor", "--json").stdout)["optional"]["cuda.bindings"] is None


def test_this_install_is_whole():
    found = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)
    assert found["targets"]["onnx-cpu"] and not found["fixes"] and found["install"] == install_kind() == "compile"


def test_lowest_versions_are_those_of_pyproject():
    project = tomllib.loads((Path(g4compile.__file__).parents[1] / "pyproject.toml").read_text())["project"]
    lines = {"": project["dependencies"], **project["optional-dependencies"]}
    for one in REQUIREMENTS:
        names = [line for line in lines[one.extra] if any(line.startswith(f"{name}>=") for name in one.distributions)]
        assert len(names) == 1, one
        lowest = names[0].partition(">=")[2].partition(",")[0]
        assert [*lowest.split("."), "0"][:2] == one.lowest.split("."), one


def test_what_compiling_needs_has_tested_upper_bounds():
    project = tomllib.loads((Path(g4compile.__file__).parents[1] / "pyproject.toml").read_text())["project"]
    for line in project["optional-dependencies"]["compile"]:
        assert ",<" in line, line
