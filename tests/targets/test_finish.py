"""A finished bundle takes its name: in one step, at any moment whole, and nothing else is lost on the way."""

import shutil
import signal
import threading
import time

import msgspec
import pytest

from g4compile.bundle.folder import Bundle
from g4compile.errors import BundleError, Defect
from g4compile.targets import renames
from g4compile.targets.staging import finish, staging
from tests.faults.injection import KILL, Call, Injector
from tests.processes import forked
from tests.targets.test_staging import files, small_bundle


def fill(folder, whole):
    """The files of the bundle ``whole``, its manifest left out."""
    for name in whole.manifest.files:
        shutil.copyfile(whole.folder / name, folder / name)


def test_what_came_to_the_output_meanwhile_is_kept(tmp_path, bundles):
    whole, out = bundles("tiny-e2b"), tmp_path / "out"
    with pytest.raises(BundleError, match="is not a bundle"), staging(out, force=False) as folder:
        out.mkdir()
        (out / "thesis.txt").write_text("mine")
        fill(folder, whole)
        finish(folder, out, whole.manifest, force=True)
    assert files(tmp_path) == {"out": None, "out/thesis.txt": b"mine"}


def test_a_bundle_that_came_meanwhile_is_kept_without_force(tmp_path, bundles):
    whole, out = bundles("tiny-e2b"), tmp_path / "out"
    with pytest.raises(BundleError, match="has appeared while it was compiled"), staging(out, force=False) as folder:
        small_bundle(out)
        theirs = files(out)
        fill(folder, whole)
        finish(folder, out, whole.manifest, force=False)
    assert files(out) == theirs


@pytest.mark.parametrize("lie", [{"stop_token_ids": (None,)}, {"context": "long"}, {"graphs": {}, "parts": None}])
def test_what_would_not_load_is_not_put_in_place(lie, tmp_path, bundles):
    whole, out = bundles("tiny-e2b"), small_bundle(tmp_path / "out")
    before = files(tmp_path)
    with pytest.raises(Defect, match="the bundle that was made does not load"), staging(out, True) as folder:
        fill(folder, whole)
        finish(folder, out, msgspec.structs.replace(whole.manifest, **lie), force=True)
    assert files(tmp_path) == before


def test_there_is_a_bundle_at_every_moment(tmp_path, bundles):
    """A reader that never waits, while the bundle is replaced again and again."""
    whole, out = bundles("tiny-e2b"), small_bundle(tmp_path / "out")
    ready, ended = tmp_path / "ready", tmp_path / "ended"

    def replace():
        while not ready.exists():
            time.sleep(0.001)
        for _ in range(25):
            with staging(out, True) as folder:
                fill(folder, whole)
                finish(folder, out, whole.manifest, force=True)
        ended.touch()

    def read():
        ready.touch()
        while not ended.exists():
            for _ in range(1000):
                out.stat()

    reader = threading.Thread(target=lambda: seen.append(forked(read)))
    seen: list[int] = []
    reader.start()
    replace()
    reader.join()
    assert seen == [0]
    assert Bundle.open(out).manifest == whole.manifest


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_kill_at_any_step_of_the_end_leaves_what_the_next_compile_takes(exchanges, tmp_path, bundles):
    """Each call that changes a name is in turn the last that happens."""
    whole = bundles("tiny-e2b")

    def end(out, injector):
        if not exchanges:
            renames._rename = lambda *_: False
        injector.install()
        with staging(out, True) as folder:
            fill(folder, whole)
            (folder / "journal").write_text("same\n")
            finish(folder, out, whole.manifest, force=True)
        (tmp_path / "calls").write_text("\n".join(f"{call.operation} {call.file}" for call in injector.calls))

    old = small_bundle(tmp_path / "whole" / "place" / "out")
    before = files(old)
    assert forked(lambda: end(old, Injector([tmp_path]))) == 0
    assert Bundle.open(old).manifest == whole.manifest
    changing = ("mkdir", "unlink", "rename", "renameat2", "rmdir", "truncate")
    calls = [
        tuple(line.split()) for line in (tmp_path / "calls").read_text().splitlines() if line.split()[0] in changing
    ]
    assert ("renameat2", ".out.g4partial") in calls or not exchanges
    for number, call in enumerate(calls):
        out = small_bundle(tmp_path / f"{number}" / "place" / "out")
        at = Call(*call, calls[:number].count(call))
        assert forked(lambda out=out, at=at: end(out, Injector([tmp_path], at, KILL))) == -signal.SIGKILL
        assert not exchanges or files(out) == before or Bundle.open(out).manifest == whole.manifest
        with staging(out, True):
            assert files(out) == before or Bundle.open(out).manifest == whole.manifest
        assert [path.name for path in out.parent.iterdir()] == ["out"]
