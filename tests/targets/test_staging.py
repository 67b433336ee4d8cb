"""Where a bundle is written: full disks, places that cannot be written, and what is not ours to replace or delete."""

import errno
import json
import os
import resource
import shutil
from pathlib import Path

import pytest

from g4compile.bundle.folder import Bundle
from g4compile.compiler import compile
from g4compile.errors import BundleError, MachineError
from g4compile.targets.ownership import MARKER
from g4compile.targets.staging import staging
from tests.processes import command_line, forked, run


@pytest.mark.parametrize("weights", ["float32", "int8"])
def test_a_disk_that_fills_up(weights, checkpoints, tmp_path):
    """A limit on file size stands in for a full disk: write(2) fails half-way through the weights."""
    source, out = checkpoints("tiny-31b").folder, tmp_path / "place" / "out"
    arguments = ["compile", source, "--target", "onnx-cpu", "--weights", weights, "--modalities", "text", "-o", out]
    said = tmp_path / "said.txt"
    code = run(command_line, list(map(str, arguments)), 120_000, said=said)
    assert code == 3, said.read_text()
    assert "File too large" in said.read_text() and "Traceback" not in said.read_text()
    assert list(out.parent.iterdir()) == []
    compile(source, "onnx-cpu", out, weights=weights, modalities=("text",))
    Bundle.open(out).check_hashes()


def test_a_place_below_a_file(checkpoints, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="system refused making the bundle"):
        compile(checkpoints("tiny-31b").folder, "onnx-cpu", tmp_path / "file" / "out")


def files(folder):
    """All below ``folder``: names and contents, links as what they point to."""
    found = {}
    for path in sorted(folder.rglob("*")):
        content = str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(folder))] = content
    return found


def small_bundle(folder, **others):
    folder.mkdir(parents=True)
    (folder / "decoder.onnx").write_text("graph")
    listed = {"decoder.onnx": {"bytes": 5, "sha256": "0"}}
    (folder / "g4.json").write_text(json.dumps({"manifest_version": 1, "files": listed, "target": "x", **others}))
    return folder


def refused(output, match, force=True, checkpoint=None):
    """Staging stops before any work, and changes nothing around it."""
    around = files(output.parent)
    with pytest.raises(BundleError, match=match), staging(output, force, checkpoint=checkpoint):
        pytest.fail("work was begun")
    assert files(output.parent) == around


def test_force_replaces_a_bundle_and_nothing_else(checkpoints, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(BundleError, match="not a bundle, so --force will not replace it"):
        compile(checkpoints("tiny-31b").folder, "onnx-cpu", out, force=True)
    (out / "thesis.txt").unlink()
    compile(checkpoints("tiny-31b").folder, "onnx-cpu", out, force=True)
    with pytest.raises(BundleError, match="out exists"):
        compile(checkpoints("tiny-31b").folder, "onnx-cpu", out)
    compile(checkpoints("tiny-31b").folder, "onnx-cpu", out, force=True, context=64)
    assert Bundle.open(out).manifest.context == 64
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("version", [1, 2, 3])
def test_bundles_of_any_version_are_replaced(version, tmp_path):
    out = small_bundle(tmp_path / "out", manifest_version=version)
    with staging(out, force=True) as folder:
        assert folder.is_dir() and out.is_dir()


@pytest.mark.parametrize(
    "manifest",
    [
        "",
        "no",
        "{}",
        "[]",
        "\0",
        "[" * 200_000,
        '{"manifest_version": 4, "files": {}}',
        '{"manifest_version": "1", "files": {}}',
        '{"manifest_version": 1}',
        '{"manifest_version": 1, "files": []}',
    ],
)
def test_a_file_named_as_a_manifest_makes_no_bundle(manifest, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "g4.json").write_text(manifest)
    refused(home, "home exists and is not a bundle")


def test_a_manifest_that_is_no_text(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "g4.json").write_bytes(b'{"\xff": 1}')
    refused(tmp_path / "home", "home exists and is not a bundle")


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("decoder.onnx")])
def test_a_manifest_that_is_no_file(make, tmp_path):
    home = small_bundle(tmp_path / "home")
    (home / "g4.json").unlink()
    make(home / "g4.json")
    refused_quietly(home, "there is no manifest g4.json")


def refused_quietly(output, match):
    with pytest.raises(BundleError, match=match), staging(output, force=True):
        pytest.fail("work was begun")


@pytest.mark.parametrize(
    "make",
    [
        lambda home: (home / "thesis.txt").write_text("mine"),
        lambda home: (home / "docs").mkdir(),
        lambda home: (home / "link").symlink_to("decoder.onnx"),
        lambda home: ((home / "decoder.onnx").unlink(), (home / "decoder.onnx").mkdir()),
        lambda home: ((home / "decoder.onnx").unlink(), (home / "decoder.onnx").symlink_to("g4.json")),
    ],
)
def test_a_bundle_with_anything_else_in_it_is_kept(make, tmp_path):
    home = small_bundle(tmp_path / "home")
    make(home)
    refused(home, r"home exists and is not a bundle[\s\S]* in it is not of the bundle")


def test_a_file_as_output(tmp_path):
    (tmp_path / "file").write_text("mine")
    refused(tmp_path / "file", "it is not a folder")


def test_the_checkpoint_is_never_replaced(checkpoints, tmp_path):
    """Whether the output is it, holds it, or lies in it, and whatever the output's manifest says."""
    source = tmp_path / "out" / "checkpoint"
    shutil.copytree(checkpoints("tiny-31b").folder, source)
    listed = {path.name: {} for path in source.iterdir()}
    for place, held in ((tmp_path / "out", {}), (source, listed)):
        (place / "g4.json").write_text(json.dumps({"manifest_version": 1, "files": held}))
    inside = small_bundle(source / "inside")
    around = files(tmp_path)
    for output in (tmp_path / "out", source, inside, tmp_path / "out" / ".." / "out"):
        with pytest.raises(BundleError, match="holds the checkpoint that is compiled, or is a part of it"):
            compile(source, "onnx-cpu", output, force=True)
    (tmp_path / "linked").symlink_to(tmp_path / "out")
    with pytest.raises(BundleError, match="holds the checkpoint"):
        compile(tmp_path / "linked" / "checkpoint", "onnx-cpu", inside, force=True)
    (tmp_path / "linked").unlink()
    assert files(tmp_path) == around


@pytest.mark.parametrize("target", ["bundle", "nothing"])
@pytest.mark.parametrize("force", [True, False])
def test_a_link_as_output(target, force, tmp_path):
    small_bundle(tmp_path / "bundle")
    (tmp_path / "link").symlink_to(target)
    refused(tmp_path / "link", "link is a link", force)


@pytest.mark.parametrize("output", [".", "nothing/..", "/"])
def test_an_output_without_a_name(output, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleError, match="no name for a new folder"), staging(Path(output), force=True):
        pytest.fail("work was begun")


def test_a_name_that_is_too_long(tmp_path):
    refused(tmp_path / ("n" * 300), "system refused making the bundle")


@pytest.mark.parametrize(
    "output", ["nul\0", "\ud800", "/proc/out", "/proc/nothing/out", "/dev/full/out", "/proc", "file/out"]
)
@pytest.mark.parametrize("force", [True, False])
def test_a_place_that_cannot_be(output, force, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(BundleError), staging(tmp_path / output, force):
        pytest.fail("work was begun")
    assert files(tmp_path) == {"file": b"mine"}


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (MachineError, ("ENOSPC", "EDQUOT", "EFBIG", "EIO", "EMFILE", "ENFILE")),
        (BundleError, ("EACCES", "EROFS", "ENAMETOOLONG", "ENOTDIR", "EPERM", "ELOOP", "EBUSY")),
    ],
)
def test_what_the_system_refuses_is_said_and_nothing_is_left(kind, names, tmp_path):
    for name in names:
        code = getattr(errno, name)
        with pytest.raises(kind) as caught, staging(tmp_path / "out", force=False) as folder:
            (folder / "half").write_text("written")
            raise OSError(code, os.strerror(code), "half", None, "other")
        assert os.strerror(code) in str(caught.value) and "half -> other" in caught.value.where
        assert files(tmp_path) == {}


def test_a_pipe_that_broke_is_no_matter_of_the_output(tmp_path):
    with pytest.raises(BrokenPipeError), staging(tmp_path / "out", force=False):
        raise BrokenPipeError
    assert files(tmp_path) == {}


def test_limits_and_places_of_another_user(tmp_path):
    """EMFILE, and a folder that may not be written, as the system itself has them."""

    def few_files():
        resource.setrlimit(resource.RLIMIT_NOFILE, (os.dup(1) + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        with pytest.raises(MachineError, match="Too many open files"), staging(tmp_path / "out", force=False):
            pass

    def another_user():
        os.chdir(tmp_path)
        if os.geteuid() == 0:
            os.setuid(65534)
        with pytest.raises(BundleError, match="Permission denied"), staging(Path("out"), force=False):
            pass

    assert forked(few_files) == 0
    tmp_path.chmod(0o555)
    assert forked(another_user) == 0
    assert files(tmp_path) == {}


@pytest.mark.parametrize("kind", ["g4partial", "g4old"])
@pytest.mark.parametrize(
    "make",
    [
        lambda side: side.symlink_to("victim"),
        lambda side: side.symlink_to("nothing"),
        lambda side: side.write_text("mine"),
        lambda side: (side.mkdir(), (side / "thesis.txt").write_text("mine")),
        lambda side: (side.mkdir(), (side / MARKER).touch(), (side / "docs").mkdir()),
        lambda side: (side.mkdir(), (side / MARKER).symlink_to("thesis.txt"), (side / "thesis.txt").write_text("x")),
    ],
)
def test_a_side_folder_that_is_not_ours(kind, make, tmp_path):
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "thesis.txt").write_text("mine")
    make(tmp_path / f".out.{kind}")
    refused(tmp_path / "out", rf"\.out\.{kind} is in the way")


def test_links_in_unfinished_work_are_not_written_through(tmp_path):
    """With a journal of the same work: the folder is made anew."""
    (tmp_path / "victim").write_text("mine")
    side = tmp_path / ".out.g4partial"
    side.mkdir()
    (side / MARKER).touch()
    (side / "journal").write_text("same\n")
    (side / "weights.data").symlink_to(tmp_path / "victim")
    with staging(tmp_path / "out", False, "same") as folder:
        assert [path.name for path in folder.iterdir()] == [MARKER]
    assert (tmp_path / "victim").read_text() == "mine"


def test_unfinished_work_of_the_same_kind_is_taken_up(tmp_path):
    side = tmp_path / ".out.g4partial"
    for identity, kept in (("same", True), ("other", False), ("", False)):
        side.mkdir()
        for name, content in ((MARKER, ""), ("journal", "same\n"), ("weights.data", "half")):
            (side / name).write_text(content)
        with staging(tmp_path / "out", False, identity) as folder:
            assert (folder / "weights.data").exists() == kept
        assert files(tmp_path) == {}


def test_a_replacement_killed_between_its_renames_is_undone(tmp_path):
    """The old bundle is back under its name before anything else happens; so without --force it stands in the way."""
    small_bundle(tmp_path / ".out.g4old")
    with pytest.raises(BundleError, match="out exists"), staging(tmp_path / "out", force=False):
        pytest.fail("work was begun")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    small_bundle(tmp_path / ".out.g4old")
    with staging(tmp_path / "out", force=True):
        assert not (tmp_path / ".out.g4old").exists()
