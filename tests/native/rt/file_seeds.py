"""Small inputs of the fuzzers of manifests and of states: manifests of tiny bundles, cut down, and states of the
manifest that stands in the harness.

python -m tests.native.rt.file_seeds FOLDER BUNDLE...
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import sys
from pathlib import Path

from tests.manifests import with_own_hash
from tests.native.building import NATIVE

HARNESS = NATIVE / "fuzz" / "state.cc"
READ = (
    *("manifest_version", "target", "modalities", "context", "vocab_size", "bos_token_id", "pad_token_id"),
    *("stop_token_ids", "requires", "parts", "graphs", "files", "media", "text_tables"),
)
_OF_A_LAYER = re.compile(r"(?:past_key_values|present)\.(\d+)\.")


def _hashed(manifest):
    data = json.dumps({**manifest, "manifest_sha256": "0" * 64}, separators=(",", ":"))
    spaced = data.replace('"manifest_sha256":', '"manifest_sha256": ')  # as files have it
    return with_own_hash(spaced.encode())


def cut_down(manifest):
    """The manifest with what the C runtime reads of it, and its first layer of each kind; files have small sizes."""
    made = {name: manifest[name] for name in READ}
    layers = {}
    for layer in manifest["parts"]["decoder"]["kv"]["layers"]:
        layers.setdefault(layer["kind"], layer)
    made["parts"] = {"decoder": {"kv": {**manifest["parts"]["decoder"]["kv"], "layers": list(layers.values())}}}
    kept = {str(layer["layer"]) for layer in layers.values()}

    def is_kept(tensor):
        found = _OF_A_LAYER.match(tensor["name"])
        return not found or found[1] in kept

    made["graphs"] = {
        name: {
            **{field: graph[field] for field in ("file", "part")},
            **{side: list(filter(is_kept, graph[side])) for side in ("inputs", "outputs")},
        }
        for name, graph in manifest["graphs"].items()
    }
    read = {"weights.data", "tokenizer.g4", "chat.g4", *(graph["file"] for graph in manifest["graphs"].values())}
    made["files"] = {name: {"bytes": 1, "sha256": "0" * 64} for name in sorted(manifest["files"]) if name in read}
    return _hashed(made)


def manifest_seeds(folders):
    """Inputs by name, of the bundles in ``folders`` by name."""
    return {name: cut_down(json.loads((folder / "g4.json").read_text())) for name, folder in folders.items()}


def harness_manifest():
    """The manifest of the harness of states, and its hash: zeros stand in the place of the digits already."""
    (text,) = re.findall(r'R"json\((.*?)\)json"', HARNESS.read_text(), re.DOTALL)
    return json.loads(text), hashlib.sha256(text.encode()).digest()


def state(manifest, digest, tokens, rewound=0):
    """The file of a state with ``tokens``, of which ``rewound`` were forgotten."""
    kv = manifest["parts"]["decoder"]["kv"]
    left, entries, tensors = tokens - rewound, b"", b""
    slots = min(-(-tokens // 4) * 4, manifest["context"])
    for layer in kv["layers"]:
        held = min(tokens, layer["keep"]) - rewound if layer["keep"] else 0
        room = layer.get("slots") or (held if layer["keep"] else slots)
        for width, kind in ((layer["head_dim"], "b"), (1, "f")) * 2:
            entries += struct.pack("<qq", held, room)
            count = layer["heads"] * room * width
            tensors += struct.pack(f"<{count}{kind}", *(index % 50 for index in range(count)))
    logits = [] if rewound or not tokens else [0.5] * manifest["vocab_size"]
    header = struct.pack("<8sII32sqq", b"g4state", 1, 4 * len(kv["layers"]), digest, left, len(logits))
    whole = header + entries + struct.pack(f"<{len(logits)}f", *logits) + tensors
    return whole + hashlib.sha256(whole).digest()


def state_seeds():
    """Inputs by name."""
    manifest, digest = harness_manifest()
    return {
        "empty": state(manifest, digest, 0),
        "whole": state(manifest, digest, 9),
        "rewound": state(manifest, digest, 9, rewound=2),
    }


if __name__ == "__main__":
    corpus, folders = Path(sys.argv[1]), {Path(folder).name: Path(folder) for folder in sys.argv[2:]}
    for name, seeds in (("manifest", manifest_seeds(folders)), ("state", state_seeds())):
        for seed, data in seeds.items():
            (corpus / name / seed).write_bytes(data)
