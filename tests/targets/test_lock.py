"""The lock of an output: one compile at a time, and nothing of others is followed, truncated, waited for or deleted."""

import os
import threading

import pytest

from g4compile.errors import BundleError
from g4compile.targets.lock import _is_still, locked
from g4compile.targets.staging import staging
from tests.processes import forked
from tests.targets.test_staging import files, refused, refused_quietly


@pytest.mark.parametrize(
    "make",
    [
        lambda lock: lock.symlink_to("victim"),
        lambda lock: lock.symlink_to("nothing"),
        lambda lock: lock.mkdir(),
        lambda lock: lock.write_text("mine"),
    ],
)
def test_a_lock_that_is_not_ours(make, tmp_path):
    (tmp_path / "victim").write_text("mine")
    make(tmp_path / ".out.g4lock")
    refused(tmp_path / "out", r"\.out\.g4lock is in the way")


def test_a_pipe_as_lock_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / ".out.g4lock")
    refused_quietly(tmp_path / "out", r"\.out\.g4lock is in the way")


def test_a_lock_left_by_a_kill_is_taken(tmp_path):
    (tmp_path / ".out.g4lock").touch()
    with staging(tmp_path / "out", force=False):
        pass
    assert files(tmp_path) == {}


def test_a_lock_that_was_deleted_while_it_was_waited_for(tmp_path):
    """Who opened a lock that its holder then deleted does not hold the one that others see."""
    file = tmp_path / "lock"
    opened = os.open(file, os.O_RDWR | os.O_CREAT)
    assert _is_still(opened, file)
    file.unlink()
    assert not _is_still(opened, file)
    file.touch()
    assert not _is_still(opened, file)
    os.close(opened)


def test_two_compiles_at_once_to_one_place(tmp_path):
    with (
        staging(tmp_path / "out", force=False),
        pytest.raises(BundleError, match="another compile"),
        staging(tmp_path / "out", force=False),
    ):
        pass


def test_the_lock_of_another_is_not_deleted(tmp_path):
    """Somebody deleted the lock that is held, and another compile made one anew."""
    file = tmp_path / "lock"
    with locked(file, tmp_path / "out"):
        file.unlink()
        theirs = os.open(file, os.O_RDWR | os.O_CREAT)
    assert _is_still(theirs, file)
    os.close(theirs)


def test_a_lock_that_cannot_be_deleted_is_no_failure(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    with (
        pytest.warns(UserWarning, match="could not be deleted, the next compile takes it"),
        locked(tmp_path / "lock", tmp_path),
    ):
        monkeypatch.setattr(os, "unlink", refuse)
    monkeypatch.undo()
    with locked(tmp_path / "lock", tmp_path):
        pass
    assert files(tmp_path) == {}


def test_many_processes_never_hold_it_together(tmp_path):
    """Each takes and leaves the lock again and again; a file that none but its holder may find marks who has it."""

    def work():
        held = 0
        while held < 40:
            try:
                with locked(tmp_path / "lock", tmp_path / "out"):
                    inside = os.open(tmp_path / "inside", os.O_CREAT | os.O_EXCL)
                    os.close(inside)
                    (tmp_path / "inside").unlink()
                    held += 1
            except BundleError:
                continue

    codes: list[int] = []
    workers = [threading.Thread(target=lambda: codes.append(forked(work))) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert codes == [0] * 4
    assert files(tmp_path) == {}
