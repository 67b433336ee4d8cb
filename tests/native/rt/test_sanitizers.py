"""The tests of this folder once more, with libraries that check every read."""

from __future__ import annotations

import pytest

from tests.native.test_toolchains import run_under_the_address_sanitizer


@pytest.mark.nightly
def test_media_under_the_address_sanitizer(tmp_path):
    library = str(tmp_path / "libg4rt_media_parts.so")
    tests = ("rt/test_media.py", "rt/test_placeholders.py")
    run_under_the_address_sanitizer(tmp_path, ["g4rt_media_parts"], tests, G4RT_MEDIA_PARTS=library)
