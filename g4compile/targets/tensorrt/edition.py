"""The two editions of TensorRT: their facts in one table, at the end, and what follows from these. What an edition
cannot do is said here, before a builder says it in its own words, or accepts and is wrong."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from g4compile.errors import InputError, MachineError
from g4compile.model.config import ModelFacts
from g4compile.passes.lower_moe_to_gather_scatter import DENSE
from g4compile.targets.tensorrt.attention_forms import FOLDED, SELECT, FusedLayer
from g4compile.targets.tensorrt.gpu import architecture_of, gpu_capability
from g4compile.targets.tensorrt.options import EngineOptions, check_split
from g4compile.targets.tensorrt.plugins import Plugins
from g4compile.targets.tensorrt.steps import forms
from g4compile.weights.formats.float8 import FP8

MOST_DENSE = 256  # tokens for which all experts may run
_LOWEST_FLOAT8 = 89


@dataclass(frozen=True)
class Edition:
    """``lowest``: the oldest version that is taken. ``too_old``: by how their versions begin, releases before it, and
    ``doubtful`` ones behind it, with what is known of them. ``capabilities``: GPUs it builds for without having one;
    empty when it builds for the GPU at hand. ``fused``: what its layer of attention takes. ``plugins``: whether kernels
    of ours can stand in its networks; from ``numpy_2_4`` on they go with NumPy 2.4. ``refuses``: weights that are not
    offered, and why."""

    target: str
    module: str
    name: str
    lowest: tuple[int, int]
    install: str
    capabilities: tuple[int, ...]
    fused: FusedLayer
    plugins: bool = False
    numpy_2_4: tuple[int, int] = (0, 0)
    too_old: Mapping[str, str] = field(default_factory=dict, hash=False)
    doubtful: Mapping[str, str] = field(default_factory=dict, hash=False)
    refuses: Mapping[str, str] = field(default_factory=dict, hash=False)

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
        self.check_version(str(module.__version__))
        return module

    def check_version(self, version: str) -> None:
        """Raise MachineError for a version that is too old, and warn of one that is known to be doubtful."""
        if _numbers(version) < self.lowest:
            raise MachineError(
                f"{self.name} {version} is too old: {self.lowest_text} is needed",
                why=_known(self.too_old, version),
                fix=self.install,
            )
        doubt = _known(self.doubtful, version)
        if doubt:
            warnings.warn(f"{self.name} {version}: {doubt}", stacklevel=3)

    def load_plugins(self) -> Plugins | None:
        """What makes plugin layers of our kernels, for the GPU at hand; None without any. Raises MachineError."""
        if not self.plugins:
            return None
        capability = gpu_capability()
        if capability is None:
            raise MachineError(f"{self.name} builds kernels for the GPU at hand, and there is none here")
        architecture = architecture_of(capability)
        trt = self.load()
        version = str(trt.__version__)
        self._check_numpy(version)
        try:
            plugin = importlib.import_module(f"{self.module}.plugin")
        except ImportError as error:
            raise MachineError(f"{self.name} {version} makes no plugins", why=str(error), fix=self.install) from error
        return Plugins(trt, plugin, architecture)

    def _check_numpy(self, version: str) -> None:
        if _numbers(version) < self.numpy_2_4 and np.lib.NumpyVersion(np.__version__) >= "2.4.0":
            raise MachineError(
                f"{self.name} {version} cannot make plugins with NumPy {np.__version__}",
                why="it turns arrays of one number into numbers, which NumPy 2.4 no longer does",
                fix=f"pip install 'numpy<2.4', or {self.name} {'.'.join(map(str, self.numpy_2_4))} or newer",
            )

    def check(self, facts: ModelFacts, options: EngineOptions) -> None:
        """Raise InputError or MachineError for what this edition cannot build."""
        _, many = forms(self.plugins)
        options.check_attention()
        options.capacities.check(facts.text, MOST_DENSE if many == DENSE else None)
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
        if self.gpu() is not None and importlib.util.find_spec("triton") is None:
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


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


def _known(releases: Mapping[str, str], version: str) -> str:
    return next((why for begin, why in releases.items() if f"{version}.".startswith(begin)), "")


def _check_float8(weights: str, capabilities: tuple[int, ...]) -> None:
    older = [capability for capability in capabilities if capability < _LOWEST_FLOAT8]
    if weights == FP8 and older:
        raise InputError(
            f"sm{older[0]} has no products of 8-bit floats",
            why=f"they begin with sm{_LOWEST_FLOAT8}",
            fix="--weights int4 or bfloat16, or leave that GPU out of --sm",
        )


# What a fused layer takes. TensorRT-RTX 1.7.1, as its builder said for sm80, 89 and 120: heads of 272 are refused, and
# of one query 3 heads, and 24,321 keys (of heads of 256; 24,545 of 32); 128 queries over 131,072 keys are not. Full
# TensorRT: 16,384 keys are the most that were seen to work (NVIDIA, TensorRT-Model-Connect, pull request 1035); its
# fewest heads are taken to be the same.
RTX = Edition(
    target="tensorrt-rtx",
    module="tensorrt_rtx",
    name="TensorRT-RTX",
    lowest=(1, 7),
    install="pip install 'g4compile[tensorrt-rtx]'",
    capabilities=(80, 86, 89, 120, 121),
    fused=FusedLayer(head=256, heads=(4, 2), slots=(24_320, None), otherwise=FOLDED),
)
FULL = Edition(
    target="tensorrt",
    module="tensorrt",
    name="TensorRT",
    lowest=(11, 1),
    install="pip install 'g4compile[tensorrt]'",
    capabilities=(),
    fused=FusedLayer(head=256, heads=(4, 2), slots=(16_384, 16_384), otherwise=SELECT),
    plugins=True,
    numpy_2_4=(11, 2),
    too_old={
        "10.": "of TensorRT 10 it is known that no attention with a mask builds; 11.1 is the oldest release whose "
        "bindings are compared with what is used of them",
        "11.0.": "of 11.0 it is known that attention with a mask does not build; 11.1 is the oldest release whose "
        "bindings are compared with what is used of them",
    },
    doubtful={
        "11.2.0.": "of this release it is known that CUDA error 700 ends a process, behind a run that was right, when "
        "an engine is unloaded; 11.1 and 11.2.1 do not"
    },
    refuses={
        FP8: "8-bit floats were not measured with full TensorRT, whose releases since 11.2 choose kernels for them "
        "that are numerically unstable; TensorRT-RTX has them"
    },
)
EDITIONS = {edition.target: edition for edition in (RTX, FULL)}
