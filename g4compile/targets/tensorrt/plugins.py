"""The Triton kernels as quick plugins of full TensorRT: described, and compiled ahead of time into the engine.

`tensorrt.plugin` asks for an output's shape when a network is made, and for PTX and a launch when it is built.
Attributes are fixed then and not kept in the engine, which needs neither Python nor a plugin library. A kernel's
arguments come in the order inputs, extra integers, outputs. Annotations are read when a function is registered, so this
file has no postponed ones. Source: NVIDIA, `tensorrt.plugin` (register, aot_impl).
"""

from functools import cache
from typing import Any

from g4compile.targets.kernels import configs
from g4compile.targets.kernels.aot import Binary, compile_ptx
from g4compile.targets.kernels.configs import BLOCK_DOWN, BLOCK_GATE_UP, Tiling

NAMESPACE = "g4"
_POINTERS = {"x": "*bf16", "row_token": "*i32", "tile_expert": "*i32", "scale": "*bf16"}


@cache  # a name can be registered once a process
def register(plugin: Any, architecture: int) -> Any:
    """Register `g4::expert_gate_up`, `g4::expert_down` and `g4::flash_attention` with the module ``plugin``
    (`tensorrt.plugin`), for GPUs of ``architecture`` (90 for sm_90a), and return it. Raises ImportError without
    Triton."""
    from g4compile.targets.kernels.flash_attention import flash_attention
    from g4compile.targets.kernels.grouped_gemm import expert_down, expert_gate_up

    _register_experts(plugin, architecture, expert_gate_up, expert_down)
    _register_attention(plugin, architecture, flash_attention)
    return plugin


def _launch(plugin: Any, binary: Binary, first: Any, second: Any) -> Any:
    launch = plugin.KernelLaunchParams()
    launch.grid_x, launch.grid_y = first, second
    launch.block_x, launch.shared_mem = binary.threads, binary.shared
    return launch


def _experts(kernel: Any, first: str, last: str, sizes: dict[str, int], tiling: Tiling, architecture: int) -> Binary:
    weight = "*i8" if sizes["QUANTIZED"] else "*bf16"
    signature = {first: "*bf16", **_POINTERS, "weight": weight, last: "*bf16"}
    ordered = {name: signature[name] for name in kernel.arg_names if name in signature}
    return compile_ptx(kernel, ordered, sizes, tiling, architecture)


def _sizes(width: int, inner: int, tiling: Tiling, block: int, default: int) -> dict[str, int]:
    return {
        "WIDTH": width,
        "INNER": inner,
        "TILE": tiling.rows,
        "BLOCK_N": tiling.columns,
        "BLOCK_K": block or default,
        "QUANTIZED": block > 0,
        "UNROLL": tiling.unroll,
    }


def _register_experts(plugin: Any, architecture: int, gate_up_kernel: Any, down_kernel: Any) -> None:
    @plugin.register(f"{NAMESPACE}::expert_gate_up", lazy_register=True)
    def describe_gate_up(  # noqa: PLR0913 - tensorrt.plugin reads the signature
        x: plugin.TensorDesc,
        row_token: plugin.TensorDesc,
        tile_expert: plugin.TensorDesc,
        weight: plugin.TensorDesc,
        scale: plugin.TensorDesc,
        width: int,
        inner: int,
        tile: int,
        block: int,
    ) -> plugin.TensorDesc:
        hidden = x.like()
        hidden.shape_expr = plugin.ShapeExprs.from_tuple((row_token.shape_expr[0], plugin.ShapeExpr(inner)))
        return hidden

    @plugin.aot_impl(f"{NAMESPACE}::expert_gate_up")
    def build_gate_up(  # noqa: PLR0913 - tensorrt.plugin reads the signature
        x: plugin.TensorDesc,
        row_token: plugin.TensorDesc,
        tile_expert: plugin.TensorDesc,
        weight: plugin.TensorDesc,
        scale: plugin.TensorDesc,
        width: int,
        inner: int,
        tile: int,
        block: int,
        outputs: tuple[plugin.TensorDesc],
        tactic: int,
    ) -> tuple[str, str, plugin.KernelLaunchParams, plugin.SymExprs]:
        tiling = configs.grouped(tile, block > 0)[0]
        sizes = _sizes(width, inner, tiling, block, BLOCK_GATE_UP)
        binary = _experts(gate_up_kernel, "x", "hidden", sizes, tiling, architecture)
        launch = _launch(plugin, binary, -(-inner // tiling.columns), tile_expert.shape_expr[0])
        return binary.name, binary.ptx, launch, plugin.SymIntExprs(0)

    @plugin.register(f"{NAMESPACE}::expert_down", lazy_register=True)
    def describe_down(  # noqa: PLR0913 - tensorrt.plugin reads the signature
        hidden: plugin.TensorDesc,
        row_token: plugin.TensorDesc,
        tile_expert: plugin.TensorDesc,
        weight: plugin.TensorDesc,
        scale: plugin.TensorDesc,
        width: int,
        inner: int,
        tile: int,
        block: int,
    ) -> plugin.TensorDesc:
        out = hidden.like()
        out.shape_expr = plugin.ShapeExprs.from_tuple((row_token.shape_expr[0], plugin.ShapeExpr(width)))
        return out

    @plugin.aot_impl(f"{NAMESPACE}::expert_down")
    def build_down(  # noqa: PLR0913 - tensorrt.plugin reads the signature
        hidden: plugin.TensorDesc,
        row_token: plugin.TensorDesc,
        tile_expert: plugin.TensorDesc,
        weight: plugin.TensorDesc,
        scale: plugin.TensorDesc,
        width: int,
        inner: int,
        tile: int,
        block: int,
        outputs: tuple[plugin.TensorDesc],
        tactic: int,
    ) -> tuple[str, str, plugin.KernelLaunchParams, plugin.SymExprs]:
        tiling = configs.grouped(tile, block > 0)[1]
        sizes = _sizes(width, inner, tiling, block, BLOCK_DOWN)
        binary = _experts(down_kernel, "hidden", "out", sizes, tiling, architecture)
        launch = _launch(plugin, binary, -(-width // tiling.columns), tile_expert.shape_expr[0])
        return binary.name, binary.ptx, launch, plugin.SymIntExprs(0)


def _register_attention(plugin: Any, architecture: int, kernel: Any) -> None:
    @plugin.register(f"{NAMESPACE}::flash_attention", lazy_register=True)
    def describe(
        q: plugin.TensorDesc,
        k: plugin.TensorDesc,
        v: plugin.TensorDesc,
        first: plugin.TensorDesc,
        heads: int,
        kv_heads: int,
        width: int,
    ) -> plugin.TensorDesc:
        return q.like()

    @plugin.aot_impl(f"{NAMESPACE}::flash_attention")
    def build(  # noqa: PLR0913 - tensorrt.plugin reads the signature
        q: plugin.TensorDesc,
        k: plugin.TensorDesc,
        v: plugin.TensorDesc,
        first: plugin.TensorDesc,
        heads: int,
        kv_heads: int,
        width: int,
        outputs: tuple[plugin.TensorDesc],
        tactic: int,
    ) -> tuple[str, str, plugin.KernelLaunchParams, plugin.SymExprs]:
        tiling = configs.flash(width)
        pointers = {name: "*i32" if name == "first" else "*bf16" for name in ("q", "k", "v", "first", "out")}
        signature = {name: pointers.get(name, "i32") for name in ("q", "k", "v", "first", "NEW", "SLOTS", "out")}
        sizes = {
            "HEADS": heads,
            "KV_HEADS": kv_heads,
            "WIDTH": width,
            "WINDOW": 0,  # full layers alone have heads too wide for TensorRT's own kernels
            "RING": 0,
            "BLOCK_M": tiling.rows,
            "BLOCK_N": tiling.columns,
        }
        binary = compile_ptx(kernel, signature, sizes, tiling, architecture)
        new, slots = q.shape_expr[2], k.shape_expr[2]
        rows = plugin.cdiv(new * (heads // kv_heads), tiling.rows)
        launch = _launch(plugin, binary, q.shape_expr[0] * kv_heads, rows)
        extra = plugin.SymIntExprs(2)
        extra[0], extra[1] = plugin.SymInt32(new), plugin.SymInt32(slots)
        return binary.name, binary.ptx, launch, extra
