"""Entries of the cache: used when whole and of this user alone, made again when damaged, and nothing else touched."""

import fcntl
import json
import os
import shutil
import warnings
from pathlib import Path

import pytest

from g4compile.errors import InputError
from g4compile.runtime.prepacked import prepacked

DIGEST, OTHER = "0123456789abcdef" * 4, "fedcba9876543210" * 4
HEADER = "g4compile-prepacked.json"


def fill(folder):
    (folder / "decoder.onnx").write_text("graph")
    (folder / "weights.data").write_bytes(b"weights" * 100)


def refill(folder):
    pytest.fail("filled again")


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def entry(cache):
    return prepacked(cache, DIGEST, fill)


@pytest.fixture
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def mode(path):
    return path.stat().st_mode & 0o777


def test_what_is_made_is_private_and_found_again(cache, quiet):
    old = os.umask(0o002)  # as of many systems: groups may write
    try:
        entry = prepacked(cache, DIGEST, fill)
    finally:
        os.umask(old)
    assert [mode(path) for path in (cache, entry)] == [0o700, 0o700]
    assert {mode(file) for file in entry.iterdir() if file.name != HEADER} == {0o600}
    assert prepacked(cache, DIGEST, refill) == entry == cache / f"prepacked-{DIGEST[:16]}"
    assert (entry / "weights.data").read_bytes() == b"weights" * 100


def overwrite(content):
    return lambda entry: (entry / "weights.data").write_bytes(content)


def set_header(**fields):
    def damage(entry):
        header = json.loads((entry / HEADER).read_text())
        (entry / HEADER).write_text(json.dumps({**header, **fields}))

    return damage


def keep_times(damage):
    """The times that a program can set are those of before; that of the change itself is the system's."""

    def change(entry):
        before = (entry / "weights.data").stat()
        damage(entry)
        os.utime(entry / "weights.data", ns=(before.st_atime_ns, before.st_mtime_ns))

    return change


DAMAGES = [
    (overwrite(b"weights" * 99), "700"),
    (overwrite(b"weighty" * 100), "content of weights.data has changed"),
    (keep_times(overwrite(b"weighty" * 100)), "content of weights.data has changed"),
    (lambda entry: (entry / "decoder.onnx").write_text("grapH"), "content of decoder.onnx has changed"),
    (lambda entry: (entry / "weights.data").unlink(), "its header says decoder.onnx, weights.data"),
    (lambda entry: (entry / "more.onnx").write_text(""), "it has the files decoder.onnx, more.onnx"),
    (lambda entry: (entry / HEADER).write_text(""), "not valid JSON"),
    (lambda entry: (entry / HEADER).write_text("[1]"), "Expected `object`"),
    (lambda entry: (entry / HEADER).write_bytes(b"{" * 70_000), "more than the 65,536"),
    (set_header(digest=OTHER), "made for another bundle"),
    (set_header(files={}), "its header says"),
    (set_header(files={"../x": {"bytes": 1, "sha256": "", "marks": [1, 2, 3]}}), "its header says"),
]


@pytest.mark.parametrize(("damage", "why"), DAMAGES)
def test_a_damaged_entry_is_said_and_made_again(cache, entry, damage, why):
    damage(entry)
    with pytest.warns(UserWarning, match="was damaged, and is made again") as said:
        assert prepacked(cache, DIGEST, fill) == entry
    assert len(said) == 1 and why in str(said[0].message)
    assert (entry / "weights.data").read_bytes() == b"weights" * 100 and not (entry / "more.onnx").exists()
    assert prepacked(cache, DIGEST, refill) == entry


def test_a_copied_entry_is_read_once_and_kept(cache, entry, monkeypatch, quiet):
    """Another inode and other times, the same content: as behind a backup, or in the image of a container."""
    shutil.copytree(cache, cache.with_name("copy"))
    shutil.rmtree(cache)
    cache.with_name("copy").rename(cache)
    assert prepacked(cache, DIGEST, refill) == entry
    read = []
    monkeypatch.setattr("g4compile.runtime.prepacked._sha256", lambda file: read.append(file.name) or sha256_of(file))
    assert prepacked(cache, DIGEST, refill) == entry
    assert read == ["decoder.onnx"]  # the large file is known by its marks again


def sha256_of(file):
    return json.loads((file.parent / HEADER).read_text())["files"][file.name]["sha256"]


@pytest.mark.parametrize(
    "make",
    [
        Path.touch,
        os.mkfifo,
        Path.mkdir,
        lambda path: (path.mkdir(), (path / "notes.txt").write_text("mine")),
        lambda path: (path.mkdir(), (path / HEADER).mkdir()),
        lambda path: (path.mkdir(), os.mkfifo(path / HEADER)),
        lambda path: path.symlink_to(prepacked(path.parent.parent / "real", DIGEST, fill)),
        lambda path: path.symlink_to("nothing"),
        lambda path: (prepacked(path.parent, DIGEST, fill), path.chmod(0o770)),
        pytest.param(
            lambda path: (prepacked(path.parent, DIGEST, fill), os.chown(path, 1234, 1234)),
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away"),
        ),
        lambda path: (prepacked(path.parent, DIGEST, fill), (path / "notes.txt").write_text("mine")),
    ],
)
def test_what_is_not_ours_is_neither_used_nor_deleted(cache, make):
    cache.mkdir(mode=0o700)
    path = cache / f"prepacked-{DIGEST[:16]}"
    make(path)
    before = sorted(cache.rglob("*"))
    with pytest.raises(InputError) as refused, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepacked(cache, DIGEST, refill)
    assert path.name in str(refused.value)
    assert sorted(cache.rglob("*")) == before
    prepacked(cache, OTHER, fill)  # and one that replaces all others
    assert [file for file in before if not os.path.lexists(file)] == []


@pytest.mark.parametrize("make", [Path.touch, os.mkfifo, lambda path: path.symlink_to("nothing")])
def test_a_cache_that_is_no_folder(cache, make):
    make(cache)
    with pytest.raises((InputError, OSError)):
        prepacked(cache, DIGEST, refill)
    assert os.path.lexists(cache) and not cache.is_dir()


def test_a_cache_that_others_can_write(cache):
    cache.mkdir()
    cache.chmod(0o777)
    with pytest.raises(InputError, match="other users can write to") as refused:
        prepacked(cache, DIGEST, refill)
    assert refused.value.fix == f"chmod go-w {cache}"


def test_a_link_to_a_folder_of_ones_own(cache, tmp_path, quiet):
    (tmp_path / "disk").mkdir(mode=0o700)
    cache.symlink_to(tmp_path / "disk")
    prepacked(cache, DIGEST, fill)
    assert prepacked(cache, DIGEST, refill).parent == cache


def test_only_entries_of_ours_are_replaced(cache, entry):
    others = [cache / name for name in ("prepacked-notes", "prepacked-0123", "notes.txt", ".filling-mine")]
    for other in others:
        other.mkdir()
        (other / HEADER).write_text("{}" if other.name != ".filling-mine" else "")
    (cache / ".filling-mine" / HEADER).unlink()
    new = prepacked(cache, OTHER, fill)
    assert sorted(cache.iterdir()) == sorted([*others, new])


def test_what_a_killed_fill_left_is_deleted_and_what_is_at_work_is_not(cache):
    cache.mkdir(mode=0o700)
    for name in (".filling-dead", ".filling-alive"):
        (cache / name).mkdir(mode=0o700)
        (cache / name / HEADER).touch()
        (cache / name / "weights.data").touch()
    with (cache / ".filling-alive" / HEADER).open() as header:
        fcntl.flock(header, fcntl.LOCK_EX)
        prepacked(cache, DIGEST, fill)
    assert sorted(path.name for path in cache.iterdir()) == [".filling-alive", f"prepacked-{DIGEST[:16]}"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), InputError("refused")])
def test_a_fill_that_fails_leaves_nothing(cache, error):
    def fails(folder):
        fill(folder)
        raise error

    with pytest.raises(type(error)):
        prepacked(cache, DIGEST, fails)
    assert list(cache.iterdir()) == []
