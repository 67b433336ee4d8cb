"""Doubles as text, against Python's `repr`: the fewest digits that read back as the same double."""

from __future__ import annotations

import locale
import shutil
import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.native.rt.chat import Chat


@pytest.fixture(scope="module")
def chat(rt_built):
    return Chat(rt_built / "libg4rt_chat_parts.so")


@settings(max_examples=400, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
@example(sys.float_info.max)  # with fewer digits it would be infinite
@example(sys.float_info.min)
@example(5e-324)
@example(0.1 + 0.2)
@example(2.0**70)
def test_doubles_are_written_as_python_writes_them(chat, number):
    assert chat.shown(number) == repr(number)


@pytest.fixture
def commas(tmp_path, monkeypatch):
    """A locale with a decimal comma, made here: machines of tests have few."""
    made = tmp_path / "de_DE"
    command = ["localedef", "-i", "de_DE", "-f", "ISO-8859-1", str(made)]
    if not shutil.which("localedef") or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("this machine cannot make a locale: localedef, or its source of de_DE, is not there")
    monkeypatch.setenv("LOCPATH", str(tmp_path))
    before = locale.setlocale(locale.LC_NUMERIC)
    locale.setlocale(locale.LC_NUMERIC, made.name)
    yield
    locale.setlocale(locale.LC_NUMERIC, before)


def test_a_locale_with_a_comma_changes_nothing(chat, commas):
    assert locale.localeconv()["decimal_point"] == ","
    assert [chat.shown(number) for number in (1.5, 1.25e-7, 0.1, 1e22)] == ["1.5", "1.25e-07", "0.1", "1e+22"]
