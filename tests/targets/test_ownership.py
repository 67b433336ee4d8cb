"""Side folders: what is ours is told from what is not by what is in it, and nothing is reached through a link."""

import os
from pathlib import Path

import pytest

from g4compile.errors import BundleError
from g4compile.targets import staging as module
from g4compile.targets.ownership import MARKER, mark, may_go_on, remove
from g4compile.targets.staging import staging
from tests.processes import forked
from tests.targets.test_staging import files, small_bundle


def unfinished(side, journal="same\n"):
    side.mkdir()
    for name, content in ((MARKER, ""), ("journal", journal), ("weights.data", "half")):
        (side / name).write_text(content)
    return side


@pytest.mark.parametrize("act", [remove, mark])
@pytest.mark.parametrize("ours", [True, False])
def test_nothing_is_done_through_a_link(act, ours, tmp_path):
    """Whatever the link leads to: a folder of ours too."""
    victim = unfinished(tmp_path / "victim") if ours else small_bundle(tmp_path / "victim")
    (tmp_path / "link").symlink_to("victim")
    before = files(tmp_path)
    with pytest.raises(OSError, match=r"Not a directory|symbolic link"):
        act(tmp_path / "link")
    assert files(tmp_path) == before
    assert files(victim)


@pytest.mark.parametrize("put", ["link", "folder"])
@pytest.mark.parametrize("before", ["nothing", "unfinished"])
def test_a_side_folder_that_is_swapped_after_it_was_looked_at(put, before, tmp_path, monkeypatch):
    side, home = tmp_path / ".out.g4partial", tmp_path / "home"
    home.mkdir()
    (home / "thesis.txt").write_text("mine")
    if before == "unfinished":
        unfinished(side)
    look = module.may_go_on

    def swap(folder):
        found = look(folder)
        if before == "unfinished":
            folder.rename(tmp_path / "moved")
        folder.symlink_to("home") if put == "link" else home.rename(folder)
        return found

    monkeypatch.setattr(module, "may_go_on", swap)
    with (
        pytest.raises(BundleError),
        pytest.warns(UserWarning, match="could not be removed"),
        staging(tmp_path / "out", False, "same"),
    ):
        pytest.fail("work was begun")
    kept = side if put == "folder" else home
    assert files(kept) == {"thesis.txt": b"mine"}


def test_a_file_with_a_second_name_is_not_written_on(tmp_path):
    side = unfinished(tmp_path / ".out.g4partial")
    os.link(side / "weights.data", tmp_path / "victim")
    assert not may_go_on(side)
    with staging(tmp_path / "out", False, "same") as folder:
        assert [path.name for path in folder.iterdir()] == [MARKER]
    assert (tmp_path / "victim").read_text() == "half"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
def test_work_of_another_user_is_not_gone_on_with(tmp_path):
    side = unfinished(tmp_path / ".out.g4partial")
    assert may_go_on(side)
    os.chown(side, 65534, 65534)
    assert not may_go_on(side)


def test_of_unfinished_work_only_tensors_are_kept(tmp_path):
    """What else stands there would come into the bundle."""
    side = unfinished(tmp_path / ".out.g4partial")
    for name in ("tokenizer.json", "g4.json", "decoder.onnx"):
        (side / name).write_text("of an earlier try")
    with staging(tmp_path / "out", False, "same") as folder:
        assert sorted(path.name for path in folder.iterdir()) == [MARKER, "journal", "weights.data"]


@pytest.mark.parametrize("journal", [b"", b"\xff\xfe", b"same" * 10_000, b"other\nsame\n", b"\0" * 100])
def test_a_damaged_journal_means_a_fresh_start(journal, tmp_path):
    side = unfinished(tmp_path / ".out.g4partial")
    (side / "journal").write_bytes(journal)
    with staging(tmp_path / "out", False, "same") as folder:
        assert [path.name for path in folder.iterdir()] == [MARKER]
    assert files(tmp_path) == {}


def test_a_folder_that_cannot_be_removed_is_a_warning(tmp_path):
    """As another user, in a parent folder that may no longer be written."""

    def work():
        os.chdir(tmp_path)
        if os.geteuid() == 0:
            os.chown(tmp_path, 65534, 65534)
            os.setuid(65534)
        with pytest.warns(UserWarning, match="next compile to this place does"), staging(Path("out"), False):
            Path().chmod(0o555)

    assert forked(work) == 0
