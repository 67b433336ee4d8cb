"""Kernels of ours as quick plugins of full TensorRT: described, and compiled ahead of time into the engine.

`tensorrt.plugin` asks for outputs' dtypes and shapes when a network is made, and for PTX and a launch when it is built.
Attributes are fixed then and not kept in the engine, which needs neither Python nor a plugin library. A plugin has a
fixed number of operands and outputs, so there is one for each kernel and numbers that a network asks for; its one
attribute is the text of a `Launch`. A kernel's arguments come in the order operands, integers, outputs, so its entry is
given that order. Source: NVIDIA, `tensorrt.plugin` (register, aot_impl, KernelLaunchParams).

What is embedded is PTX, the one form that its documentation says is taken. Nothing says that TensorRT allows a kernel
more than 48 kB of shared memory, or lets it start before the one in front has ended, so neither is asked for. Addresses
are as aligned as the kernels want: a network's inputs must be at multiples of 256 bytes, and a tensor that TensorRT
puts inside another begins with a whole row.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from g4compile.errors import Defect
from g4compile.targets.fused.plan import NULL
from g4compile.targets.kernels.aot import require_triton
from g4compile.targets.kernels.architectures import ARCHITECTURES, PLAIN
from g4compile.targets.kernels.entry import Entry
from g4compile.targets.kernels.kernel import Compiled, within
from g4compile.targets.tensorrt.launches import Launch, grid_of

NAMESPACE = "g4"
_ATTRIBUTE = "launch"
DTYPES = {"bf16": "bfloat16", "fp32": "float32", "i32": "int32"}  # as TensorRT's module calls them


class Plugins:
    """Makes plugins with the module ``plugin`` (`tensorrt.plugin`) of ``trt``, for GPUs of ``architecture`` (90 for
    sm_90a). Raises MachineError without Triton, now and not when an engine is built."""

    def __init__(self, trt: Any, plugin: Any, architecture: int) -> None:
        require_triton()
        self._trt, self._plugin, self._architecture = trt, plugin, architecture
        self._compiled = dict[str, Compiled]()  # by the text of the launch

    def __call__(self, launch: Launch, operands: Sequence[Any]) -> Any:
        """What `INetworkDefinition.add_plugin` takes: ``launch`` over tensors of a network."""
        self._kernel(launch)  # a fault of a kernel is told here: TensorRT, which calls for it later, would swallow it
        name = f"{launch.kernel.function}_{launch.operands}_{len(launch.outputs)}"
        if not hasattr(getattr(self._plugin.op, NAMESPACE, None), name):  # it can be registered once a process
            self._register(f"{NAMESPACE}::{name}", launch.operands, len(launch.outputs))
        make = getattr(getattr(self._plugin.op, NAMESPACE), name)
        return make(*operands, **{_ATTRIBUTE: launch.text})

    def _kernel(self, launch: Launch) -> Compiled:
        if launch.text not in self._compiled:
            self._compiled[launch.text] = compiled(launch, self._architecture)
        return self._compiled[launch.text]

    def _register(self, name: str, operands: int, outputs: int) -> None:
        plugin = self._plugin
        desc = plugin.TensorDesc
        inputs, many = {f"operand{place}": desc for place in range(operands)}, tuple[(desc,) * outputs]

        def describe(*given: Any, **attributes: str) -> Any:
            launch = Launch.parse(attributes[_ATTRIBUTE])
            shapes = launch.shapes([one.shape_expr for one in given], plugin.cdiv)
            return tuple(
                plugin.from_shape_expr(tuple(shape), getattr(self._trt, DTYPES[kind]))
                for shape, (kind, _) in zip(shapes, launch.outputs, strict=True)
            )

        def build(*given: Any) -> Any:
            *read, text, _, _ = given
            launch = Launch.parse(text)
            return _embed(plugin, launch, self._kernel(launch), [one.shape_expr for one in read])

        attribute = {_ATTRIBUTE: str}
        returned = tuple[str, str, plugin.KernelLaunchParams, plugin.SymExprs]
        _sign(describe, {**inputs, **attribute}, many)
        _sign(build, {**inputs, **attribute, "outputs": many, "tactic": int}, returned)
        plugin.register(name, lazy_register=True)(describe)
        plugin.aot_impl(name)(build)


def _sign(function: Callable[..., Any], parameters: dict[str, Any], returned: Any) -> None:
    """Give ``function`` the signature that `tensorrt.plugin` reads."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    made = [inspect.Parameter(name, kind, annotation=annotation) for name, annotation in parameters.items()]
    function.__signature__ = inspect.Signature(made, return_annotation=returned)


def _embed(plugin: Any, launch: Launch, made: Compiled, shapes: Sequence[Any]) -> tuple[Any, ...]:
    """What `aot_impl` answers: entry, PTX, launch, and the kernel's integers, of the ``shapes`` of the operands."""
    integers = launch.integers(shapes, plugin.cdiv)
    params = plugin.KernelLaunchParams()
    params.grid_x, params.grid_y, params.grid_z = grid_of(made.way.grid, integers, plugin.cdiv)
    params.block_x, params.shared_mem = 32 * made.way.warps, made.shared
    extra = plugin.SymIntExprs(len(integers))
    for place, value in enumerate(integers):
        extra[place] = plugin.SymInt32(value)
    return made.entry, made.ptx, params, extra


def compiled(launch: Launch, architecture: int, budget: int = PLAIN) -> Compiled:
    """The kernel of ``launch`` with the parameters that a plugin is given. Raises Defect where no way to run it takes
    at most ``budget`` bytes of shared memory."""
    kernel = launch.kernel
    made = within(kernel, architecture, budget, dependent=False)
    if made is None:
        target = ARCHITECTURES[architecture].target
        raise Defect(f"no way to run {kernel.name} takes at most {budget} bytes of shared memory on {target}")
    words = list(enumerate(zip(kernel.types, launch.arguments, strict=True)))
    integers = [place for place, ((_, kind), _) in words if kind == "i32"]
    pointers = [(place, word) for place, ((_, kind), word) in words if kind != "i32"]
    first = {word: place for place, word in reversed(pointers) if word != NULL}
    absent = min(first.values())  # the address of some operand, for what is absent and never read
    same = {place: first.get(word, absent) for place, word in pointers if first.get(word) != place}
    operands = [first.get(f"i{number}") for number in range(launch.operands)]
    outputs = [first[f"o{number}"] for number in range(len(launch.outputs))]
    entry = Entry.of(made.ptx, made.entry).taking([*operands, *integers, *outputs], same)
    return Compiled(made.way, entry.ptx, made.entry, made.shared)
