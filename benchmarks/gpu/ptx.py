"""The kernels as an engine embeds them: PTX made on any machine, launched by the driver alone, against float64.

    python benchmarks/gpu/ptx.py make FOLDER [--architecture 90]      where g4compile and Triton are, without a GPU
    python benchmarks/gpu/ptx.py run FOLDER                       on the GPU, with torch for memory, and without Triton

What `tensorrt.plugin` would be given (entry, PTX, grid, threads, shared memory, extra integers) is written by `make`
from the plugins themselves, and launched by `run` with arguments in the order that an engine passes: inputs, extra
integers, outputs. Sizes are 26B-A4B's experts and 31B's full layers.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from g4compile.ops.expert_routing import route, slot_count, tile_of
from g4compile.targets.kernels.configs import BLOCK_DOWN, BLOCK_GATE_UP
from g4compile.weights.layouts import PANEL, unpack_panels
from tests.targets.kernels.recorded import Recorded
from tests.targets.kernels.reference import attention, experts

EXPERTS, CHOICES, WIDTH, INNER = 128, 8, 2816, 704
HEADS, KV_HEADS, HEAD, NEW, SLOTS, FIRST = 32, 4, 512, 128, 1024, 700
CASES = [
    (kernel, tokens, coded) for tokens in (8, 96) for coded in (0, 1) for kernel in ("expert_gate_up", "expert_down")
]


def make(folder: Path, architecture: int) -> None:
    from g4compile.targets.tensorrt import plugins

    plugin = Recorded()
    plugins.register(plugin, architecture)

    def shaped(*shape: int) -> SimpleNamespace:
        return SimpleNamespace(shape_expr=list(shape))

    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for kernel, tokens, coded in CASES:
        tile = tile_of(tokens)
        slots = slot_count(tokens, CHOICES, EXPERTS, tile)
        block = coded and (BLOCK_GATE_UP if kernel == "expert_gate_up" else BLOCK_DOWN)
        operands = [shaped(tokens, WIDTH), shaped(slots), shaped(slots // tile), shaped(), shaped()]
        sizes = {"width": WIDTH, "inner": INNER, "tile": tile, "block": block}
        made[f"{kernel}-{tokens}-{coded}"] = plugin.aot[kernel](*operands, **sizes, outputs=(), tactic=0)
    operands = [shaped(1, HEADS, NEW, HEAD), shaped(1, KV_HEADS, SLOTS, HEAD), shaped(), shaped(1)]
    sizes = {"heads": HEADS, "kv_heads": KV_HEADS, "width": HEAD}
    made["flash_attention"] = plugin.aot["flash_attention"](*operands, **sizes, outputs=(), tactic=0)
    for name, (symbol, ptx, launch, extra) in made.items():
        (folder / f"{name}.ptx").write_text(ptx)
        (folder / f"{name}.json").write_text(json.dumps({"symbol": symbol, **vars(launch), "extra": extra}))


class Kernel:
    """One PTX file, loaded by the driver."""

    def __init__(self, cuda: ctypes.CDLL, folder: Path, name: str) -> None:
        self._cuda, self._how = cuda, json.loads((folder / f"{name}.json").read_text())
        module, self._function = ctypes.c_void_p(), ctypes.c_void_p()
        self._check(cuda.cuModuleLoadData(ctypes.byref(module), (folder / f"{name}.ptx").read_bytes() + b"\0"))
        symbol = self._how["symbol"].encode()
        self._check(cuda.cuModuleGetFunction(ctypes.byref(self._function), module, symbol))
        self._check(cuda.cuFuncSetAttribute(self._function, 8, self._how["shared_mem"]))  # most dynamic shared memory

    def __call__(self, *inputs: Any, output: Any) -> None:
        values = [ctypes.c_void_p(tensor.data_ptr()) for tensor in inputs]
        values += [ctypes.c_int32(number) for number in self._how["extra"]]
        values.append(ctypes.c_void_p(output.data_ptr()))
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.cast(ctypes.byref(v), ctypes.c_void_p) for v in values))
        grid, threads = (self._how["grid_x"], self._how["grid_y"], 1), (self._how["block_x"], 1, 1)
        self._check(
            self._cuda.cuLaunchKernel(self._function, *grid, *threads, self._how["shared_mem"], None, pointers, None)
        )

    def _check(self, code: int) -> None:
        if code:
            raise RuntimeError(f"the CUDA driver says {code} to {self._how['symbol']}")


def run(folder: Path) -> None:
    import torch

    torch.zeros(1, device="cuda")  # a context
    cuda = ctypes.CDLL("libcuda.so.1")
    random = np.random.default_rng(0)

    def on_gpu(array: Any, dtype: Any = torch.bfloat16) -> Any:
        return torch.from_numpy(np.asarray(array)).to("cuda", dtype)

    def doubles(tensor: Any) -> Any:
        return tensor.double().cpu().numpy()

    def relative(found: Any, wanted: Any) -> float:
        return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))

    for tokens in (8, 96):
        for coded in (0, 1):
            tile = tile_of(tokens)
            index = np.stack([random.permutation(EXPERTS)[:CHOICES] for _ in range(tokens)])
            row_token, tile_expert, slot_of = route(index, EXPERTS, tile)
            x = on_gpu(random.standard_normal((tokens, WIDTH)))
            stored, plain = {}, {}
            for name, rows, columns, block in (
                ("expert_gate_up", 2 * INNER, WIDTH, BLOCK_GATE_UP),
                ("expert_down", WIDTH, INNER, BLOCK_DOWN),
            ):
                if coded:
                    panels = (EXPERTS, rows // PANEL, columns // block, PANEL)
                    codes = torch.from_numpy(random.integers(-128, 128, (*panels, block // 2), np.int8)).cuda()
                    scales = on_gpu(0.004 + 0.004 * random.random(panels))
                    stored[name] = (codes, scales)
                    plain[name] = unpack_panels(codes.cpu().numpy(), doubles(scales))
                else:
                    weight = on_gpu(random.standard_normal((EXPERTS, rows, columns), np.float32) * 0.02)
                    stored[name], plain[name] = (weight, weight), doubles(weight)
            routing = [on_gpu(part, torch.int32) for part in (row_token, tile_expert)]
            hidden = torch.full((len(row_token), INNER), float("nan"), dtype=torch.bfloat16, device="cuda")
            out = torch.full((len(row_token), WIDTH), float("nan"), dtype=torch.bfloat16, device="cuda")
            up, down = (Kernel(cuda, folder, f"{name}-{tokens}-{coded}") for name in stored)
            up(x, *routing, *stored["expert_gate_up"], output=hidden)
            down(hidden, *routing, *stored["expert_down"], output=out)
            torch.cuda.synchronize()
            wanted = experts(doubles(x), index, plain["expert_gate_up"], plain["expert_down"])
            error = relative(doubles(out)[slot_of], wanted)
            print(f"experts, {tokens} tokens, {'4-bit' if coded else 'bfloat16'}: error {error:.1e}", flush=True)
            assert error < 1e-2
    shapes = [(1, HEADS, NEW, HEAD), (1, KV_HEADS, SLOTS, HEAD), (1, KV_HEADS, SLOTS, HEAD)]
    q, k, v = (on_gpu(random.standard_normal(shape) / size) for shape, size in zip(shapes, (8, 1, 1), strict=True))
    out = torch.full_like(q, float("nan"))
    Kernel(cuda, folder, "flash_attention")(q, k, v, on_gpu([FIRST], torch.int32), output=out)
    torch.cuda.synchronize()
    error = relative(doubles(out), attention(doubles(q), doubles(k), doubles(v), np.array([FIRST]), 0, 0))
    print(f"attention, heads of {HEAD}: error {error:.1e}")
    assert error < 1e-2


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["make", "run"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--architecture", type=int, default=90)
    given = parser.parse_args()
    make(given.folder, given.architecture) if given.what == "make" else run(given.folder)
