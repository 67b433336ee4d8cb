"""Kinds of files that can stand where another is expected, and what lies beside them and must stay as it is."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

SECONDS = 5  # a refusal takes no longer, of the processor: a busy machine does not stretch that
WAITING = 60  # for a pipe that nobody writes to, that is for ever
NOBODY = 65534


def _file(path: Path) -> None:
    path.write_bytes(b"mine")


def _folder(path: Path) -> None:
    path.mkdir()
    (path / "thesis.txt").write_text("mine")


def _link(path: Path) -> None:
    """To a file outside."""
    path.symlink_to(path.parent.parent / "canary" / "secret")


def _unreadable(path: Path) -> None:
    path.write_bytes(b"mine")
    path.chmod(0)


def _unreadable_folder(path: Path) -> None:
    _folder(path)
    path.chmod(0)


UNREADABLE = ("unreadable", "unreadable folder")  # to all but root: try them as nobody

# Each makes a path be something. What stood there before is gone.
KINDS: dict[str, Callable[[Path], None]] = {
    "file": _file,
    "folder": _folder,
    "empty folder": Path.mkdir,
    "pipe": os.mkfifo,
    "link": _link,
    "link to a folder": lambda path: path.symlink_to(path.parent.parent / "canary", target_is_directory=True),
    "loop": lambda path: path.symlink_to(path.name),
    "dangling link": lambda path: path.symlink_to("nothing"),
    "/dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "/dev/full": lambda path: path.symlink_to("/dev/full"),
    "unreadable": _unreadable,
    "unreadable folder": _unreadable_folder,
}


def put(path: Path, kind: str) -> None:
    """Let ``path`` be of ``kind``, in place of what is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    KINDS[kind](path)


def canary(folder: Path) -> Path:
    """A folder with files in it, beside the place where things are tried."""
    made = folder / "canary"
    made.mkdir()
    (made / "secret").write_bytes(b"not for others\n")
    (made / "g4.json").write_bytes(b"{}")
    made.chmod(0o755)
    return made


def content(folder: Path) -> dict[str, bytes | str | int]:
    """All in ``folder``: bytes of files, targets of links, modes of the rest."""
    found: dict[str, bytes | str | int] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        mode = path.lstat().st_mode
        found[name] = str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else mode
    return found


@contextmanager
def in_time() -> Iterator[None]:
    """Raise AssertionError when the block takes more than SECONDS of the processor, or waits for WAITING.

    It is no OSError, as TimeoutError is, which would be mapped.
    """

    def end(*_: object) -> None:
        raise AssertionError("no answer in time")

    timers = ((signal.SIGALRM, signal.ITIMER_REAL, WAITING), (signal.SIGPROF, signal.ITIMER_PROF, SECONDS))
    before = [signal.signal(number, end) for number, _, _ in timers]
    for _, timer, seconds in timers:
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for (number, timer, _), handler in zip(timers, before, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)


def as_theirs(folder: Path) -> None:
    """Let ``folder`` and all in it belong to the user of `as_nobody`."""
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


def as_nobody() -> None:
    """From here on this process is a user who may read only what everybody may, if it is root now."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
