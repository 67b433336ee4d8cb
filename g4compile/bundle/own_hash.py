"""A JSON file that holds the SHA-256 of its own bytes, so that every changed byte of it is seen.

The hash is taken with 64 zeros in the place of its digits, so a reader in any language needs no canonical form of JSON:
it finds the field in the bytes, puts the zeros there, and compares. It tells of damage, not of origin: who changes the
file can write the hash of what it is now.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import msgspec

OWN_HASH = "manifest_sha256"
_ZEROS = "0" * 64
_FIELD = re.compile(rb'("%s"\s*:\s*")([0-9a-f]{64})"' % OWN_HASH.encode())


def add_own_hash(fields: Mapping[str, Any]) -> bytes:
    """``fields`` as the bytes of a JSON file whose last field is its own hash; one that ``fields`` have is replaced."""
    whole = {**{name: value for name, value in fields.items() if name != OWN_HASH}, OWN_HASH: _ZEROS}
    data = msgspec.json.format(msgspec.json.encode(whole), indent=2) + b"\n"
    before, _, after = data.rpartition(_ZEROS.encode())
    return before + hashlib.sha256(data).hexdigest().encode() + after


def own_hash_fault(data: bytes) -> str:
    """Why the JSON file ``data`` is not what was written; nothing when it is."""
    found = list(_FIELD.finditer(data))
    if len(found) != 1:
        return f"the field {OWN_HASH} stands {len(found)} times in it as 64 digits, not once"
    start, end = found[0].span(2)
    digest = hashlib.sha256(data[:start])
    digest.update(_ZEROS.encode())
    digest.update(data[end:])
    if digest.hexdigest().encode() != found[0][2]:
        return f"the SHA-256 of its bytes is not the one in its field {OWN_HASH}"
    return ""
