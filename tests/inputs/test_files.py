"""The gate in front of every reader: what is opened, and how the refusal of everything else reads."""

import errno
import os
import resource

import pytest

from g4compile.errors import BundleError, InputError, MachineError
from g4compile.inputs.files import Kind, check_file, is_there, read_bytes, root_of, write_bytes
from g4compile.inputs.system import system_error
from tests.processes import forked

KIND = Kind("the manifest", 100, BundleError, "compile it again")


def refused(path, within=None):
    with pytest.raises(BundleError) as caught:
        read_bytes(path, KIND, within)
    with pytest.raises(BundleError):
        check_file(path, KIND, within)
    assert caught.value.where == str(path)
    return str(caught.value)


def test_a_regular_file(tmp_path):
    file = tmp_path / "a b ü.json"
    file.write_bytes(b"{}")
    assert read_bytes(file, KIND, tmp_path) == b"{}"
    assert check_file(file, KIND).st_size == 2


def test_a_missing_file(tmp_path):
    assert "the manifest is missing" in refused(tmp_path / "none")


@pytest.mark.parametrize(("code", "kind"), [(errno.EIO, MachineError), (errno.EACCES, BundleError)])
def test_what_the_system_does_not_say_is_no_absence(code, kind, tmp_path, monkeypatch):
    (tmp_path / "dangling").symlink_to("nowhere")
    assert is_there(tmp_path / "dangling") and is_there(tmp_path)
    for name in ("none", "none/below", "\0", "n" * 300):
        assert not is_there(tmp_path / name)

    def fail(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "stat", fail)
    monkeypatch.setattr(os, "lstat", fail)
    with pytest.raises(kind, match="looking for a file"):
        is_there(tmp_path / "none", BundleError)
    with pytest.raises(kind, match="reading the manifest"):
        read_bytes(tmp_path / "none", KIND)


def test_a_folder_a_pipe_and_a_device(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "device").symlink_to("/dev/zero")
    for name in ("pipe", "folder", "device"):
        assert "no regular file" in refused(tmp_path / name)


def test_a_file_that_is_too_large(tmp_path):
    file = tmp_path / "large"
    file.write_bytes(bytes(101))
    assert "101 bytes, more than the 100" in refused(file)


def test_a_link_inside_and_one_that_leads_out(tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.write_text("secret")
    (inside / "file").write_text("ours")
    (inside / "near").symlink_to("file")
    (inside / "far").symlink_to("../outside")
    assert read_bytes(inside / "near", KIND, inside) == b"ours"
    assert "leads out of its folder" in refused(inside / "far", inside)


def test_dangling_links_and_loops(tmp_path):
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    assert "does not exist" in refused(tmp_path / "dangling")
    refused(tmp_path / "loop")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file(tmp_path):
    file = tmp_path / "secret"
    file.write_text("x")
    file.chmod(0)
    assert "Permission denied" in refused(file)


def test_the_cache_of_the_hub(tmp_path):
    model = tmp_path / "models--google--gemma"
    snapshot, blob = model / "snapshots" / "0123", model / "blobs" / "abc"
    snapshot.mkdir(parents=True)
    blob.parent.mkdir()
    blob.write_text("{}")
    (snapshot / "config.json").symlink_to("../../blobs/abc")
    assert read_bytes(snapshot / "config.json", KIND, root_of(snapshot)) == b"{}"
    (snapshot / "evil").symlink_to("/etc/passwd")
    refused(snapshot / "evil", root_of(snapshot))


def test_a_file_is_written_anew(tmp_path):
    file = tmp_path / "file"
    for data in (b"a long content", b"short", b""):
        write_bytes(file, data, KIND)
        assert file.read_bytes() == data


def test_nothing_but_a_regular_file_is_written_to(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "victim").write_text("mine")
    for name, leads_to in (("link", "victim"), ("device", "/dev/full"), ("dangling", "nothing"), ("loop", "loop")):
        (tmp_path / name).symlink_to(leads_to)
    for name in ("pipe", "folder", "link", "device", "dangling", "loop", "victim/below", "none/below"):
        with pytest.raises(BundleError) as caught:
            write_bytes(tmp_path / name, b"ours", KIND)
        assert caught.value.where == str(tmp_path / name)
    assert (tmp_path / "victim").read_text() == "mine" and not (tmp_path / "nothing").exists()


def test_a_pipe_that_is_read_is_not_written_to(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(BundleError, match="no regular file"):
        write_bytes(tmp_path / "pipe", b"ours", KIND)
    assert os.read(reader, 10) == b""
    os.close(reader)


def test_a_file_half_written_is_deleted(tmp_path):
    """A limit on the size of files stands in for a full disk."""

    def work():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        with pytest.raises(MachineError, match="the system failed while writing the manifest"):
            write_bytes(tmp_path / "file", bytes(100_000), KIND)

    assert forked(work) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EMFILE, errno.EDQUOT])
def test_the_machine_is_the_reason(code):
    error = system_error(OSError(code, os.strerror(code)), "writing x", "/a/b")
    assert isinstance(error, MachineError) and os.strerror(code) in str(error) and "/a/b" in str(error) and error.fix


@pytest.mark.parametrize("code", [errno.EACCES, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ELOOP])
def test_the_path_is_the_reason(code):
    error = system_error(OSError(code, os.strerror(code), "/a/b"), "writing x")
    assert type(error) is InputError and "/a/b" in str(error)
