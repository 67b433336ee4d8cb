"""Code of the current folder is not run: it may be a downloaded checkpoint that holds a `torch.py`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

NAMES = (
    "cuda", "fnmatch", "functools", "g4compile",
    "huggingface_hub", "jinja2", "json", "ml_dtypes", "msgspec", "numpy", "onnx",
    "onnx_ir", "onnxruntime", "platform", "polygraphy", "random", "rich", "safetensors", "sitecustomize", "statistics",
    "sympy", "tempfile", "tensorrt", "tensorrt_rtx", "tokenizers", "torch", "transformers", "triton", "typer", "typing",
    "usercustomize",
)  # fmt: skip
# As the installed command, whose own folder is first on the path. Each verb ends with SystemExit.
ALL = """
import sys
from g4compile.cli.app import app
for line in sys.argv[1].split(";"):
    try:
        app(line.split())
    except SystemExit as end:
        print(line, end.code, file=sys.stderr)
"""


@pytest.fixture
def hostile(tmp_path, bundles):
    """A folder whose modules all leave a file when they run; a bundle and a graph in it."""
    folder = tmp_path / "downloaded"
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.py").write_text(
            f"open({str(tmp_path / 'ran')!r}, 'a').write('{name} ')\nraise ImportError\n"
        )
    (folder / "torch").mkdir()
    (folder / "torch" / "__init__.py").write_text((folder / "torch.py").read_text())
    (folder / "bundle").symlink_to(bundles("tiny-31b").folder)
    return folder


def ran(folder, *command):
    """What the command said, and the modules of ``folder`` that ran while it was the current one."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if Path(entry).is_absolute()),
    }
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    file = folder.parent / "ran"
    return done, file.read_text() if file.exists() else ""


def all_verbs(hostile, *lines):
    script = hostile.parent / "bin" / "g4compile"
    script.parent.mkdir()
    script.write_text(ALL)
    done, modules = ran(hostile, sys.executable, str(script), ";".join(lines))
    ends = {line.split()[0]: line.split()[-1] for line in done.stderr.splitlines() if line in [
        f"{one} {line.rsplit(' ', 1)[-1]}" for one in lines]}  # fmt: skip
    assert modules == "" and ends == {one.split()[0]: "0" for one in lines}, done.stderr


def test_the_command_runs_nothing_of_the_current_folder(hostile):
    all_verbs(
        hostile,
        "inspect bundle",
        "run bundle --ids 2,5 --max-new-tokens 1",
        "bench bundle --prompt-tokens 2 --new-tokens 1 --repeats 1",
        "plan tiny-e2b --target onnx-cpu",
    )


@pytest.mark.nightly
def test_no_verb_runs_anything_of_the_current_folder(hostile):
    all_verbs(
        hostile,
        "doctor",
        "synth tiny-31b -o checkpoint",
        "compile checkpoint --target onnx-cpu -o made",
        "verify made --against checkpoint --prompt-tokens 4 --new-tokens 1",
        "inspect checkpoint --graph traced",
    )
    text = subprocess.run(
        [sys.executable, "-P", "-m", "g4compile", "inspect", "checkpoint", "--graph", "traced"],
        cwd=hostile, capture_output=True, check=True,
    ).stdout  # fmt: skip
    (hostile / "graph").write_bytes(text)
    (hostile.parent / "bin" / "g4compile").unlink()
    (hostile.parent / "bin").rmdir()
    all_verbs(hostile, "opt graph -p canonicalize-constants")


def test_the_module_takes_the_current_folder_off_its_path(hostile):
    """But for what Python itself imports before ours, and a `g4compile` there: see `-P`."""
    command = [sys.executable, "-P", "-m", "g4compile", "inspect", "bundle", "--json"]
    done, modules = ran(hostile, *command)
    assert done.returncode == 0 and modules == "", done.stderr + modules
    first = subprocess.run(
        [sys.executable, "-I", "-c", "import runpy, sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    for name in ("g4compile", *first):
        (hostile / f"{name}.py").unlink(missing_ok=True)
    command.remove("-P")
    done, modules = ran(hostile, *command)
    assert done.returncode == 0 and modules == "", done.stderr + modules
    assert len(list(hostile.glob("*.py"))) > 20
