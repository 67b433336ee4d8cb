"""The Triton kernels on a GPU: right against float64, and how fast beside what torch offers, in one run.

    python benchmarks/gpu/kernels.py [--sweep] [--out FILE]

Needs torch and Triton with a CUDA device, and nothing of the compiler. Sizes are 26B-A4B's experts (128, 8 a token,
2816 by 704) and 31B's attention (32 heads over 4 KV heads of 512; over 16 of 256 with a window of 1,024). `--sweep`
also times other tilings than those of `g4compile/targets/kernels/configs.py`. Medians of CUDA-graph replays; each
replay runs eight different routings, so that weights come from memory and not from the cache.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))
from g4compile.ops.expert_routing import route, slot_count, tile_of
from g4compile.targets.kernels import configs
from g4compile.targets.kernels.configs import BLOCK_DOWN, BLOCK_GATE_UP, Tiling
from g4compile.targets.kernels.flash_attention import flash_attention
from g4compile.targets.kernels.grouped_gemm import expert_down, expert_gate_up
from g4compile.weights.layouts import PANEL

EXPERTS, CHOICES, WIDTH, INNER = 128, 8, 2816, 704
ROUTINGS = 8
BF16, GPU = torch.bfloat16, torch.device("cuda")


def milliseconds(run: Callable[[], Any], replays: int = 30) -> float:
    """Median time of ``run`` in a CUDA graph."""
    for _ in range(3):
        run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return _median(graph.replay, replays)


def eager_milliseconds(run: Callable[[], Any], repeats: int = 15) -> float:
    for _ in range(3):
        run()
    return _median(run, repeats)


def _median(run: Callable[[], Any], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)


def ceilings() -> dict[str, float]:
    """Bandwidth of a device copy (bytes read and written) and bfloat16 matrix rate."""
    source = torch.empty(2 << 30, dtype=torch.int8, device=GPU).random_()
    target = torch.empty_like(source)
    copy = milliseconds(lambda: target.copy_(source))
    reader = source.view(torch.int32)
    read = milliseconds(reader.max)
    a, b = (torch.randn(8192, 8192, device=GPU, dtype=BF16) for _ in range(2))
    out = torch.empty_like(a)
    product = milliseconds(lambda: torch.mm(a, b, out=out))
    return {
        "copy_gb_per_s": 2 * source.numel() / copy / 1e6,
        "read_gb_per_s": source.numel() / read / 1e6,
        "bf16_tflops": 2 * 8192**3 / product / 1e9,
    }


class Experts:
    """Weights of one layer: bfloat16, and codes with scales."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        shapes = {"gate_up": (EXPERTS, 2 * INNER, WIDTH), "down": (EXPERTS, WIDTH, INNER)}
        blocks = {"gate_up": BLOCK_GATE_UP, "down": BLOCK_DOWN}
        self.codes, self.scales, self.bf16 = {}, {}, {}
        for name, (experts, rows, columns) in shapes.items():
            panels = (experts, rows // PANEL, columns // blocks[name], PANEL)
            packed = torch.randint(0, 256, (*panels, blocks[name] // 2), dtype=torch.uint8, device=GPU)
            self.codes[name] = packed.view(torch.int8)
            self.scales[name] = (0.004 + 0.004 * torch.rand(*panels, device=GPU)).to(BF16)
            self.bf16[name] = dequantized(self.codes[name], self.scales[name])


def dequantized(codes: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """bfloat16 [E, rows, columns] of panels (`g4compile/weights/layouts.py`)."""
    packed = codes.view(torch.uint8)
    levels = torch.cat([packed & 15, packed >> 4], -1).to(BF16) - 8
    return (levels * scales[..., None]).transpose(2, 3).flatten(1, 2).flatten(-2)


class Routing:
    """Random choices of ``tokens``, for tiles of ``rows``."""

    def __init__(self, tokens: int, rows: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.index = torch.rand(tokens, EXPERTS, generator=generator).topk(CHOICES).indices
        parts = route(self.index.numpy(), EXPERTS, rows)
        self.row_token, self.tile_expert, self.slot_of = (torch.from_numpy(part).to(GPU) for part in parts)
        self.slots = slot_count(tokens, CHOICES, EXPERTS, rows)
        self.hit = len(self.index.unique())
        counts = torch.bincount(self.index.reshape(-1), minlength=EXPERTS)
        self.offsets = counts.cumsum(0).to(torch.int32).to(GPU)
        self.sorted = self.index.reshape(-1).argsort(stable=True).to(GPU)
        self.hidden = torch.empty(self.slots, INNER, dtype=BF16, device=GPU)
        self.out = torch.empty(self.slots, WIDTH, dtype=BF16, device=GPU)


def gate_up(x: torch.Tensor, routing: Routing, experts: Experts, quantized: bool, tiling: Tiling) -> Any:
    """Launch it; what Triton compiled comes back."""
    weights = experts.codes if quantized else experts.bf16
    return expert_gate_up[(-(-INNER // tiling.columns), routing.slots // tiling.rows)](
        x, routing.row_token, routing.tile_expert, weights["gate_up"], experts.scales["gate_up"], routing.hidden,
        WIDTH=WIDTH, INNER=INNER, TILE=tiling.rows, BLOCK_N=tiling.columns,
        BLOCK_K=BLOCK_GATE_UP if quantized else tiling.depth, QUANTIZED=quantized, UNROLL=tiling.unroll,
        num_warps=tiling.warps, num_stages=tiling.stages,
    )  # fmt: skip


def down(routing: Routing, experts: Experts, quantized: bool, tiling: Tiling) -> Any:
    weights = experts.codes if quantized else experts.bf16
    return expert_down[(-(-WIDTH // tiling.columns), routing.slots // tiling.rows)](
        routing.hidden, routing.row_token, routing.tile_expert, weights["down"], experts.scales["down"], routing.out,
        WIDTH=WIDTH, INNER=INNER, TILE=tiling.rows, BLOCK_N=tiling.columns,
        BLOCK_K=BLOCK_DOWN if quantized else tiling.depth, QUANTIZED=quantized, UNROLL=tiling.unroll,
        num_warps=tiling.warps, num_stages=tiling.stages,
    )  # fmt: skip


def layer(x: torch.Tensor, routings: list[Routing], experts: Experts, quantized: bool, up: Tiling, low: Tiling) -> None:
    for routing in routings:
        gate_up(x, routing, experts, quantized, up)
        down(routing, experts, quantized, low)


def one_kernel(
    which: str, x: torch.Tensor, routings: list[Routing], experts: Experts, quantized: bool, tiling: Tiling
) -> int:
    """Bytes of shared memory that it takes."""
    for routing in routings:
        if which == "gate_up":
            made = gate_up(x, routing, experts, quantized, tiling)
        else:
            made = down(routing, experts, quantized, tiling)
    return int(made.metadata.shared)


def error(x: torch.Tensor, routing: Routing, experts: Experts) -> float:
    """||found - wanted|| / ||wanted|| over up to 16 tokens, against float64."""
    found, wanted = [], []
    for token in range(min(16, len(x))):
        for choice, expert in enumerate(routing.index[token].tolist()):
            row = experts.bf16["gate_up"][expert].double() @ x[token].double()
            gate, up = row.chunk(2)
            active = torch.nn.functional.gelu(gate, approximate="tanh") * up
            wanted.append(experts.bf16["down"][expert].double() @ active)
            found.append(routing.out[routing.slot_of[token, choice]].double())
    wanted_all, found_all = torch.stack(wanted), torch.stack(found)
    return float((found_all - wanted_all).norm() / wanted_all.norm())


def grouped_mm(x: torch.Tensor, routing: Routing, weights: dict[str, torch.Tensor]) -> None:
    """What torch has: rows sorted by expert, two grouped products."""
    rows = x[routing.sorted // CHOICES]
    both = torch._grouped_mm(rows, weights["gate_up"].mT, offs=routing.offsets)
    gate, up = both.chunk(2, -1)
    hidden = torch.nn.functional.gelu(gate, approximate="tanh") * up
    torch._grouped_mm(hidden, weights["down"].mT, offs=routing.offsets)


def tilings(tokens: int, sweep: bool, which: int, quantized: bool) -> Iterable[Tiling]:
    """Those of the ladder, and more with ``sweep``."""
    ladder = (configs.gate_up, configs.down)[which](tile_of(tokens), quantized)
    yield from ladder
    if sweep:
        few = [(n, w, s, u) for n in (32, 64) for w in (1, 2, 4) for s in (2, 3) for u in (1, 2)]
        many = [(n, w, s, 1) for n in (64, 128) for w in (4, 8) for s in (2, 3, 4)]
        for columns, warps, stages, unroll in few if tokens <= 64 else many:
            for depth in (0,) if quantized else (32, 64, 128):
                other = Tiling(ladder[0].rows, columns, warps, stages, unroll, depth)
                if other not in ladder:
                    yield other


def measure_experts(experts: Experts, limits: dict[str, float], counts: list[int], sweep: bool) -> list[dict[str, Any]]:
    found = []
    for tokens in counts:
        x = torch.randn(tokens, WIDTH, device=GPU, dtype=BF16)
        for quantized in (True, False):
            up, low = (ladder(tile_of(tokens), quantized)[0] for ladder in (configs.gate_up, configs.down))
            routings = [Routing(tokens, up.rows, seed) for seed in range(ROUTINGS)]
            for routing in routings:
                routing.out.fill_(float("nan"))
                gate_up(x, routing, experts, quantized, up)
                down(routing, experts, quantized, low)

            row: dict[str, Any] = {"tokens": tokens, "weights": "int4" if quantized else "bfloat16"}
            row["error"] = max(error(x, routing, experts) for routing in routings[:2])
            row["ms"] = milliseconds(partial(layer, x, routings, experts, quantized, up, low)) / ROUTINGS
            sizes = [part[0].nbytes for part in (experts.codes if quantized else experts.bf16).values()]
            scale_bytes = [part[0].nbytes for part in experts.scales.values()] if quantized else [0]
            hit = statistics.mean(routing.hit for routing in routings)
            row["read_gb_per_s"] = hit * (sum(sizes) + sum(scale_bytes)) / row["ms"] / 1e6
            row["share_of_read_bandwidth"] = row["read_gb_per_s"] / limits["read_gb_per_s"]
            row["tflops"] = 2 * tokens * CHOICES * 3 * WIDTH * INNER / row["ms"] / 1e9
            row["share_of_bf16_rate"] = row["tflops"] / limits["bf16_tflops"]
            row |= torch_experts(x, routings, experts, quantized)
            if sweep:
                row["sweep"] = sweep_experts(x, routings, experts, quantized)
            found.append(row)
            print(json.dumps({key: value for key, value in row.items() if key != "sweep"}), flush=True)
    return found


def torch_experts(x: torch.Tensor, routings: list[Routing], experts: Experts, quantized: bool) -> dict[str, float]:
    """Milliseconds of torch's grouped products; of codes, dequantised first (compiled, in one pass over them)."""

    def products() -> None:
        for routing in routings:
            grouped_mm(x, routing, experts.bf16)

    found = {"torch_grouped_mm_ms": eager_milliseconds(products) / ROUTINGS}
    if quantized:
        compiled = torch.compile(dequantized, dynamic=False)

        def dequantize() -> None:
            for name in experts.codes:
                compiled(experts.codes[name], experts.scales[name])

        found["dequantize_ms"] = eager_milliseconds(dequantize)
        found["torch_dequantize_and_grouped_mm_ms"] = found["dequantize_ms"] + found["torch_grouped_mm_ms"]
    return found


def sweep_experts(x: torch.Tensor, routings: list[Routing], experts: Experts, quantized: bool) -> list[dict[str, Any]]:
    found = []
    for which, name in enumerate(("gate_up", "down")):
        for tiling in tilings(len(x), True, which, quantized):
            try:
                run = partial(one_kernel, name, x, routings, experts, quantized, tiling)
                shared, spent = run(), milliseconds(run, 10) / ROUTINGS
            except Exception as problem:  # a tiling that does not fit the chip is one to leave out
                print(name, tiling, str(problem)[:80])
                torch.cuda.synchronize()
                continue
            found.append({"kernel": name, **asdict(tiling), "shared": shared, "ms": spent})
    for name in ("gate_up", "down"):
        best = sorted((row for row in found if row["kernel"] == name), key=lambda row: row["ms"])[:3]
        print(
            f"  sweep {len(x)} {'int4' if quantized else 'bf16'} {name}:",
            *(json.dumps(row) for row in best),
            flush=True,
        )
    return found


ATTENTION = [  # name, heads, KV heads, width, new, cache, window
    ("31b full, 4096 tokens", 32, 4, 512, 4096, 4096, 0),
    ("31b full, 512 behind 3584", 32, 4, 512, 512, 4096, 0),
    ("e2b full, 4096 tokens", 8, 1, 512, 4096, 4096, 0),
    ("31b sliding, 4096 tokens", 32, 16, 256, 4096, 4096, 1024),
]


def attend(q: Any, k: Any, v: Any, first: Any, out: Any, window: int, tiling: Tiling) -> Any:
    heads, kv_heads = q.shape[1], k.shape[1]
    rows = q.shape[2] * heads // kv_heads
    return flash_attention[(kv_heads, -(-rows // tiling.rows))](
        q, k, v, first, q.shape[2], k.shape[2], out, HEADS=heads, KV_HEADS=kv_heads, WIDTH=q.shape[3], WINDOW=window,
        RING=0, BLOCK_M=tiling.rows, BLOCK_N=tiling.columns, num_warps=tiling.warps, num_stages=tiling.stages,
    )  # fmt: skip


def measure_attention(limits: dict[str, float], sweep: bool) -> list[dict[str, Any]]:
    found = []
    for name, heads, kv_heads, width, new, cache, window in ATTENTION:
        q = torch.randn(1, heads, new, width, device=GPU, dtype=BF16) / width**0.25
        k, v = (torch.randn(1, kv_heads, cache, width, device=GPU, dtype=BF16) / width**0.25 for _ in range(2))
        first = torch.tensor([cache - new], dtype=torch.int32, device=GPU)
        out = torch.full_like(q, float("nan"))
        tiling = configs.flash(width)[0]
        attend(q, k, v, first, out, window, tiling)
        position = torch.arange(cache - new, cache, device=GPU)
        slot = torch.arange(cache, device=GPU)
        seen = (slot <= position[:, None]) & ((slot > position[:, None] - window) | (window == 0))
        row: dict[str, Any] = {"case": name, "error": attention_error(q, k, v, out, seen)}
        row["ms"] = milliseconds(partial(attend, q, k, v, first, out, window, tiling))
        row["tflops"] = 4 * heads * width * int(seen.sum()) / row["ms"] / 1e9
        row["share_of_bf16_rate"] = row["tflops"] / limits["bf16_tflops"]
        row |= torch_attention(q, k, v, seen, window, cache == new)
        if sweep:
            row["sweep"] = sweep_attention(q, k, v, first, out, window)
        found.append(row)
        print(json.dumps({key: value for key, value in row.items() if key != "sweep"}), flush=True)
    return found


def attention_error(q: Any, k: Any, v: Any, out: Any, seen: torch.Tensor) -> float:
    group = q.shape[1] // k.shape[1]
    wanted, found = [], []
    for head in (0, q.shape[1] - 1):
        scores = q[0, head].double() @ k[0, head // group].double().mT
        shares = scores.masked_fill(~seen, float("-inf")).softmax(-1)
        wanted.append(shares @ v[0, head // group].double())
        found.append(out[0, head].double())
    return float((torch.stack(found) - torch.stack(wanted)).norm() / torch.stack(wanted).norm())


def torch_attention(q: Any, k: Any, v: Any, seen: torch.Tensor, window: int, square: bool) -> dict[str, Any]:
    """Milliseconds of SDPA (the mask as causal where that says it all) and of compiled flex attention."""
    found: dict[str, Any] = {}
    causal = square and not window
    mask = None if causal else seen

    def sdpa() -> None:
        torch.nn.functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=causal, scale=1.0, enable_gqa=True
        )

    def expanded() -> None:
        group = q.shape[1] // k.shape[1]
        wide = [x.repeat_interleave(group, 1) for x in (k, v)]
        torch.nn.functional.scaled_dot_product_attention(q, *wide, attn_mask=mask, is_causal=causal, scale=1.0)

    def flex() -> None:
        compiled(q, k, v, block_mask=blocks, scale=1.0, enable_gqa=True)

    for name, run in (("sdpa", sdpa), ("sdpa_expanded", expanded)):
        try:
            found[f"torch_{name}_ms"] = eager_milliseconds(run)
        except Exception as problem:  # reported: that torch cannot is a result
            found[f"torch_{name}_error"] = str(problem)[:120]
    try:
        from torch.nn.attention.flex_attention import create_block_mask, flex_attention

        offset = k.shape[2] - q.shape[2]

        def visible(b: Any, h: Any, i: Any, j: Any) -> Any:
            near = j > i + offset - window if window else j >= 0
            return (j <= i + offset) & near

        blocks = create_block_mask(visible, None, None, q.shape[2], k.shape[2], device="cuda")
        compiled = torch.compile(flex_attention, dynamic=False)
        found["torch_flex_ms"] = eager_milliseconds(flex)
    except Exception as problem:
        found["torch_flex_error"] = str(problem)[:160]
    return found


def sweep_attention(q: Any, k: Any, v: Any, first: Any, out: Any, window: int) -> list[dict[str, Any]]:
    full = [(64, 64, 8, 1), (64, 32, 8, 2), (64, 32, 8, 1), (64, 16, 8, 3), (32, 32, 8, 1), (32, 16, 8, 1)]
    narrow = [(128, 64, 8, 2), (128, 64, 8, 3), (128, 128, 8, 2), (64, 64, 4, 2), (64, 64, 4, 3), (128, 32, 8, 3)]
    found = []
    others = [Tiling(*sizes) for sizes in (full if q.shape[3] > 256 else narrow)]
    for tiling in dict.fromkeys([*configs.flash(q.shape[3]), *others]):
        run = partial(attend, q, k, v, first, out, window, tiling)
        try:
            shared, spent = run().metadata.shared, milliseconds(run, 8)
        except Exception as problem:
            print("  sweep", tiling, str(problem)[:80])
            continue
        found.append({**asdict(tiling), "shared": shared, "ms": spent})
    print("  sweep:", *(json.dumps(row) for row in sorted(found, key=lambda row: row["ms"])[:4]), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweep", action="store_true")
    parser.add_argument("--tokens", default="1,8,64,512,4096")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    import triton

    limits = ceilings()
    print(json.dumps(limits), flush=True)
    found = {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "triton": triton.__version__,
        "ceilings": limits,
        "attention": measure_attention(limits, options.sweep),
        "experts": measure_experts(Experts(), limits, [int(word) for word in options.tokens.split(",")], options.sweep),
    }
    if options.out is not None:
        options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
