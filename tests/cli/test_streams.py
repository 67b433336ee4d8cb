"""Streams that are closed, full or read by nobody: an exit code that says it, one message, no traceback, and no file
written by mistake."""

import errno
import json
import os
import shlex
import subprocess
import sys
import tempfile

import pytest
import typer

from g4compile.cli.render.messages import error as show_error
from g4compile.cli.verb import Answer, verb
from g4compile.errors import InputError

INSPECT = "inspect tiny-e2b"


def shell(line, **options):
    """Run ``line`` in a shell in which G4 is the command; its exit code is that of the first part of a pipe."""
    command = f'set -o pipefail; G4() {{ {shlex.quote(sys.executable)} -P -m g4compile "$@"; }}; {line}'
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=600, check=False, **options)


FULL = "the system failed while writing the result"
CASES = {
    f"G4 {INSPECT} > /dev/full": (3, FULL),
    f"G4 {INSPECT} --json > /dev/full": (3, FULL),
    "G4 run --help > /dev/full": (3, FULL),
    f"G4 {INSPECT} >&-": (0, ""),
    f"G4 {INSPECT} --json >&- 2>&- <&-": (0, ""),
    "G4 inspect nothing 2>&-": (2, ""),
    "G4 inspect nothing 2> /dev/full": (2, ""),
    f"G4 {INSPECT} --json | true": (141, ""),
    "G4 --help | true": (141, ""),
    "G4 opt - -p canonicalize-dead-code <&-": (2, "stdin is empty"),
}


@pytest.mark.parametrize("line", CASES)
def test_a_stream_that_is_closed_full_or_not_read(line):
    code, words = CASES[line]
    done = shell(line)
    assert done.returncode == code, done.stderr
    assert words in done.stderr and "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    assert bool(done.stderr) == bool(words), "a word too many"


def test_a_file_does_not_get_the_number_of_a_closed_stdout(tmp_path):
    """What is printed would be written into it."""
    opens = "from g4compile.cli.app import app; import g4compile.cli.verbs.inspect as one\n" + (
        "import os; from g4compile.planning import describe\n"
        f"describe.is_bundle = lambda path: bool(open({str(tmp_path / 'data')!r}, 'w').fileno() < 3) and os._exit(9)\n"
        "app(['inspect', 'tiny-e2b'])"
    )
    done = shell(f"{shlex.quote(sys.executable)} -P -c {shlex.quote(opens)} >&- 2>&- <&-")
    assert done.returncode == 0 and (tmp_path / "data").read_bytes() == b""


def test_what_the_locale_cannot_say_is_printed(tmp_path):
    named = tmp_path / "modèle.json"
    done = shell(f"G4 inspect {named}", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 2 and "mod\\xe8le.json" not in done.stderr and "modèle.json" in done.stderr
    other = os.fsdecode(bytes(tmp_path) + b"/\xff.json")
    done = shell(f"G4 inspect {shlex.quote(other)} --json")
    assert done.returncode == json.loads(done.stdout)["exit_code"] == 2


def test_messages_cannot_drive_a_terminal(capsys):
    show_error(InputError("a key is \x1b[2J\r\x9b5n\u202e", why="two\nlines"))
    assert capsys.readouterr().err == "error: a key is \\x1b[2J\\r\\x9b5n\\u202e\n  why: two\nlines\n"


def _ends(problem, capsys):
    @verb
    def work(as_json: bool = False) -> Answer:
        """A verb."""
        raise problem

    with pytest.raises(typer.Exit) as end:
        work()
    return end.value.exit_code, capsys.readouterr().err


def test_errors_that_no_reader_expected_are_the_machines_or_the_paths(capsys):
    code, said = _ends(OSError(errno.EIO, "Input/output error", "weights.data"), capsys)
    assert code == 3 and "the work of work" in said and "weights.data" in said
    code, said = _ends(PermissionError(errno.EACCES, "Permission denied", "/root/x"), capsys)
    assert code == 2 and "/root/x" in said and "permissions" in said
    code, said = _ends(MemoryError("Unable to allocate 9 TiB"), capsys)
    assert code == 3 and "9 TiB" in said


def test_a_defect_leaves_its_traceback_in_a_file_or_in_the_message(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code, said = _ends(ZeroDivisionError("by zero"), capsys)
    (file,) = tmp_path.iterdir()
    assert code == 70 and str(file) in said and "ZeroDivisionError: by zero" in file.read_text()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    code, said = _ends(ZeroDivisionError("by zero"), capsys)
    assert code == 70 and "why: Traceback" in said and "raise problem" in said
