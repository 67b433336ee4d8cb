"""The public names: each is what it says, however and however often it is asked for."""

import itertools
import pkgutil
import subprocess
import sys

import pytest

import g4compile

NAMES = ["Bundle", "Prompt", "Session", "compile", "load", "plan", "verify"]
# Imported before the names are asked for: modules whose import sets attributes of g4compile on the way.
SUBMODULES = [
    "g4compile.bundle.manifest",
    "g4compile.cli.app",
    "g4compile.cli.verbs.compile",
    "g4compile.cli.verbs.plan",
    "g4compile.cli.verbs.verify",
    "g4compile.compare.verify",
    "g4compile.compiler",
    "g4compile.planning.plan",
    "g4compile.runtime.session",
]
# Each name twice, by attribute and by import, before and after modules were imported by their own names.
ASK = """
import importlib, sys, types
import g4compile
submodules, names = (argument.split(",") for argument in sys.argv[1:3])
first = {}
def ask():
    for name in names:
        scope = {}
        exec(f"from g4compile import {name}", scope)
        for found in (scope[name], getattr(g4compile, name)):
            assert callable(found) and not isinstance(found, types.ModuleType), (name, found)
            assert found is first.setdefault(name, found), name
ask()
ask()
for submodule in submodules:
    importlib.import_module(submodule)
    ask()
"""
# Each function is called twice, with an input that it refuses before it does any work.
CALL = """
import g4compile
from g4compile import Bundle, Session, compile, load, plan, verify
from g4compile.errors import InputError
calls = [
    lambda f: f(sys.argv[1], "no-target", sys.argv[1]), lambda f: f(sys.argv[1]), lambda f: f("e2b", "no-target"),
    lambda f: f(sys.argv[1], sys.argv[1]),
]
import sys
for _ in range(2):
    for name, imported, call in zip(("compile", "load", "plan", "verify"), (compile, load, plan, verify), calls):
        for function in (imported, getattr(g4compile, name)):
            try:
                call(function)
            except InputError:
                continue
            raise SystemExit(f"{name} took what it should refuse")
    assert g4compile.plan("tiny-e2b").parameters == plan("tiny-e2b").parameters > 0
"""


def python(code, *arguments):
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_public_surface():
    assert sorted(g4compile.__all__) == NAMES
    for name in g4compile.__all__:
        assert getattr(g4compile, name).__doc__


def test_no_module_has_a_public_name():
    """An import of such a module would put it where the function was: `g4compile.NAME` works once, and then never."""
    modules = {module.name for module in pkgutil.iter_modules(g4compile.__path__)}
    assert not modules & set(g4compile.__all__)


@pytest.mark.parametrize("names", [NAMES, NAMES[::-1]], ids=["in-order", "reversed"])
def test_every_name_twice_both_ways(names):
    python(ASK, ",".join(SUBMODULES), ",".join(names))


def test_every_order_gives_the_same():
    """In one process: what was asked for before does not change what a name is."""
    for order in itertools.permutations(NAMES):
        for name in order:
            scope = {}
            exec(f"from g4compile import {name}", scope)
            assert scope[name] is getattr(g4compile, name)
            assert type(scope[name]).__name__ != "module"


def test_functions_can_be_called_twice(tmp_path):
    python("import sys\n" + CALL, str(tmp_path / "nowhere"))


def test_a_name_that_does_not_exist():
    with pytest.raises(AttributeError, match="chat"):
        g4compile.chat  # noqa: B018
