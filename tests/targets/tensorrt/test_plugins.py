"""What a TensorRT engine would be given of the kernels: PTX of at most 48 kB, whose parameters are what a plugin is
given, and launches that the kernels themselves carry out as the network's interpreter says."""

from __future__ import annotations

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("triton", reason="Triton is not installed: it is part of the dev extra on Linux")
import onnx_ir as ir

from g4compile.errors import Defect
from g4compile.ops.schema import DOMAIN
from g4compile.targets.kernels.aot import assemble
from g4compile.targets.kernels.architectures import PLAIN
from g4compile.targets.tensorrt.edition import FULL
from g4compile.targets.tensorrt.launches import Launch, chain
from g4compile.targets.tensorrt.plugins import Plugins, compiled
from g4compile.targets.tensorrt.steps import Capacities
from tests.targets.kernels import cubin
from tests.targets.onnx.cuda.launched import Interpreter
from tests.targets.tensorrt.launched import Watched, launched
from tests.targets.tensorrt.recorded import Recorded

WIDE, NARROW, BYTES = ir.DataType.FLOAT, ir.DataType.BFLOAT16, ir.DataType.UINT8


def value(name, dtype, *sizes):
    return ir.Value(name=name, type=ir.TensorType(dtype), shape=ir.Shape(sizes))


def product(rows, columns=1536, widths=(2048, 256, 256), batch=1):
    """The launches of an E2B layer's products by 4-bit codes behind a norm and a sum, for ``rows`` tokens."""
    inputs = [value("h", WIDE, batch, rows, columns), value("p", NARROW, batch, rows, columns)]
    inputs += [value("post", NARROW, columns), None, value("pre", NARROW, columns)]
    blocks = -(-columns // 128)
    missing = [None] * (3 - len(widths))
    inputs += [*(value(f"w{place}", BYTES, width, blocks, 64) for place, width in enumerate(widths)), *missing]
    inputs += [*(value(f"s{place}", NARROW, width, blocks) for place, width in enumerate(widths)), *missing]
    attributes = {"epsilon": 1e-6, "activation": "none", "bits": 4, "block": 128}
    node = ir.node("NormProduct", inputs, attributes, domain=DOMAIN, num_outputs=3, name="q")
    for output, dtype in zip(node.outputs, (NARROW, WIDE, NARROW), strict=True):
        output.type = ir.TensorType(dtype)
    shapes = {f"i{place}": list(one.shape) for place, one in enumerate(inputs) if one is not None}
    if batch != 1:
        shapes |= {name: [-1, *shapes[name][1:]] for name in ("i0", "i1")}
    return chain(node, shapes, (batch, rows))


def test_one_row_is_one_launch():
    (link,) = product(1)
    assert link.reads == ("i0", "i1", "i2", "i4", "i5", "i6", "i7", "i8", "i9", "i10")
    assert link.writes == ("o0", "o1")
    assert link.launch.outputs == (("bf16", ("1", "1", "2560")), ("fp32", ("1", "1", "1536")))
    assert Launch.parse(link.launch.text) == link.launch


def test_rows_are_normed_once_and_their_scratch_goes_on():
    norm, many = product(16)
    assert (norm.launch.kernel.function, many.launch.kernel.function) == ("stream_rows", "product_rows")
    assert norm.writes == ("o1", "o2") and many.reads[0] == "o2" and many.writes == ("o0",)


def test_a_long_sum_is_made_in_parts_of_float32():
    """Its scratch is stated in bfloat16, of which it takes as many bytes."""
    _, parts, total = product(16, columns=6144, widths=(1536,))
    assert parts.launch.outputs == (("fp32", ("8", "16", "1536")),)
    assert (parts.writes, total.reads, total.writes) == (("o3",), ("o3",), ("o0",))


def test_a_number_of_sequences_that_is_not_known_stays_an_expression():
    """The most decides which kernels run. A layer that has no operand with that size gets one for it."""
    norm, many = product(8, batch=3)
    assert many.launch.kernel.name.endswith(".t32")  # of 24 rows
    assert norm.launch.outputs[1] == ("bf16", ("i0.0", "8", "1536"))
    assert many.reads == ("o2", "i5", "i6", "i7", "i8", "i9", "i10", "i0") and many.launch.operands == 8
    shapes = [[2, 8, 1536], *[[1]] * 6, [2, 8, 1536]]
    assert many.launch.shapes(shapes) == [[2, 8, 2560]] and 16 in many.launch.integers(shapes)


@pytest.mark.parametrize(("rows", "batch", "grid"), [(1, 1, (320, 0, 1)), (16, 1, (80, 1, 1)), (8, 3, (80, 1, 1))])
def test_an_engine_is_given_the_parameters_of_the_plugin(rows, batch, grid):
    """In the order operands, integers, outputs; nothing that is absent."""
    link = product(rows, batch=batch)[-1]
    recorded, launch = Recorded(), link.launch
    make = Plugins(recorded, recorded, 90)
    shapes = [[2, 8, 1536] if name in ("o2", "i0") else [1] for name in link.reads]
    if batch == 1:
        shapes = [[1]] * launch.operands
    made = make(launch, [SimpleNamespace(shape_expr=shape) for shape in shapes])
    entry, ptx, params, extra = made.build()
    integers = [one for one in launch.kernel.types if one[1] == "i32"]
    found = re.search(rf"\.entry {entry}\((.*?)\)", ptx, re.DOTALL)[1].split(",")
    kinds = [".u64" if ".u64" in one else ".u32" for one in found]
    assert kinds == [".u64"] * launch.operands + [".u32"] * len(integers) + [".u64"] * len(launch.outputs)
    assert len(extra) == len(integers) and params.shared_mem <= PLAIN
    assert (params.grid_x, params.grid_z) == (grid[0], 1)
    assert "griddepcontrol" not in ptx  # TensorRT launches it
    code = cubin.parse(assemble(ptx, 90))
    assert (code.entry, code.threads) == (entry, params.block_x)
    assert [tuple(one.shape) for one in made.describe()] == [tuple(one) for one in launch.shapes(shapes)]


def test_a_kernel_that_needs_more_shared_memory_is_refused():
    (link,) = product(1)
    nowhere = replace(link.launch, kernel=replace(link.launch.kernel, ways=()))
    with pytest.raises(Defect, match="takes at most 49152 bytes of shared memory on sm_90a"):
        compiled(nowhere, 90)


@pytest.fixture(scope="module")
def interpreter():
    made = Interpreter()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("variant", "weights", "batch", "new"), [("tiny-26b-a4b", "int4", 1, 12), ("tiny-31b", "bfloat16", 2, 9)]
)
def test_kernels_compute_what_networks_are_interpreted_by(variant, weights, batch, new, emit, interpreter):
    """Each launch of a prompt, of a draft and of a step, with what the network hands to it: products, the router, the
    sorting of rows, experts, and attention of wide heads. Slots that no row has are not written."""
    capacities = Capacities(context=256, batch=batch, chunk=16)
    session = emit(variant, capacities, edition=FULL, weights=weights, fused_head=16).session(exact=True)
    ids = np.random.default_rng(5).integers(10, 900, (batch, new))
    with Watched() as watched:
        session.forward(ids)
        session.forward(ids[:, :3], all_positions=True)
        session.forward(ids[:, :1])
    assert watched.seen
    for text, (operands, wanted) in watched.seen.items():
        name = Launch.parse(text).kernel.name
        for array, want in zip(interpreter(launched, text, operands, -1), wanted, strict=True):
            there = ~np.isnan(array) if array.dtype == np.float32 else array != -77_777
            assert there.any(), name
            worst = np.abs(np.where(there, array, 0) - np.where(there, want, 0)).max()
            assert worst <= 1e-5 * max(1, np.abs(want).max()), f"{name}: {worst}"
