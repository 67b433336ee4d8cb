"""What the emitter and the plugins use, asked of the bindings of full TensorRT, which are real, of each release that is
taken; its libraries are stubs."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from g4compile.targets.tensorrt.edition import FULL
from g4compile.targets.tensorrt.launches import Launch
from tests.conftest import once
from tests.targets.tensorrt import stubs
from tests.targets.tensorrt.bindings import INSTALLED, asked


@pytest.fixture(scope="session")
def notes(trt, shared, checkpoints):
    folders = [str(checkpoints(variant).folder) for variant in ("tiny-e2b", "tiny-26b-a4b")]

    def record(path):
        command = [sys.executable, "-m", "tests.targets.tensorrt.recorder", *folders]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        path.write_text(done.stdout.splitlines()[-1])

    return json.loads(once(shared, "recorded-notes.json", record).read_text())


def test_the_release_is_the_one_that_is_meant(request, bindings, tmp_path):
    """And it is one that is taken."""
    command = [sys.executable, "-c", _VERSION, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=bindings)
    assert done.returncode == 0, done.stderr
    found, wanted = done.stdout.splitlines()[-1], request.node.callspec.params["bindings"]
    assert wanted in (INSTALLED, found)
    FULL.check_version(found)


def test_full_tensorrt_has_all_that_is_used(notes, tmp_path, bindings):
    assert len(notes) > 100
    plugins = {Launch.parse(note[1]).kernel.function for note in notes if note[0] == "plugin"}
    assert plugins == {
        *("attend_tokens", "choose_experts", "count_experts", "expert_sum", "place_rows", "product_one"),
        *("product_rows", "stream_rows"),
    }
    used = {note[2] for note in notes if note[0] in ("call", "member", "attribute")}
    assert {"add_gather_v2", "add_concatenation", "ND", "OR"} <= used  # of vision, and of image blocks
    assert {"add_convolution_nd", "FILL", "SOFTPLUS", "pre_padding", "num_groups"} <= used  # of audio
    assert {"add_attention", "add_select", "MAX"} <= used  # of attention in all its forms
    assert asked(notes, tmp_path, bindings) == []


def test_a_wrong_name_argument_or_member_is_seen(notes, tmp_path, bindings):
    plugin = next(note for note in notes if note[0] == "plugin")
    wrong = [
        ["call", "INetworkDefinition", "add_rms_norm", ["ITensor"]],
        ["call", "INetworkDefinition", "add_gather", ["ITensor", "ITensor"]],
        ["call", "INetworkDefinition", "add_cast", ["ITensor", "ITensor"]],
        ["attribute", "IAttention", "window"],
        ["member", "KVCacheMode", "RING"],
        ["name", "ComputeCapability"],
        ["plugin", plugin[1], plugin[2][:-1]],
        ["plugin", "{}", [["bfloat16", 2]]],
    ]
    found = asked([*notes, *wrong], tmp_path, bindings)
    assert len(found) == len(wrong), found


_VERSION = """
import sys
from pathlib import Path
from tests.targets.tensorrt.stubs import load
print(load(Path(sys.argv[1])).__version__)
"""


def test_signatures_are_read_as_they_are_written():
    module = SimpleNamespace(
        Kind=type("Kind", (), {"add": property(), "do": lambda: None}),
        DataType=SimpleNamespace(__members__={"BF16": 1}),
    )
    module.Kind.do.__doc__ = "do(self: x.Kind, name: str, size: x.Dims, kind: x.DataType = <DataType.FLOAT: 0>) -> None"
    notes = [["call", "Kind", "do", ["str", "tuple"]], ["call", "Kind", "do", ["str", "tuple", "DataType"]]]
    assert stubs.problems(module, notes) == []
    assert len(stubs.problems(module, [["call", "Kind", "do", ["tuple", "tuple"]]])) == 1
