"""The tests of this folder once more, with libraries that check every read."""

from __future__ import annotations

import pytest

from tests.native.test_toolchains import run_under_the_address_sanitizer


@pytest.mark.nightly
def test_media_under_the_address_sanitizer(tmp_path):
    tests = ("rt/test_media.py", "rt/test_placeholders.py")
    run_under_the_address_sanitizer(tmp_path, ["g4rt_media_parts"], tests, G4RT_BUILD=str(tmp_path))


@pytest.mark.nightly
def test_text_under_the_address_sanitizer(tmp_path):
    """Damaged tables above all."""
    tests = ("rt/test_malformed_tables.py", "rt/test_splitter.py", "rt/test_tokenizer.py")
    options = ("-k", "not hugging_face and not of_a_bundle")  # long, and a process of its own, which is not checked
    run_under_the_address_sanitizer(tmp_path, ["g4rt_text_parts"], tests, *options, G4RT_BUILD=str(tmp_path))
