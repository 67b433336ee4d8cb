"""Whatever stands where a compile writes is answered: at once, with an error of ours or none, and nothing else is lost.

The tables say for each place and kind whether the compile goes on. What goes on replaces or uses what is there.
"""

from __future__ import annotations

import os
from pathlib import Path

import onnx_ir as ir
import pytest

from g4compile.errors import G4Error
from g4compile.graph.stage import set_stage
from g4compile.pipeline import PassRun, dump_to
from g4compile.synth.checkpoint import synthesize
from g4compile.targets.ownership import MARKER
from g4compile.targets.staging import staging
from tests.faults.kinds import KINDS, UNREADABLE, as_nobody, as_theirs, canary, content, in_time, put
from tests.graph.graphs import anchored, value
from tests.processes import forked

PLACES = {
    "output": "out",
    "output, not forced": "out",
    "lock": ".out.g4lock",
    "partial": ".out.g4partial",
    "old": ".out.g4old",
    "dump folder": "dumps",
    "dump file": "dumps/01-a-pass.onnxtxt",
    "folder of a new checkpoint": "out",
}
# Place -> the kinds with which the work goes on; every other kind is refused.
GOES_ON = {
    "output": {"empty folder"},
    "output, not forced": set(),
    "lock": set(),
    "partial": {"empty folder"},
    "old": {"empty folder"},
    "dump folder": {"folder", "empty folder", "link to a folder"},
    "dump file": {"file"},
    "folder of a new checkpoint": {"empty folder"},
}


def begin(place: str, here: Path) -> None:
    """Begin to write: the output is ``here / "out"``."""
    out = here / "out"
    if place.startswith("dump"):
        model = ir.Model(anchored(value("x", 1)).graph, ir_version=10)
        set_stage(model, "fused")
        dump_to(here / "dumps")(PassRun(1, "fused", "a-pass", 1, 0.0), model)
    elif place == "folder of a new checkpoint":
        synthesize("tiny-e2b", out)
    else:
        with staging(out, force=place != "output, not forced") as folder:
            (folder / MARKER).touch()


def place_in(folder: Path, place: str, kind: str) -> Path:
    here = folder / "here"
    here.mkdir()
    if place == "dump file":
        (here / "dumps").mkdir()
        (folder / "here" / "canary").symlink_to("../canary")
    put(here / PLACES[place], kind)
    return here


def answer(place: str, here: Path) -> bool:
    """Whether the work goes on; what refuses it is an error of ours, in time."""
    try:
        with in_time():
            begin(place, here)
    except G4Error as error:
        assert error.code in (2, 3) and error.fix, error
        return False
    return True


@pytest.mark.parametrize("kind", sorted(set(KINDS) - set(UNREADABLE)))
@pytest.mark.parametrize("place", PLACES)
def test_where_a_compile_writes(place, kind, tmp_path):
    beside = canary(tmp_path)
    here = place_in(tmp_path, place, kind)
    before, around = content(beside), content(here)
    assert answer(place, here) == (kind in GOES_ON[place])
    if kind == "link to a folder" and place == "dump folder":
        (beside / "01-a-pass.onnxtxt").unlink()  # the user's own link to a folder of their own
    assert content(beside) == before
    if kind not in GOES_ON[place]:
        assert content(here) == around


@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_may_not_be_read(kind, tmp_path):
    """All places, as a user who is not root."""
    beside = canary(tmp_path)
    folders = {place: tmp_path / place for place in PLACES}
    for place, folder in folders.items():
        folder.mkdir()
        place_in(folder, place, kind)
    before = content(tmp_path)

    def work():
        os.chdir(tmp_path)
        for folder in folders.values():
            as_theirs(folder)
        as_nobody()
        for place in PLACES:
            assert not answer(place, Path(place, "here")), place

    assert forked(work) == 0
    assert content(tmp_path) == before
    assert content(beside)
