"""Kernels as they are embedded, beside the same kernels under Triton's JIT: same bytes out, and how long each takes.

    python benchmarks/gpu/ptx.py make FOLDER [--architecture 90]     anywhere with Triton
    python benchmarks/gpu/ptx.py run FOLDER [--out FILE]             on the GPU, with torch and Triton

`make` writes what `g4compile/targets/kernels/artefacts.py` makes: per kernel and budget of shared memory a cubin, PTX
and a launch. `run` launches those by the CUDA driver alone (`driver.py`). The form of at most 48 kB, as PTX, is what a
TensorRT engine holds. Sizes, operands and timing are those of `kernels.py`.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.gpu import kernels
from benchmarks.gpu.driver import Kernel, most_shared
from benchmarks.gpu.kernels import BF16, GPU, INNER, ROUTINGS, WIDTH, Experts, Routing, milliseconds
from g4compile.ops.expert_routing import tile_of
from g4compile.targets.kernels import artefacts, configs, variants
from g4compile.targets.kernels.architectures import ARCHITECTURES
from g4compile.targets.kernels.artefacts import Stored
from g4compile.targets.kernels.configs import BLOCK_DOWN, BLOCK_GATE_UP
from g4compile.targets.kernels.variants import Variant

TOKENS = (1, 8, 64, 512, 4096)
ATTENTION = [  # name, heads, KV heads, new, cache; heads of 512
    ("31b full, 4096 tokens", 32, 4, 4096, 4096),
    ("31b full, 512 behind 3584", 32, 4, 512, 4096),
    ("31b full, 128 behind 3968", 32, 4, 128, 4096),
    ("e2b full, 4096 tokens", 8, 1, 4096, 4096),
]
HEAD = 512
_EQUAL_ENOUGH = 1e-2  # relative, of bfloat16 results that are summed in another order


@dataclass(frozen=True)
class Case:
    """A kernel at one size: ``calls`` are inputs and output, several so that weights come from memory, and ``jit``
    runs call number N under Triton's JIT."""

    name: str
    variant: Variant
    calls: list[tuple[list[Any], Any]]
    jit: Callable[[int], Any]


def made_of(kernel: str, tokens: int, coded: bool) -> Variant:
    """The variant of experts that ``tokens`` take."""
    block = BLOCK_GATE_UP if kernel == "expert_gate_up" else BLOCK_DOWN
    make = getattr(variants, kernel)
    return make(WIDTH, INNER, tile_of(tokens), block if coded else 0)  # type: ignore[no-any-return]


def all_variants() -> list[Variant]:
    experts = [
        made_of(kernel, tokens, coded)
        for kernel in ("expert_gate_up", "expert_down")
        for tokens in TOKENS
        for coded in (False, True)
    ]
    attention = [variants.flash_attention(heads, kv_heads, HEAD) for _, heads, kv_heads, _, _ in ATTENTION]
    return list(dict.fromkeys([*experts, *attention]))


def expert_cases(experts: Experts, tokens: int, coded: bool) -> Iterator[Case]:
    """Gate-up, and down over what gate-up left."""
    x = torch.randn(tokens, WIDTH, device=GPU, dtype=BF16)
    up, low = (ladder(tile_of(tokens), coded)[0] for ladder in (configs.gate_up, configs.down))
    routings = [Routing(tokens, up.rows, seed) for seed in range(ROUTINGS)]
    for routing in routings:
        routing.hidden.zero_()
        routing.out.zero_()
        kernels.gate_up(x, routing, experts, coded, up)
    weights, scales = (experts.codes if coded else experts.bf16), (experts.scales if coded else experts.bf16)
    name = f"{tokens} tokens, {'int4' if coded else 'bfloat16'}"

    def calls(part: str, read: Callable[[Routing], Any], written: Callable[[Routing], Any]) -> list[Any]:
        rest = (weights[part], scales[part])
        return [([read(r), r.row_token, r.tile_expert, *rest], torch.zeros_like(written(r))) for r in routings]

    yield Case(
        f"expert_gate_up, {name}",
        made_of("expert_gate_up", tokens, coded),
        calls("gate_up", lambda routing: x, lambda routing: routing.hidden),
        lambda place: (kernels.gate_up(x, routings[place], experts, coded, up), routings[place].hidden)[1],
    )
    yield Case(
        f"expert_down, {name}",
        made_of("expert_down", tokens, coded),
        calls("down", lambda routing: routing.hidden, lambda routing: routing.out),
        lambda place: (kernels.down(routings[place], experts, coded, low), routings[place].out)[1],
    )


def attention_case(name: str, heads: int, kv_heads: int, new: int, cache: int) -> Case:
    q = torch.randn(1, heads, new, HEAD, device=GPU, dtype=BF16) / HEAD**0.25
    k, v = (torch.randn(1, kv_heads, cache, HEAD, device=GPU, dtype=BF16) / HEAD**0.25 for _ in range(2))
    first = torch.tensor([cache - new], dtype=torch.int32, device=GPU)
    out = torch.zeros_like(q)
    tiling = configs.flash(HEAD)[0]
    return Case(
        f"flash_attention, {name}",
        variants.flash_attention(heads, kv_heads, HEAD),
        [([q, k, v, first], torch.zeros_like(q))],
        lambda place: (kernels.attend(q, k, v, first, out, 0, tiling), out)[1],
    )


def forms_of(stored: list[Stored], variant: Variant, target: str, shared: int) -> list[Stored]:
    """Those of a variant that the GPU can run, the one with most shared memory first."""
    named = [
        one for one in stored if (one.launch.kernel, one.launch.attributes) == (variant.kernel, variant.attributes)
    ]
    return [one for one in named if one.launch.target == target and one.launch.shared <= shared]


def measure(cuda: Any, case: Case, stored: list[Stored]) -> Iterator[dict[str, Any]]:
    """A row for every form, as cubin and as PTX. Raises AssertionError where it computes something else than the
    JIT."""
    wanted = [case.jit(place).clone() for place in range(len(case.calls))]

    def under_jit() -> None:
        for place in range(len(case.calls)):
            case.jit(place)

    jit = milliseconds(under_jit) / len(case.calls)
    for one in stored:
        for kind in ("cubin", "ptx"):
            kernel = Kernel(cuda, one, kind == "ptx")
            run = partial(_all, kernel, case)
            run()
            torch.cuda.synchronize()
            pairs = list(zip((output for _, output in case.calls), wanted, strict=True))
            error = max(float((found.float() - good.float()).norm() / good.float().norm()) for found, good in pairs)
            row: dict[str, Any] = {"case": case.name, "form": kind, "shared": one.launch.shared, "jit_ms": jit}
            row["ms"] = milliseconds(run) / len(case.calls)
            row["equal_to_jit"] = all(torch.equal(found, good) for found, good in pairs)
            row["difference"] = error
            yield row
            assert error < _EQUAL_ENOUGH, row


def _all(kernel: Kernel, case: Case) -> None:
    stream = torch.cuda.current_stream().cuda_stream
    for inputs, output in case.calls:
        kernel(inputs, output, stream)


def run(folder: Path, out: Path | None) -> None:
    import triton

    torch.zeros(1, device="cuda")  # a context
    cuda = ctypes.CDLL("libcuda.so.1")
    major, minor = torch.cuda.get_device_capability()
    target = ARCHITECTURES.get(10 * major + minor, ARCHITECTURES[80]).target
    stored, shared, rows = list(artefacts.read(folder)), most_shared(cuda), []

    def report(case: Case) -> None:
        found = forms_of(stored, case.variant, target, shared)
        assert found, f"{folder} has no {case.name} for {target}"
        for row in measure(cuda, case, found):
            rows.append(row)
            print(json.dumps(row), flush=True)

    for place in ATTENTION:
        report(attention_case(*place))
    experts = Experts()
    for tokens in TOKENS:
        for coded in (False, True):
            for case in expert_cases(experts, tokens, coded):
                report(case)
    if out is not None:
        device = {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "triton": triton.__version__}
        out.write_text(json.dumps({**device, "target": target, "embedded": rows}, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["make", "run"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--architecture", type=int, default=90)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.what == "make":
        artefacts.write(given.folder, all_variants(), [given.architecture])
    else:
        run(given.folder, given.out)
