"""The Triton kernels as quick plugins of full TensorRT: described, and compiled ahead of time into the engine.

`tensorrt.plugin` asks for an output's shape when a network is made, and for PTX and a launch when it is built.
Attributes are fixed then and not kept in the engine, which needs neither Python nor a plugin library. A kernel's
arguments come in the order inputs, extra integers, outputs. Annotations are read when a function is registered, so this
file has no postponed ones. Source: NVIDIA, `tensorrt.plugin` (register, aot_impl, KernelLaunchParams).

What is embedded is PTX, the one form that its documentation says is taken. Nothing says that TensorRT allows a kernel
more than 48 kB of shared memory, so no form is chosen that asks for more. Addresses are as aligned as the kernels want:
a network's inputs must be at multiples of 256 bytes, and a tensor that TensorRT puts inside another begins with a whole
row.
"""

from functools import cache
from typing import Any

from g4compile.targets.kernels import variants
from g4compile.targets.kernels.aot import compile_kernel
from g4compile.targets.kernels.architectures import PLAIN
from g4compile.targets.kernels.variants import Variant

NAMESPACE = "g4"


@cache  # a name can be registered once a process
def register(plugin: Any, architecture: int) -> Any:
    """Register `g4::expert_gate_up`, `g4::expert_down` and `g4::flash_attention` with the module ``plugin``
    (`tensorrt.plugin`), for GPUs of ``architecture`` (90 for sm_90a), and return it. Raises ImportError without
    Triton, now and not when an engine is built."""
    import triton  # noqa: F401 - whether it is there

    _register_experts(plugin, architecture)
    _register_attention(plugin, architecture)
    return plugin


def _embed(plugin: Any, variant: Variant, architecture: int, operands: list[Any]) -> tuple[Any, ...]:
    """What `aot_impl` answers: entry, PTX, launch, and integers that follow from the shapes of ``operands``."""
    artefact = compile_kernel(variant, architecture, PLAIN)
    made = artefact.launch
    shapes = {one.name: given.shape_expr for one, given in zip(made.of_kind("input"), operands, strict=True)}
    launch = plugin.KernelLaunchParams()
    launch.grid_x, launch.grid_y, launch.grid_z = (size.of(shapes, plugin.cdiv) for size in made.grid)
    launch.block_x, launch.shared_mem = made.threads, made.shared
    integers = [one.value.of(shapes, plugin.cdiv) for one in made.of_kind("size")]
    extra = plugin.SymIntExprs(len(integers))
    for place, value in enumerate(integers):
        extra[place] = plugin.SymInt32(value)
    return made.entry, artefact.ptx, launch, extra


def _register_experts(plugin: Any, architecture: int) -> None:
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
        operands = [x, row_token, tile_expert, weight, scale]
        return _embed(plugin, variants.expert_gate_up(width, inner, tile, block), architecture, operands)

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
        operands = [hidden, row_token, tile_expert, weight, scale]
        return _embed(plugin, variants.expert_down(width, inner, tile, block), architecture, operands)


def _register_attention(plugin: Any, architecture: int) -> None:
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
        return _embed(plugin, variants.flash_attention(heads, kv_heads, width), architecture, [q, k, v, first])
