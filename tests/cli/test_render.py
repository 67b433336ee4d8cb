"""What a terminal shows and a pipe does not: progress, colour."""

import io

import pytest

from g4compile.cli.render import messages
from g4compile.cli.render.progress import progress
from g4compile.cli.render.sizes import size
from g4compile.errors import InputError


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Makes stdout and stderr one wide terminal. Called in the test, because pytest sets both before it."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def begin():
        shown = Terminal()
        monkeypatch.setattr("sys.stderr", shown)
        monkeypatch.setattr("sys.stdout", shown)
        return shown

    return begin


def test_progress_shows_step_elapsed_and_remaining(terminal):
    shown = terminal()
    with progress("verify") as report:
        report("prefill", 2, 5)
    for text in ("step 2 of 5", "prefill", "elapsed", "remaining"):
        assert text in shown.getvalue()


def test_progress_of_bytes(terminal):
    shown = terminal()
    with progress("compile", counts_bytes=True) as report:
        report("step 3 of 3: write: layers.0", 1_500_000, 3_000_000)
    assert "1.5 MB of 3.0 MB" in shown.getvalue() and "step 3 of 3" in shown.getvalue()


def test_a_narrow_terminal_cuts_the_name_and_no_number(terminal, monkeypatch):
    shown = terminal()
    monkeypatch.setenv("COLUMNS", "80")
    with progress("compile", counts_bytes=True) as report:
        report("step 2 of 2: weights: model.language_model.layers.11.self_attn.v_proj.weight", 10**9, 10**10)
    for text in ("1.0 GB of 10.0 GB", "elapsed", "remaining", "step 2 of 2"):
        assert text in shown.getvalue()


def test_long_steps_stay_on_the_screen(terminal, monkeypatch):
    shown = terminal()
    monkeypatch.setattr("g4compile.cli.render.progress._WORTH_KEEPING", 0)
    with progress("compile") as report:
        for text in ("step 1 of 2: trace", "step 2 of 2: passes: a", "step 2 of 2: passes: b"):
            report(text)
    kept = shown.getvalue()
    assert kept.count("step 1 of 2: trace  0.0 s") == kept.count("step 2 of 2: passes  0.0 s") == 1


def test_a_pipe_gets_no_progress(capsys):
    with progress("compile") as report:
        report("step 1 of 3: trace")
        report("write", 1, 2)
    assert capsys.readouterr() == ("", "")


def test_errors_and_verdicts_are_coloured_on_a_terminal(terminal, monkeypatch):
    shown = terminal()
    messages.error(InputError("wrong", fix="right"))
    messages.verdict(True, "equal")
    messages.verdict(False, "NOT equal")
    text = shown.getvalue()
    assert "\x1b[1;31merror:\x1b[0m wrong" in text and "try: right" in text
    assert "\x1b[1;32mequal\x1b[0m" in text and "\x1b[1;31mNOT equal\x1b[0m" in text
    monkeypatch.setenv("NO_COLOR", "1")
    shown.truncate(0)
    messages.error(InputError("wrong"))
    assert "\x1b" not in shown.getvalue()


def test_errors_and_verdicts_are_plain_in_a_pipe(capsys):
    messages.error(InputError("[wrong]", where="here"))
    messages.verdict(True, "equal")
    assert capsys.readouterr() == ("equal\n", "error: [wrong]\n  where: here\n")


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_234_567, "1.2 MB")])
def test_sizes(count, text):
    assert size(count) == text
