"""Files of a bundle that are changed, cut, grown, gone, or no files: refused at load, or the logits are the same.

`weights.data` is mapped and large, and only `verify --hashes` reads all of it: a changed byte there is found by that.
"""

import os
import random

import pytest

from g4compile.bundle.folder import Bundle
from g4compile.errors import BundleError
from tests.fuzz.bundles import is_refused, logits_of, seeds_for
from tests.fuzz.mutate import mutate_bytes, several
from tests.manifests import linked, replace

FILES = ("decoder.onnx", "embed.onnx", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "g4.json")


@pytest.fixture(params=["tiny-e2b", "int8 KV"])
def source(request, bundles, int8_kv):
    return (int8_kv if request.param == "int8 KV" else bundles(request.param)).folder


def run(source, folder, seeds):
    linked(source, folder)
    whole = logits_of(source)
    for seed in seeds:
        chance = random.Random(seed)
        name = chance.choice(FILES)
        content = (source / name).read_bytes()
        changed = several(chance, mutate_bytes, content)
        replace(folder / name, changed)
        assert is_refused(folder, whole) == (changed != content), f"{name}, seed {seed}"
        replace(folder / name, content)


def test_changed_files(source, tmp_path):
    run(source, tmp_path / "bundle", range(250))


@pytest.mark.nightly
def test_changed_files_for_a_minute(source, tmp_path):
    run(source, tmp_path / "bundle", seeds_for(30))


@pytest.mark.parametrize("name", [*FILES, "weights.data", "generation_config.json"])
def test_what_is_no_file(bundles, tmp_path, name):
    source = bundles("tiny-e2b").folder
    folder = linked(source, tmp_path / "bundle")
    whole, file = logits_of(source), folder / name
    makes = (
        lambda: None,
        file.mkdir,
        lambda: os.mkfifo(file),
        lambda: file.symlink_to("/dev/zero"),
        lambda: file.symlink_to("/dev/full"),
        lambda: file.symlink_to("nothing"),
        lambda: file.symlink_to(name),
        lambda: file.symlink_to(source / name),
        lambda: file.symlink_to("."),
        file.touch,
    )
    for make in makes:
        if file.is_dir() and not file.is_symlink():
            file.rmdir()
        else:
            file.unlink(missing_ok=True)
        make()
        assert is_refused(folder, whole)


def test_changed_weights_are_found_by_their_hash(source, tmp_path):
    """And a run over them ends in no crash: they are numbers, whatever they are."""
    folder = linked(source, tmp_path / "bundle")
    content = (source / "weights.data").read_bytes()
    for seed in range(15):
        chance = random.Random(seed)
        changed = bytearray(content)
        start = chance.randrange(len(content) - 64)
        changed[start : start + 64] = chance.randbytes(64)
        replace(folder / "weights.data", bytes(changed))
        assert logits_of(folder).shape == (1, 1024)
        with pytest.raises(BundleError, match=r"content of weights\.data is not what was compiled"):
            Bundle.open(folder).check_hashes()
