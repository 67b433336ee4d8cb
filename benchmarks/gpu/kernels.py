"""Ops of TensorRT engines as their plugin layers launch them, by the CUDA driver alone, on a GPU: what 48 kB of shared
memory cost, and torch's time for the same.

    python benchmarks/gpu/kernels.py [--tokens 1,8,128,512] [--out FILE]

Needs torch and Triton with a CUDA device. Sizes are a gated MLP of E2B, experts of 26B-A4B (128, 8 a token) and
attention of 31B's full layers. A row says `ms` of all launches of an op with at most 48 kB, `best_ms` of the best way
of each kernel, how far the two results are apart, and what torch takes for the products (dequantised before) or the
attention. Medians of CUDA-graph replays, which read the same weights each time: small ones stay in the cache.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.gpu.driver import Kernel, most_shared
from g4compile.ops.expert_routing import route, tile_of
from g4compile.ops.schema import DOMAIN
from g4compile.targets.kernels.architectures import PLAIN
from g4compile.targets.tensorrt.launches import Link, chain
from g4compile.targets.tensorrt.plugins import compiled

BF16, WIDE, BLOCK, EXPERTS, CHOICES = torch.bfloat16, torch.float32, 128, 128, 8
_DTYPES = {"bf16": BF16, "fp32": WIDE, "i32": torch.int32}
_KINDS = {
    BF16: ir.DataType.BFLOAT16, WIDE: ir.DataType.FLOAT, torch.int32: ir.DataType.INT32,
    torch.uint8: ir.DataType.UINT8,
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """An op of ``operands`` (None: absent) with ``attributes``; ``torch``: what torch offers for the same."""

    name: str
    op: str
    operands: Sequence[torch.Tensor | None]
    attributes: dict[str, Any]
    outputs: Sequence[torch.dtype]
    torch: Callable[[], Any]

    @property
    def links(self) -> list[Link]:
        inputs = [None if one is None else _value(f"i{place}", one) for place, one in enumerate(self.operands)]
        node = ir.node(self.op, inputs, self.attributes, domain=DOMAIN, num_outputs=len(self.outputs), name=self.name)
        for output, dtype in zip(node.outputs, self.outputs, strict=True):
            output.type = ir.TensorType(_KINDS[dtype])
        return chain(node, {f"i{n}": tuple(one.shape) for n, one in enumerate(self.operands) if one is not None}, ())


def _value(name: str, tensor: torch.Tensor) -> ir.Value:
    return ir.Value(name=name, type=ir.TensorType(_KINDS[tensor.dtype]), shape=ir.Shape(list(tensor.shape)))


def milliseconds(run: Callable[[], Any], replays: int = 30) -> float:
    """Median time of ``run`` in a CUDA graph."""
    for _ in range(3):
        run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    times = []
    for _ in range(replays):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)


def codes(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random 4-bit codes of a weight [.., N, K], and scales."""
    *rows, columns = shape
    blocks = -(-columns // BLOCK)
    packed = torch.randint(0, 256, (*rows, blocks, BLOCK // 2), dtype=torch.uint8, device="cuda")
    return packed, (0.004 + 0.004 * torch.rand(*rows, blocks, device="cuda")).to(BF16)


def dequantized(packed: torch.Tensor, scales: torch.Tensor, columns: int) -> torch.Tensor:
    levels = torch.stack([packed & 15, packed >> 4], -1).flatten(-2).to(BF16) - 8
    return (levels * scales[..., None]).flatten(-2)[..., :columns].contiguous()


def random(*shape: int, dtype: torch.dtype = BF16) -> torch.Tensor:
    return torch.randn(*shape, device="cuda", dtype=dtype)


def cases(counts: Sequence[int]) -> Iterator[Case]:
    for tokens in counts:
        yield gated(tokens)
    for tokens in counts:
        yield from experts(tokens)
    for tokens in (one for one in counts if one > CHOICES):
        yield attention(tokens)


def gated(tokens: int, width: int = 1536, inner: int = 12288) -> Case:
    """E2B's wide MLP: gate and up by 4-bit codes behind a norm and a residual sum."""
    (gate, gate_scales), (up, up_scales) = codes(inner, width), codes(inner, width)
    numbers = torch.cat([dequantized(*pair, width) for pair in ((gate, gate_scales), (up, up_scales))])
    h, p, x = random(1, tokens, width, dtype=WIDE), random(1, tokens, width), random(tokens, width)
    operands = [h, p, random(width), None, random(width), gate, up, None, gate_scales, up_scales]
    attributes = {"epsilon": 1e-6, "activation": "geglu", "bits": 4, "block": BLOCK}
    return Case(
        f"gate and up, {tokens}", "NormProduct", operands, attributes, (BF16, WIDE, BF16), lambda: x @ numbers.T
    )


def experts(tokens: int, width: int = 2816, inner: int = 704) -> Iterator[Case]:
    """Gate and up of 26B-A4B's experts, rows sorted as the router's kernels do."""
    index = torch.rand(tokens, EXPERTS).topk(CHOICES).indices
    tile = tile_of(tokens)
    row_token, tile_expert, _ = (torch.from_numpy(part).cuda() for part in route(index.numpy(), EXPERTS, tile))
    x, (packed, scales) = random(1, tokens, width), codes(EXPERTS, 2 * inner, width)
    numbers = dequantized(packed, scales, width)
    rows = x[0, index.reshape(-1).argsort(stable=True).cuda() // CHOICES]
    offsets = torch.bincount(index.reshape(-1), minlength=EXPERTS).cumsum(0).to(torch.int32).cuda()
    sorted_rows = [row_token.reshape(-1, tile), tile_expert]
    for name, weights, format in (("4 bits", [packed, scales], (4, BLOCK)), ("bfloat16", [numbers], (16, 0))):
        attributes = dict(zip(("bits", "block"), format, strict=True))
        yield Case(
            f"experts, gate and up, {name}, {tokens}", "RoutedGateUp", [x, *sorted_rows, *weights], attributes, (BF16,),
            lambda: torch._grouped_mm(rows, numbers.mT, offs=offsets),
        )  # fmt: skip


def attention(tokens: int, heads: int = 32, kv_heads: int = 4, width: int = 512, slots: int = 4096) -> Case:
    """The last ``tokens`` of 4,096."""
    q = random(1, tokens, heads, width) / width**0.25
    k, v = (random(1, kv_heads, slots, width) / width**0.25 for _ in range(2))
    positions = torch.arange(slots - tokens, slots, dtype=torch.int32, device="cuda")[None]
    seen = torch.arange(slots, device="cuda") <= positions[0, :, None]
    wide = [one.repeat_interleave(heads // kv_heads, 1) for one in (k, v)]
    sdpa = torch.nn.functional.scaled_dot_product_attention
    return Case(
        f"attention, {tokens}", "FlashAttention", [q, positions, k, v], {}, (BF16,),
        lambda: sdpa(q.transpose(1, 2), *wide, attn_mask=seen, scale=1.0),
    )  # fmt: skip


def launches(cuda: Any, case: Case, architecture: int, budget: int) -> tuple[Callable[[], None], torch.Tensor]:
    """What launches all of an op with at most ``budget`` bytes a block, and its first result."""
    tensors = {f"i{place}": one for place, one in enumerate(case.operands) if one is not None}
    steps = []
    for link in case.links:
        read = [tensors[name] for name in link.reads]
        made = zip(link.launch.shapes([one.shape for one in read]), link.launch.outputs, strict=True)
        written = [torch.zeros(shape, dtype=_DTYPES[kind], device="cuda") for shape, (kind, _) in made]
        tensors.update(zip(link.writes, written, strict=True))
        steps.append((Kernel(cuda, link.launch, compiled(link.launch, architecture, budget)), read, written))

    def run() -> None:
        stream = torch.cuda.current_stream().cuda_stream
        for kernel, read, written in steps:
            kernel(read, written, stream)

    return run, tensors["o0"]


def measure(cuda: Any, case: Case, architecture: int, most: int) -> dict[str, Any]:
    row: dict[str, Any] = {"case": case.name, "launches": len(case.links)}
    results = []
    for name, budget in (("ms", PLAIN), ("best_ms", most)):
        run, result = launches(cuda, case, architecture, budget)
        row[name] = milliseconds(run)
        results.append(result.double())
    row["difference"] = float((results[0] - results[1]).norm() / results[1].norm())
    row["torch_ms"] = milliseconds(case.torch)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", default="1,8,128,512")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.zeros(1, device="cuda")  # a context
    cuda, rows = ctypes.CDLL("libcuda.so.1"), []
    major, minor = torch.cuda.get_device_capability()
    for case in cases([int(word) for word in options.tokens.split(",")]):
        rows.append(measure(cuda, case, 10 * major + minor, most_shared(cuda)))
        print(json.dumps(rows[-1]), flush=True)
    if options.out is not None:
        device = {"device": torch.cuda.get_device_name(), "torch": torch.__version__}
        options.out.write_text(json.dumps({**device, "ops": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
