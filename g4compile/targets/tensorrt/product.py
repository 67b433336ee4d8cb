"""The two products, and what each refuses: said here, before a builder says it in its own words, or accepts and is wrong."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any

from g4compile.config import ModelFacts, TextFacts
from g4compile.errors import InputError, MachineError
from g4compile.targets.base import Options
from g4compile.targets.tensorrt.lowerings import BFLOAT16, FUSED_HEAD
from g4compile.targets.tensorrt.steps import Capacities

MOST_DENSE = 256  # tokens for which all experts may run


@dataclass(frozen=True)
class Product:
    """``capabilities``: GPUs it builds for without having one; empty when it builds for the GPU at hand."""

    target: str
    module: str
    name: str
    lowest: tuple[int, int]
    install: str
    capabilities: tuple[int, ...]

    def load(self) -> Any:
        """The Python bindings. Raises MachineError with the command that installs them."""
        if importlib.util.find_spec(self.module) is None:
            raise MachineError(f"{self.name} is not installed", fix=self.install)
        try:
            module = importlib.import_module(self.module)
        except Exception as error:  # the bindings raise whatever the loader of their libraries says
            raise MachineError(
                f"{self.name} is installed, and cannot be loaded", why=str(error).splitlines()[0], fix=self.install
            ) from error
        version = tuple(int(part) for part in str(module.__version__).split(".")[:2])
        if version < self.lowest:
            raise MachineError(
                f"{self.name} {module.__version__} is too old: {'.'.join(map(str, self.lowest))} is needed",
                fix=self.install,
            )
        return module

    def check(self, facts: ModelFacts, options: Options) -> None:
        """Raise InputError or MachineError for what this product cannot build."""
        capacities = Capacities(options.context, options.batch, options.chunk)
        capacities.check(facts.text, FUSED_HEAD, MOST_DENSE)
        check_split(facts.text, options)
        if self.capabilities:
            self._check_capabilities(options.compute_capabilities)
        elif options.compute_capabilities:
            raise InputError(
                f"{self.name} builds for the GPU of this machine alone",
                fix="leave --sm away, or use --target tensorrt-rtx for GPUs that are not here",
            )
        self.load()
        if not self.capabilities and not _gpu_present():
            raise MachineError(
                f"{self.name} builds engines on the GPU that they are for, and there is none here",
                fix="compile there, or use --target tensorrt-rtx --sm 80,89,120, which needs no GPU",
            )

    def _check_capabilities(self, wanted: tuple[int, ...]) -> None:
        known = ", ".join(map(str, self.capabilities))
        if not wanted:
            raise InputError(f"{self.name} must know which GPUs to build for", fix="--sm 80,89,120")
        for capability in wanted:
            if capability not in self.capabilities:
                raise InputError(
                    f"{self.name} builds nothing for sm{capability}",
                    why="it is for RTX-class GPUs; H100, H200 and B200 (sm90, sm100) are full TensorRT's",
                    fix=f"--sm with some of {known}, or --target tensorrt on the machine that has the GPU",
                )
        if len(set(wanted)) != len(wanted):
            raise InputError(f"--sm {','.join(map(str, wanted))} names a GPU twice", fix="name each once")


def check_split(facts: TextFacts, options: Options) -> None:
    """Raise InputError when a model cannot be shared out to the ranks that were asked for."""
    ranks = options.ranks
    if ranks == 1:
        return
    if not 2 <= ranks <= 16:
        raise InputError(f"a model cannot be split over {ranks} ranks", fix="--tensor-parallel between 1 and 16")
    if options.weights != BFLOAT16:
        raise InputError(
            f"{options.weights} weights are not split over ranks by this version", fix="--weights bfloat16"
        )
    sizes = {"query heads": facts.heads, "columns of an MLP": min(layer.intermediate_size for layer in facts.layers)}
    if facts.moe is not None:
        sizes["columns of an expert"] = facts.moe.intermediate_size
    uneven = {name: size for name, size in sizes.items() if size % ranks}
    uneven |= {
        f"KV heads of layer {layer.index}": layer.kv_heads
        for layer in facts.kv_layers
        if layer.kv_heads % ranks and ranks % layer.kv_heads
    }
    for name, size in uneven.items():
        raise InputError(
            f"{size} {name} cannot be shared out to {ranks} ranks", fix="--tensor-parallel 2, or another divisor"
        )


def _gpu_present() -> bool:
    """Whether the CUDA driver sees a device."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


RTX = Product(
    target="tensorrt-rtx",
    module="tensorrt_rtx",
    name="TensorRT-RTX",
    lowest=(1, 7),
    install="pip install 'g4compile[tensorrt-rtx]'",
    capabilities=(80, 86, 89, 120, 121),
)
FULL = Product(
    target="tensorrt",
    module="tensorrt",
    name="TensorRT",
    lowest=(11, 0),
    install="pip install tensorrt-cu13, which fetches its libraries from NVIDIA's package index",
    capabilities=(),
)
