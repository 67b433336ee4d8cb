"""Scratch of libg4cuda's ops: outputs that a plan has sizes for and the node does not name. No GPU:
`tests/native/cuda.py`.

ONNX Runtime's arena gives the place that was given back last to whoever asks for as much: an address that comes again
was given back.
"""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from onnx import helper

from tests.native.cuda import HALF, SHAPES, graph, kernel, launches, named, norm

LARGE = 1 << 60  # numbers, which no machine has memory for
MIB = 1 << 20
USES = kernel("uses", (8, 8))  # takes the address of scratch, and of an output


def two_rows(launch, size):
    """A NormProduct that has y alone; what it launches for one row, and that scratch has ``size`` then."""
    plan = [f"r<=1 {launch}", "* -"]
    sizes = ["r<=1 o0 i0.0 i0.1 i5.0", f"r<=1 {size}", "* o0 i0.0 i0.1 i5.0", f"* {size}"]
    return norm(plan, sizes, outputs=(HALF,))


def chain(nodes, scratch, listed=False):
    """``nodes`` products, each of what the one in front gives; each has ``scratch`` bfloat16 numbers of its own."""
    model = graph("Product", [*named("x", [HALF]), ("w", HALF)], [("y", HALF)], ["* uses o1 o0"], [], "first")
    (first,) = model.graph.node
    del model.graph.node[:]
    for index in range(nodes):
        node = model.graph.node.add()
        node.CopyFrom(first)
        node.name, last = f"product {index}", index == nodes - 1
        node.input[:] = [f"h{index - 1}" if index else "x0", "w"]
        node.output[:] = ["y" if last else f"h{index}", *([f"scratch{index}"] if listed else [])]
        sizes = ["* o0 i0.0 i0.1", f"* o1 {scratch}"]
        next(one for one in node.attribute if one.name == "sizes").CopyFrom(helper.make_attribute("sizes", sizes))
    return model, {"x0": [1, 64], "w": [64, 64]}


def addresses(answer, place=0):
    """Argument ``place`` of each launch."""
    return [one[3][place] for one in launches(answer)]


def test_it_is_other_memory_than_the_outputs(machine):
    """As long as the op runs. Aligned to 64 bytes on the CPU, to 256 on a GPU."""
    plan = ["* both o1 o2 o0"]
    sizes = ["* o0 i0.0 i0.1 i5.0", f"* o1 {MIB}", f"* o2 {MIB}"]
    answer = machine([kernel("both", (8, 8, 8))], [(norm(plan, sizes, outputs=(HALF,)), SHAPES)])
    (run,) = answer["models"][0]["runs"]
    ((_, _, _, (wide, narrow, y)),) = launches(answer)
    assert list(run["outputs"]) == ["o0"] and run["outputs"]["o0"]["address"] == y
    ends = sorted([(wide, 4 * MIB), (narrow, 2 * MIB), (y, 2 * 40)])  # o1 is float32, o2 bfloat16
    assert all(at + size <= behind for (at, size), (behind, _) in pairwise(ends))
    assert wide % 64 == narrow % 64 == 0


def test_that_of_nodes_in_a_row_does_not_add_up(machine):
    """All have the same memory; as outputs that no node reads, each has its own until the run ends."""
    model, shapes = chain(12, 8 * MIB)
    assert len(set(addresses(machine([USES], [(model, shapes)])))) == 1
    model, shapes = chain(12, 8 * MIB, listed=True)
    assert len(set(addresses(machine([USES], [(model, shapes)])))) == 12


def test_runs_do_not_add_up(machine):
    model, shapes = chain(2, 8 * MIB)
    answer = machine([USES], [(model, shapes)], contexts=(None,) * 5)
    assert len(addresses(answer)) == 10 and len(set(addresses(answer))) == 1


def test_it_is_given_back_where_a_launch_fails(machine):
    """The second of two: what the first one wrote down comes again in each run."""
    model = two_rows("uses o1 o0", f"o1 {MIB}")
    plan = next(one for one in model.graph.node[0].attribute if one.name == "launches")
    plan.strings.insert(1, b"r<=1 wrong o1")
    answer = machine([USES, kernel("wrong", (4,))], [(model, SHAPES)], contexts=(None,) * 4)
    assert all('"wrong" takes parameters of 4 bytes' in run["error"] for run in answer["models"][0]["runs"])
    assert len(addresses(answer)) == 4 and len(set(addresses(answer))) == 1


def test_what_no_launch_takes_is_not_allocated(machine):
    """Under a condition that launches nothing, or something else: memory of no machine."""
    for launch in ("-", "one o0"):
        model = two_rows(launch, f"o3 {LARGE}")
        for rows in (1, 2):
            answer = machine([kernel("one", (8,))], [(model, {**SHAPES, "i0": [1, rows, 16]})])
            assert "outputs" in answer["models"][0]["runs"][0]


def test_none_of_no_numbers(machine):
    """No memory: the address 0."""
    model = two_rows("uses o3 o0", "o3 r*0")
    assert addresses(machine([USES], [(model, SHAPES)])) == [0]


@pytest.mark.parametrize(("output", "size"), [(1, 4), (2, 2), (3, 2)])
def test_no_memory_left(machine, output, size):
    """The op, the node, and how many bytes it asked for."""
    model = two_rows(f"uses o{output} o0", f"o{output} {LARGE}")
    answer = machine([USES], [(model, SHAPES)])
    words = rf'NormProduct "the NormProduct": {LARGE * size} bytes of scratch memory cannot be allocated: .*'
    assert re.search(words, answer["models"][0]["runs"][0]["error"]) and launches(answer) == []


def test_more_bytes_than_64_bits_hold(machine):
    model = two_rows("uses o1 o0", f"o1 {LARGE} 16")
    error = machine([USES], [(model, SHAPES)])["models"][0]["runs"][0]["error"]
    assert 'NormProduct "the NormProduct": the scratch o1 has more bytes than 64 bits hold' in error


def test_an_output_between_others(machine):
    """Its name is empty."""
    sizes = ["* o0 1", f"* o1 {MIB}", "* o2 2 3"]
    model = norm(["* uses o1 o2"], sizes, outputs=(HALF, None, HALF))
    answer = machine([USES], [(model, SHAPES)])
    (run,) = answer["models"][0]["runs"]
    assert run["outputs"]["o2"]["shape"] == [2, 3] and addresses(answer, 1) == [run["outputs"]["o2"]["address"]]
