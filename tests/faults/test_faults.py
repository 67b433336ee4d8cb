"""Each file operation of a compile fails once, or is the last before the process is killed.

The bundle at the output is then the old one or the new one, whole; an error is one of ours and leaves nothing beside
the output; and the next compile gives the bytes of one that nothing happened to. The graph is made once, before the
processes are forked that write it.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import threading
import traceback
import warnings
from pathlib import Path

import pytest

import g4compile.compiler
from g4compile.bundle.folder import Bundle
from g4compile.errors import G4Error
from g4compile.targets import TARGETS, renames
from g4compile.targets.base import Lowered
from tests.conftest import VARIANTS, once
from tests.faults.injection import ERRORS, FAULTS, HALF, KILL, KILL_HALF, WRITES, Call, Injector
from tests.processes import forked

MODES = ("fresh", "force", "force without exchange")
SAMPLE = 24


class Compiles:
    """Compiles of one preset in forked processes. ``old``: a bundle to replace; ``clean``: one that went well."""

    def __init__(self, checkpoint, model, traced, shared) -> None:
        self._checkpoint, self._model, self._traced = checkpoint, model, traced
        name = f"faults-{checkpoint.folder.name}"
        self.old = once(shared, f"{name}-old", lambda path: self._plain(path, context=64))
        self.clean = once(shared, f"{name}-clean", self._plain)

    def _plain(self, path: Path, **options) -> None:
        said = self.run(path, False, "", **options)
        assert "wrote" in said, said

    def run(self, out: Path, force: bool, mode: str, at=None, fault="", said=None, **options) -> dict:
        """What became of a compile to ``out``: `wrote`, `error` with its code, or `signal`; and the calls it made.

        ``said``: the file through which the other process says so.
        """
        said = said or out.with_name("said.json")
        injector = Injector([out.parent, self._checkpoint.folder], at, fault)
        code = forked(lambda: self._compile(out, force, mode, injector, said, options))
        found: dict = {"signal": -code} if code < 0 else json.loads(said.read_text())
        said.unlink(missing_ok=True)
        return found

    def _compile(self, out, force, mode, injector, said, options) -> None:
        g4compile.compiler.trace = lambda *_, **__: self._traced
        variant = TARGETS["onnx-cpu"].variants(self._checkpoint.facts, None)[0]
        g4compile.compiler.lower = lambda *_: iter([Lowered(variant, self._model)])
        if mode == "force without exchange":
            renames._rename = lambda *_: False
        write, real = os.write, os.open
        found: dict = {}
        injector.install()
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                g4compile.compiler.compile(
                    self._checkpoint, "onnx-cpu", out, force=force, modalities=("text",), **options
                )
                found["wrote"] = True
            except G4Error as error:
                found.update(error=str(error), code=error.code)
            except BaseException:
                found.update(error=traceback.format_exc(), code=None)
        calls = [(call.operation, call.file, call.number) for call in injector.calls]
        found.update(met=injector.met, warned=[str(one.message) for one in warned], calls=calls)
        data = json.dumps(found).encode()
        descriptor = real(said, os.O_WRONLY | os.O_CREAT, 0o600)
        while data:
            data = data[write(descriptor, data) :]


@pytest.fixture(scope="module")
def compiles(shared, checkpoints, traced, legal):
    made = {}

    def get(variant):
        if variant not in made:
            made[variant] = Compiles(checkpoints(variant), legal(variant), traced(variant), shared)
        return made[variant]

    return get


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def cases(compiles: Compiles, mode: str, tmp_path: Path) -> list[tuple[Call, str]]:
    """The first, the middle and the last call of each operation for each file, with every fault it can meet."""
    out = place(compiles, mode, tmp_path / "cases")
    calls = [Call(*one) for one in compiles.run(out, mode != "fresh", mode)["calls"]]
    last = {(call.operation, call.file): call.number for call in calls}
    numbers = {name: sorted({0, most // 2, most}) for name, most in last.items()}
    return [
        (Call(*name, number), fault)
        for name in sorted(last)
        for number in numbers[name]
        for fault in FAULTS
        if name[0] in WRITES or fault not in (HALF, KILL_HALF)
    ]


def sample(found: list[tuple[str, Call, str]], count: int) -> list[tuple[str, Call, str]]:
    """``count`` of ``found``: all operations, then all faults and modes, then any."""
    rest = random.Random(4).sample(found, len(found))
    chosen: list[tuple[str, Call, str]] = []
    for part in (lambda one: one[1].operation, lambda one: one[2], lambda one: one[0]):
        for one in list(rest):
            if part(one) not in {part(other) for other in chosen}:
                chosen.append(one)
                rest.remove(one)
    return (chosen + rest)[:count]


def place(compiles: Compiles, mode: str, folder: Path) -> Path:
    """Where to compile to, in a new folder; a bundle stands there already when one is to be replaced."""
    out = folder / "place" / "out"
    out.parent.mkdir(parents=True)
    if mode != "fresh":
        shutil.copytree(compiles.old, out)
    return out


def check(compiles: Compiles, mode: str, call: Call, fault: str, folder: Path) -> None:
    out = place(compiles, mode, folder)
    said = compiles.run(out, mode != "fresh", mode, call, fault)
    before, after = content(compiles.old) if mode != "fresh" else None, content(out) if out.exists() else None
    clean = content(compiles.clean)
    names = {path.name for path in out.parent.iterdir()} - {"out"}
    if "signal" in said:
        assert fault in (KILL, KILL_HALF) and said["signal"] == signal.SIGKILL
        ours = {".out.g4partial", ".out.g4lock", ".out.g4old"}
        assert names <= ours
        if mode == "force without exchange" and after is None:  # the moment between two renames
            after = content(out.with_name(".out.g4old"))
        assert after in (before, clean)
        second = compiles.run(out, out.exists() or mode != "fresh", mode)
        assert "wrote" in second, second
        assert content(out) == clean
        assert [path.name for path in out.parent.iterdir()] == ["out"]
    elif "wrote" in said:
        assert said["met"], said
        assert after == clean
        assert not names or any(name in text for name in names for text in said["warned"]), said
    else:
        assert said["met"] and said["code"] == (2 if fault == "EACCES" else 3), said["error"]
        assert after == before
        assert not names, said
    if out.exists():
        Bundle.open(out).check_hashes()


def checked(compiles: Compiles, found: list[tuple[str, Call, str]], tmp_path: Path) -> list[str]:
    """What is wrong, of all cases ``found``."""
    wrong = []
    for number, (mode, call, fault) in enumerate(found):
        folder = tmp_path / str(number)
        try:
            check(compiles, mode, call, fault, folder)
        except AssertionError as error:
            wrong.append(f"{mode}: {fault} at {call}: {error}")
        shutil.rmtree(folder)
    return wrong


def test_a_sample_of_faults(compiles, tmp_path):
    """Every operation, every fault, every mode, on the smallest preset."""
    tiny = compiles("tiny-e2b")
    found = [(mode, *one) for number, mode in enumerate(MODES) for one in cases(tiny, mode, tmp_path / f"m{number}")]
    chosen = sample(found, SAMPLE)
    assert {call.operation for _, call, _ in chosen} == {call.operation for _, call, _ in found}
    assert {fault for _, _, fault in chosen} == set(FAULTS) >= set(ERRORS)
    assert not checked(tiny, chosen, tmp_path)


def test_two_compiles_at_once(compiles, tmp_path):
    """To one place: one writes, the others are told so. To two places in one folder: both write."""
    tiny = compiles("tiny-e2b")

    def compile_to(name: str, number: int) -> None:
        said[number] = tiny.run(tmp_path / name, True, "force", said=tmp_path.parent / f"{tmp_path.name}-{number}")

    names = ("one", "one", "one", "other")
    said: dict[int, dict] = {}
    threads = [threading.Thread(target=compile_to, args=(name, number)) for number, name in enumerate(names)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "wrote" in said[3] and any("wrote" in said[number] for number in range(3))
    for one in said.values():
        assert "wrote" in one or (one["code"] == 2 and "another compile is writing" in one["error"]), one
    for name in ("one", "other"):
        assert content(tmp_path / name) == content(tiny.clean)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "other"]


@pytest.mark.nightly
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_all_faults(variant, mode, compiles, tmp_path):
    tiny = compiles(variant)
    found = [(mode, *one) for one in cases(tiny, mode, tmp_path)]
    assert len(found) > 300
    wrong = checked(tiny, found, tmp_path)
    assert not wrong, f"{len(wrong)} of {len(found)}:\n" + "\n".join(wrong)
