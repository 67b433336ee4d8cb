"""A set of kernels in files, and the records that launchers read."""

from __future__ import annotations

import json
import sys

import pytest

from g4compile.errors import BundleError, MachineError
from g4compile.targets.kernels.architectures import ARCHITECTURES, PLAIN
from g4compile.targets.kernels.launch import Launch, Size
from tests.targets.kernels import cubin
from tests.targets.kernels.cases import FEW


def test_a_size_is_a_product_over_a_number_rounded_up():
    shapes = {"q": [2, 32, 100, 512]}
    assert Size().of(shapes) == 1
    assert Size(times=704, over=64).of(shapes) == 11
    assert Size((("q", 0),), times=4).of(shapes) == 8
    assert Size((("q", 0), ("q", 2)), times=8, over=64).of(shapes) == 25
    assert Size((("q", 2),), over=64).of(shapes, lambda value, over: ("over", value, over)) == ("over", 100, 64)


def test_grids_are_those_of_the_benchmark():
    gate_up, attention = FEW["gate_up-16"], FEW["attention-31b"]
    slots = {"tile_expert": [40], "row_token": [640]}
    assert [size.of(slots) for size in gate_up.forms[0].grid] == [11, 40, 1]
    assert [size.of(slots) for size in gate_up.forms[1].grid] == [22, 40, 1]
    shapes = {"q": [1, 32, 128, 512], "k": [1, 4, 1024, 512]}
    assert [size.of(shapes) for size in attention.forms[0].grid] == [4, 16, 1]
    integers = [one.value.of(shapes) for one in attention.arguments if one.kind == "size"]
    assert integers == [128, 1024]


def test_scalars_promise_no_alignment_beyond_their_own():
    for variant in FEW.values():
        scalars = {"tile_expert", "first"}
        for one in variant.arguments:
            assert one.align == (0 if one.kind == "size" else 4 if one.name in scalars else 16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pytest.importorskip("triton", reason="Triton is not installed: it is part of the dev extra on Linux")
    from g4compile.targets.kernels import artefacts

    made = tmp_path_factory.mktemp("kernels")
    artefacts.write(made, [FEW["gate_up-16"], FEW["attention-31b"]], (80, 90))
    return made


def test_a_manifest_names_every_file_and_says_how_to_launch_it(folder):
    from g4compile.targets.kernels import artefacts
    from g4compile.targets.kernels.aot import compile_kernel

    found = list(artefacts.read(folder))
    assert {file.name for one in found for file in (one.cubin, one.ptx)} | {"kernels.json"} == {
        file.name for file in folder.iterdir()
    }
    for variant in (FEW["gate_up-16"], FEW["attention-31b"]):
        for architecture in (80, 90):
            target = ARCHITECTURES[architecture].target
            ladder = [one for one in found if (one.launch.kernel, one.launch.target) == (variant.kernel, target)]
            sizes = [one.launch.shared for one in ladder]
            assert sizes == sorted(sizes, reverse=True) and sizes[-1] <= PLAIN < sizes[0]
            assert ladder[-1].launch == compile_kernel(variant, architecture, PLAIN).launch
            for one in ladder:
                code = cubin.parse(one.cubin.read_bytes())
                assert (code.architecture, code.entry, code.threads) == (
                    architecture,
                    one.launch.entry,
                    one.launch.threads,
                )
                assert f".entry {one.launch.entry}(" in one.ptx.read_text()


def test_a_record_is_plain(folder):
    record = json.loads((folder / "kernels.json").read_text())["launches"][-1]
    assert record["kernel"] == "flash_attention" and record["target"] == "sm_90a"
    assert record["attributes"] == {"heads": 32, "kv_heads": 4, "width": 512}
    assert [(one["name"], one["kind"], one["dtype"], one["align"]) for one in record["arguments"]] == [
        ("q", "input", "bf16", 16),
        ("k", "input", "bf16", 16),
        ("v", "input", "bf16", 16),
        ("first", "input", "i32", 4),
        ("NEW", "size", "i32", 0),
        ("SLOTS", "size", "i32", 0),
        ("out", "output", "bf16", 16),
    ]
    assert record["grid"][1] == {"dims": [["q", 2]], "times": 8, "over": record["grid"][1]["over"]}
    del record["cubin"], record["ptx"]
    assert json.loads(json.dumps(Launch.parse(record).json())) == record


def test_without_triton(tmp_path, monkeypatch):
    from g4compile.targets.kernels import artefacts

    monkeypatch.setitem(sys.modules, "triton", None)
    with pytest.raises(MachineError, match="Triton is not installed"):
        artefacts.write(tmp_path, [], [])


def test_another_format_is_refused(tmp_path):
    pytest.importorskip("triton", reason="Triton is not installed: it is part of the dev extra on Linux")
    from g4compile.targets.kernels import artefacts

    (tmp_path / "kernels.json").write_text(json.dumps({"format": 99, "launches": []}))
    with pytest.raises(BundleError, match="format 99, and 1 is what is read"):
        list(artefacts.read(tmp_path))
