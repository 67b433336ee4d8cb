"""Whatever stands where a file is read is answered: at once, with an error of ours, and what lies beside it stays.

The table says for each input which kinds are read; all others are refused, before any weight is read or written.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from g4compile.compiler import compile
from g4compile.errors import G4Error
from g4compile.graph.source import read_graph_text
from g4compile.runtime.session import load
from g4compile.targets.alone import run_on_text
from g4compile.weights.recipe import load_recipe
from g4compile.weights.shards import INDEX, SINGLE
from tests.conftest import once
from tests.faults.kinds import KINDS, UNREADABLE, as_nobody, as_theirs, canary, content, in_time, put
from tests.processes import forked

INSIDE = "link inside"  # to a file of the same folder with the content that belongs there
SHARD = "model-00001-of-00001.safetensors"
GRAPH = """<
    ir_version: 10, opset_import: ["" : 24], metadata_props: ["g4.stage": "canonical"]
>
g (float[1] x) => (float[1] y) {
    y = Neg (x)
}
"""


class Read(Exception):
    """All inputs were read; what follows is work."""


def _checkpoint(here: Path) -> None:
    def begin(text: str, done: int, total: int) -> None:
        raise Read

    compile(here, "onnx-cpu", here.with_name("out"), progress=begin)


def _bundle(here: Path) -> None:
    load(here)
    raise Read


def _cache(here: Path) -> None:
    load(here, cache=here / "cache")
    raise Read


def _recipe(here: Path) -> None:
    load_recipe(here / "recipe.txt")
    raise Read


def _graph(here: Path) -> None:
    run_on_text(read_graph_text(here / "graph.onnxtxt"), "canonicalize-dead-code", where="graph.onnxtxt")
    raise Read


# Input -> what reads it, and the kinds beside a link inside that it may be. Any text is a chat template.
INPUTS: dict[str, tuple[Callable[[Path], None], set[str]]] = {
    "config.json": (_checkpoint, set()),
    SINGLE: (_checkpoint, set()),
    INDEX: (_checkpoint, set()),
    SHARD: (_checkpoint, set()),
    "tokenizer.json": (_checkpoint, set()),
    "tokenizer_config.json": (_checkpoint, set()),
    "chat_template.jinja": (_checkpoint, {"file"}),
    "generation_config.json": (_checkpoint, set()),
    "recipe.txt": (_recipe, set()),
    "graph.onnxtxt": (_graph, set()),
    "g4.json": (_bundle, set()),
    "decoder.onnx": (_bundle, set()),
    "weights.data": (_bundle, set()),
    "cache": (_cache, set(KINDS) | {INSIDE}),  # without a cache that can be used, a bundle loads all the same
}


@pytest.fixture
def folders(shared, checkpoints, bundles):
    """A folder with the input ``name`` and all that belongs beside it."""

    def sharded(path: Path) -> None:
        shutil.copytree(checkpoints("tiny-e2b").folder, path)
        (path / SINGLE).rename(path / SHARD)
        (path / INDEX).write_text(json.dumps({"weight_map": dict.fromkeys(checkpoints("tiny-e2b").tensors, SHARD)}))

    def get(name: str, here: Path) -> Path:
        if name in ("recipe.txt", "graph.onnxtxt"):
            here.mkdir()
            (here / "recipe.txt").write_text("* int8 32 symmetric float32 nearest\n")
            (here / "graph.onnxtxt").write_text(GRAPH)
        elif INPUTS[name][0] is _checkpoint:
            in_shards = once(shared, "tiny-e2b-in-shards", sharded)
            shutil.copytree(in_shards if name in (INDEX, SHARD) else checkpoints("tiny-e2b").folder, here)
        else:
            shutil.copytree(bundles("tiny-e2b").folder, here)
            if name == "cache":
                (here / name).mkdir()
        return here

    return get


def answer(name: str, here: Path) -> bool:
    """Whether the input is read; what refuses it is an error of ours, in time."""
    try:
        with in_time(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            INPUTS[name][0](here)
    except Read:
        return True
    except G4Error as error:
        assert error.code in (2, 3), error
        assert name in str(error).replace(str(here), ""), error
        return False
    raise AssertionError("it came to no end")


@pytest.mark.parametrize("kind", [INSIDE, *sorted(set(KINDS) - set(UNREADABLE))])
@pytest.mark.parametrize("name", INPUTS)
def test_what_is_read(name, kind, folders, tmp_path):
    beside = canary(tmp_path)
    here = folders(name, tmp_path / "here")
    if kind == INSIDE:
        (here / name).rename(tmp_path / "kept")
        (here / name).symlink_to(f"real-{name}")
        (tmp_path / "kept").rename(here / f"real-{name}")
    else:
        put(here / name, kind)
    before, around = content(beside), content(here)
    assert answer(name, here) == (kind == INSIDE or kind in INPUTS[name][1])
    if name == "cache" and kind == "link to a folder":
        shutil.rmtree(*beside.glob("prepacked-*"), ignore_errors=True)
    assert content(beside) == before
    if name != "cache":
        assert content(here) == around
        assert not (tmp_path / "out").exists()


@pytest.fixture
def reachable():
    """A folder that every user may enter, unlike `tmp_path`."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name).resolve()


def test_what_may_not_be_read(folders, reachable):
    """All inputs, as a user who is not root."""
    for name in INPUTS:
        (reachable / name).mkdir()
        put(folders(name, reachable / name / "here") / name, "unreadable")
    before = content(reachable)

    def work():
        as_theirs(reachable)
        as_nobody()
        for name in INPUTS:
            assert answer(name, reachable / name / "here") == (name == "cache"), name

    assert forked(work) == 0
    assert content(reachable) == before
