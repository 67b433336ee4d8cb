"""The two editions of TensorRT, and what each refuses: said here, before a builder says it in its own words, or accepts
and is wrong."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any

import numpy as np

from g4compile.errors import InputError, MachineError
from g4compile.model.config import ModelFacts
from g4compile.passes.lower_moe_to_gather_scatter import DENSE
from g4compile.targets.kernels.architectures import ARCHITECTURES
from g4compile.targets.tensorrt.lowerings import FUSED_HEAD
from g4compile.targets.tensorrt.options import EngineOptions, check_split
from g4compile.targets.tensorrt.plugins import Plugins
from g4compile.targets.tensorrt.steps import forms
from g4compile.weights.formats.float8 import FP8

MOST_DENSE = 256  # tokens for which all experts may run
_LOWEST_FLOAT8 = 89
_NUMPY_2_4 = 11  # the first TensorRT whose plugins go with NumPy 2.4
_OPEN = (80,)  # of the architectures of `targets/kernels/architectures.py`: code for the others runs on no newer GPU
_CAPABILITY = (75, 76)  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR


@dataclass(frozen=True)
class Edition:
    """``capabilities``: GPUs it builds for without having one; empty when it builds for the GPU at hand.
    ``plugins``: whether kernels of ours can stand in its networks."""

    target: str
    module: str
    name: str
    lowest: tuple[int, int]
    install: str
    capabilities: tuple[int, ...]
    plugins: bool = False

    @property
    def lowest_text(self) -> str:
        """The oldest version that is taken."""
        return ".".join(map(str, self.lowest))

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
                f"{self.name} {module.__version__} is too old: {self.lowest_text} is needed",
                fix=self.install,
            )
        return module

    def load_plugins(self) -> Plugins | None:
        """What makes plugin layers of our kernels, for the GPU at hand; None without any. Raises MachineError."""
        if not self.plugins:
            return None
        capability = gpu_capability()
        if capability is None:
            raise MachineError(f"{self.name} builds kernels for the GPU at hand, and there is none here")
        architecture = architecture_of(capability)
        version = str(self.load().__version__)
        if int(version.split(".", maxsplit=1)[0]) < _NUMPY_2_4 and np.lib.NumpyVersion(np.__version__) >= "2.4.0":
            raise MachineError(
                f"{self.name} {version} cannot make plugins with NumPy {np.__version__}",
                why="it turns arrays of one number into numbers, which NumPy 2.4 no longer does",
                fix="pip install 'numpy<2.4', or a newer TensorRT",
            )
        try:
            plugin = importlib.import_module(f"{self.module}.plugin")
        except ImportError as error:
            raise MachineError(f"{self.name} {version} makes no plugins", why=str(error), fix=self.install) from error
        return Plugins(self.load(), plugin, architecture)

    def check(self, facts: ModelFacts, options: EngineOptions) -> None:
        """Raise InputError or MachineError for what this edition cannot build."""
        _, many = forms(options.weights, self.plugins)
        options.capacities.check(facts.text, FUSED_HEAD, MOST_DENSE if many == DENSE else None)
        check_split(facts.text, options)
        if self.capabilities:
            self._check_capabilities(options.compute_capabilities)
            _check_float8(options.weights, options.compute_capabilities)
        elif options.compute_capabilities:
            raise InputError(
                f"{self.name} builds for the GPU of this machine alone",
                fix="leave --sm away, or use --target tensorrt-rtx for GPUs that are not here",
            )
        self.load()
        present = self.gpu()
        if present is not None:
            _check_float8(options.weights, (present,))
            if importlib.util.find_spec("triton") is None:
                raise MachineError("Triton is not installed, which compiles kernels for the engine", fix=self.install)

    def gpu(self) -> int | None:
        """The compute capability of the GPU at hand, which engines are built for; None when it builds for GPUs that
        are not here. Raises MachineError when there is none that it builds for."""
        if self.capabilities:
            return None
        present = gpu_capability()
        if present is None:
            raise MachineError(
                f"{self.name} builds engines on the GPU that they are for, and there is none here",
                fix="compile there, or use --target tensorrt-rtx --sm 80,89,120, which needs no GPU",
            )
        architecture_of(present)
        return present

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


def _check_float8(weights: str, capabilities: tuple[int, ...]) -> None:
    older = [capability for capability in capabilities if capability < _LOWEST_FLOAT8]
    if weights == FP8 and older:
        raise InputError(
            f"sm{older[0]} has no products of 8-bit floats",
            why=f"they begin with sm{_LOWEST_FLOAT8}",
            fix="--weights int4 or bfloat16, or leave that GPU out of --sm",
        )


def architecture_of(capability: int) -> int:
    """The newest architecture that kernels are compiled for and a GPU of ``capability`` runs: sm89, sm90, sm100
    and sm120 have some of their own, others run what is older. Raises MachineError below the oldest."""
    older = [one for one in ARCHITECTURES if one <= capability and (one in _OPEN or one == capability)]
    if not older:
        raise MachineError(
            f"kernels are compiled for sm{min(ARCHITECTURES)} and newer, and the GPU here is sm{capability}",
            fix="use --target tensorrt-rtx, which has no kernels of ours",
        )
    return max(older)


def gpu_capability() -> int | None:
    """The compute capability of the first GPU (90 for 9.0), as the CUDA driver says it; None without one."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    found = [ctypes.c_int(0), ctypes.c_int(0)]
    device = ctypes.c_int(0)
    if driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), 0):
        return None
    for value, attribute in zip(found, _CAPABILITY, strict=True):
        if driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device):
            return None
    return 10 * found[0].value + found[1].value


RTX = Edition(
    target="tensorrt-rtx",
    module="tensorrt_rtx",
    name="TensorRT-RTX",
    lowest=(1, 7),
    install="pip install 'g4compile[tensorrt-rtx]'",
    capabilities=(80, 86, 89, 120, 121),
)
FULL = Edition(
    target="tensorrt",
    module="tensorrt",
    name="TensorRT",
    lowest=(10, 16),
    install="pip install 'g4compile[tensorrt]'",
    capabilities=(),
    plugins=True,
)
EDITIONS = {edition.target: edition for edition in (RTX, FULL)}
