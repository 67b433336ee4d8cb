"""A random checkpoint whose writing fails: one error of ours, and nothing is left."""

import resource

import pytest

from g4compile.errors import InputError, MachineError
from g4compile.synth import checkpoint as module
from g4compile.synth.checkpoint import synthesize
from tests.processes import forked


@pytest.fixture
def small(monkeypatch):
    """Few tensors, so that nothing has to be traced for them."""
    monkeypatch.setattr(module, "published_shapes", lambda facts: {"model.language_model.norm.weight": (64, 1024)})


@pytest.mark.parametrize("largest", [0, 100, 100_000])  # bytes that config.json, the tokenizer, the shard are over
@pytest.mark.parametrize("found", [True, False])
def test_a_disk_that_fills_up(largest, found, small, tmp_path):
    out = tmp_path / "checkpoint"
    if found:
        out.mkdir()

    def work():
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
        with pytest.raises(MachineError, match="the system failed while writing the checkpoint") as caught:
            synthesize("tiny-e2b", out)
        assert "File too large" in str(caught.value), caught.value

    assert forked(work) == 0
    assert [path.name for path in tmp_path.iterdir()] == (["checkpoint"] if found else [])
    assert not found or list(out.iterdir()) == []


def test_it_is_written_when_there_is_room(small, tmp_path):
    synthesize("tiny-e2b", tmp_path / "checkpoint")
    written = {file.name for file in (tmp_path / "checkpoint").iterdir()}
    assert written >= {"config.json", "model.safetensors", "tokenizer.json"}


@pytest.mark.parametrize("place", ["file/checkpoint", "/proc/nothing/checkpoint", "n" * 300])
def test_a_place_that_cannot_be(place, small, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="refused writing the checkpoint"):
        synthesize("tiny-e2b", tmp_path / place)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
