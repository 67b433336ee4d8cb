"""A cache folder in any state: the logits are those without a cache, and nothing that others put there is lost."""

import os
import random
import shutil
import warnings

import numpy as np
import pytest

from tests.fuzz.bundles import logits_of, seeds_for
from tests.fuzz.mutate import mutate_bytes, several

MINE = ("notes.txt", "prepacked-notes/text.txt", "prepacked-0000000000000000/text.txt")


def put_mine(cache):
    for name in MINE:
        (cache / name).parent.mkdir(exist_ok=True, mode=0o700)
        (cache / name).write_text("mine")


def damage(chance, entry):
    """One change to one file of the entry, or to the entry."""
    file = chance.choice(sorted(entry.iterdir()))
    match chance.randrange(8):
        case 0:
            file.unlink()
        case 1:
            (entry / f"more{file.suffix}").write_bytes(b"more")
        case 2:
            os.truncate(file, chance.randrange(file.stat().st_size))
        case 3:
            file.rename(chance.choice(sorted(entry.iterdir())))
        case _:
            before = file.stat()
            file.write_bytes(several(chance, mutate_bytes, file.read_bytes()))
            os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def run(source, cache, seeds):
    whole = logits_of(source)
    logits_of(source, cache)
    (entry,) = cache.iterdir()
    put_mine(cache)
    for seed in seeds:
        damage(random.Random(seed), entry)
        with warnings.catch_warnings(record=True) as said:
            np.testing.assert_array_equal(logits_of(source, cache), whole, err_msg=f"seed {seed}")
        assert all((cache / name).read_text() == "mine" for name in MINE)
        if any("cannot be used" in str(warning.message) for warning in said):  # it is nobody's to replace now
            shutil.rmtree(entry)
            logits_of(source, cache)


def test_damaged_entries(bundles, tmp_path):
    run(bundles("tiny-e2b").folder, tmp_path / "cache", range(20))


def test_damaged_entries_of_int8_kv(int8_kv, tmp_path):
    run(int8_kv.folder, tmp_path / "cache", range(20, 30))


@pytest.mark.nightly
def test_damaged_entries_for_a_minute(bundles, tmp_path):
    run(bundles("tiny-e2b").folder, tmp_path / "cache", seeds_for(60))
