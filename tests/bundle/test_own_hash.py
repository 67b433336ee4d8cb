"""The hash that a manifest holds of itself: every changed byte is seen, whatever program wrote the file."""

import hashlib
import json

import numpy as np
import pytest

from g4compile.bundle.folder import Bundle
from g4compile.bundle.own_hash import add_own_hash, own_hash_fault
from g4compile.errors import BundleError
from tests.manifests import linked, replace


def test_it_is_the_hash_of_the_bytes_with_zeros_in_its_place():
    data = add_own_hash({"a": [1, 2.5], "b": "0" * 64})
    digest = json.loads(data)["manifest_sha256"]
    assert hashlib.sha256(data.replace(digest.encode(), b"0" * 64)).hexdigest() == digest
    assert own_hash_fault(data) == ""
    assert json.loads(data) == {"a": [1, 2.5], "b": "0" * 64, "manifest_sha256": digest}
    assert add_own_hash(json.loads(data)) == data


def test_the_form_of_the_file_is_free():
    """As another program may write it: in one line, the field anywhere."""
    text = json.dumps({"manifest_sha256": "0" * 64, "a": 1}, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert own_hash_fault(text.replace("0" * 64, digest).encode()) == ""


@pytest.mark.parametrize(
    "field", ["", '"manifest_sha256": "ab"', ", ".join(['"manifest_sha256": "' + "0" * 64 + '"'] * 2)]
)
def test_it_stands_there_once(field):
    assert "not once" in own_hash_fault(b"{%s}" % field.encode())


def test_every_changed_bit_of_a_manifest_is_refused(bundles, tmp_path):
    """At 400 places, and each line that is left out."""
    folder = linked(bundles("tiny-e2b").folder, tmp_path / "bundle")
    whole = (folder / "g4.json").read_bytes()
    changed = []
    for place in np.linspace(0, len(whole) - 1, 400).astype(int):
        data = bytearray(whole)
        data[place] ^= 1 << (place % 8)
        changed.append(bytes(data))
    lines = whole.splitlines(keepends=True)
    changed += [b"".join(lines[:index] + lines[index + 1 :]) for index in range(0, len(lines), 9)]
    for data in changed:
        replace(folder / "g4.json", data)
        with pytest.raises(BundleError):
            Bundle.open(folder)
    replace(folder / "g4.json", whole)
    Bundle.open(folder)


def test_a_changed_field_is_called_a_change(bundles, tmp_path):
    folder = linked(bundles("tiny-e2b").folder, tmp_path / "bundle")
    replace(folder / "g4.json", (folder / "g4.json").read_bytes().replace(b'"context": 1024', b'"context": 1023'))
    with pytest.raises(BundleError, match="manifest is not what was written") as refused:
        Bundle.open(folder)
    assert refused.value.where == str(folder / "g4.json") and "copy the bundle again" in refused.value.fix
