"""What kernels of the decoder are compiled to, at sizes of E2B and 26B-A4B, and the list of them that a bundle has."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("triton", reason="Triton is not installed: it is part of the dev extra on Linux")
from g4compile.runtime.cuda.kernels import kernels_for
from g4compile.runtime.device import Gpu
from g4compile.targets.kernels import attention_kernels, product_kernels, row_kernels
from g4compile.targets.kernels.aot import assemble, compile_source
from g4compile.targets.kernels.attention_kernels import Heads, splits
from g4compile.targets.kernels.bundled import MANIFEST, write_kernels
from g4compile.targets.kernels.kernel import dependent, ladder
from g4compile.targets.kernels.product_kernels import GEGLU, NONE, Matrices, Stream
from tests.targets.kernels import cubin
from tests.targets.kernels.test_aot import SYSTEM, wide

EPSILON, KB = 1e-6, 1024
GATED, STREAM = Matrices((6144, 6144), 1536), Stream(adds=True, scaled=False, normed=True)
SLIDING = Heads(8, 1, 256, 512, writes=True, key_is_value=False, epsilon=EPSILON)
FEW = {
    "one": product_kernels.product_one(GATED, GEGLU, STREAM, False, 0.0, EPSILON),
    "one-int4": product_kernels.product_one(Matrices((2560,), 1536, 4, 128), NONE, STREAM, False, 0.0, EPSILON),
    "rows": product_kernels.product_rows(GATED, GEGLU, product_kernels.Rows(16)),
    "split": attention_kernels.attend_split(SLIDING, splits(SLIDING)[0][1]),
    "stream": row_kernels.stream_rows(1536, STREAM, EPSILON),
}
COPIES = {"rows", "split"}  # copies to shared memory round the registers; the others load 16 bytes into registers


@pytest.mark.parametrize(("name", "architecture"), [*((name, 90) for name in FEW), ("one", 80), ("split", 80)])
def test_code_loads_many_bytes_at_a_time_and_may_start_early(name, architecture):
    kernel = FEW[name]
    made = compile_source(kernel.source(kernel.ways[0], dependent(architecture)), architecture)
    copies, loads = wide(made.ptx)
    assert copies >= 16 if name in COPIES else loads >= 4
    early = [len(re.findall(rf"griddepcontrol\.{what}", made.ptx)) for what in ("launch_dependents", "wait")]
    assert early == ([1, 1] if architecture >= 90 else [0, 0])
    assert ".local" not in made.ptx  # registers are enough
    found = cubin.parse(assemble(made.ptx, architecture))
    threads = 32 * kernel.ways[0].warps
    assert (found.architecture, found.entry, found.threads) == (architecture, kernel.function, threads)
    assert found.static == (SYSTEM if architecture >= 90 else 0)
    assert found.parameters == parameter_bytes(kernel)


@pytest.mark.parametrize("kernel", [row_kernels.top_of_pieces(), row_kernels.top_of_all(64)], ids=lambda one: one.name)
def test_the_likeliest_tokens_are_found_in_registers(kernel):
    """At 262,144 tokens; what is exchanged between warps takes less shared memory than any GPU gives unasked."""
    (made,) = ladder(kernel, 90).values()
    assert ".local" not in made.ptx and made.shared <= 48 * KB
    found = cubin.parse(assemble(made.ptx, 90))
    assert (found.entry, found.threads) == (kernel.function, 512)
    assert found.parameters == parameter_bytes(kernel)


def parameter_bytes(kernel):
    at = 0
    for _, kind in kernel.types:
        size = 4 if kind == "i32" else 8
        at = -(-at // size) * size + size
    return at


def test_weights_are_read_before_a_kernel_waits():
    """The reason to start early: a wait stands behind loads of a kernel of one row."""
    kernel = FEW["one"]
    ptx = compile_source(kernel.source(kernel.ways[0], dependent(90)), 90).ptx
    before, _, after = ptx.partition("griddepcontrol.wait")
    assert "griddepcontrol.launch_dependents" in before
    assert wide(before)[1] >= 8 and "st.global" not in before and "st.global" in after


def test_angles_of_late_positions_are_exact():
    """Fast sines are wrong by much where an angle is thousands of turns."""
    kernel = row_kernels.rotary_angles(128)
    ptx = compile_source(kernel.source(kernel.ways[0], dependent(90)), 90).ptx
    assert not re.search(r"(sin|cos)\.approx", ptx)


def test_the_list_of_kernels_is_what_a_session_reads(tmp_path):
    kernels = [FEW["stream"], FEW["rows"]]
    write_kernels(tmp_path, kernels, (80, 90))
    records = json.loads((tmp_path / MANIFEST).read_text())["kernels"]
    assert [(one["name"], one["sm"]) for one in records[:2]] == [(FEW["stream"].name, 80), (FEW["stream"].name, 90)]
    files = dict.fromkeys(path.name for path in tmp_path.iterdir())
    bundle = SimpleNamespace(folder=Path(tmp_path), manifest=SimpleNamespace(files=files))
    for gpu, architecture in ((Gpu("A100", (8, 0), 163 * KB, 1), 80), (Gpu("H200", (9, 0), 227 * KB, 1), 90)):
        found = {one.name: one for one in kernels_for(bundle, MANIFEST, gpu)}
        for kernel in kernels:
            made = ladder(kernel, architecture)[max(ladder(kernel, architecture))]
            one = found[kernel.name]
            assert one.image == assemble(made.ptx, architecture)
            assert (one.entry, one.threads, one.shared) == (kernel.function, 32 * made.way.warps, made.shared)
            assert (one.dependent, one.grid) == (architecture == 90, made.way.grid)
