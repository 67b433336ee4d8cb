"""The bindings of full TensorRT, imported over stub libraries: names, signatures and enums are real, nothing can be
built.

`python -m tests.targets.tensorrt.stubs FOLDER NOTES.json` checks the notes of `recorder.py` against them, in a process
of its own, because the bindings of two products cannot be in one.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from g4compile.targets.tensorrt.launches import Launch
from g4compile.targets.tensorrt.plugins import DTYPES, Plugins

SYMBOLS = {
    "nvinfer": (
        "createInferBuilder_INTERNAL",
        "createInferRefitter_INTERNAL",
        "createInferRuntime_INTERNAL",
        "getPluginRegistry",
        "getBuilderPluginRegistry",
    ),
    "nvonnxparser": ("createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL", "getNvOnnxParserVersion"),
    "nvinfer_plugin": ("initLibNvInferPlugins",),
}  # fmt: skip


def load(folder: Path) -> Any:
    """Build the stub libraries in ``folder``, and import the bindings as `tensorrt`."""
    for name, symbols in SYMBOLS.items():
        source = folder / f"{name}.c"
        source.write_text("".join(f"void *{symbol}(void) {{ return 0; }}\n" for symbol in symbols))
        library = folder / f"lib{name}.so.{version('tensorrt-cu13-bindings').split('.')[0]}"
        command = ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{library.name}", "-o", str(library), str(source)]
        subprocess.run(command, check=True)
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    import tensorrt_bindings

    sys.modules["tensorrt"] = tensorrt_bindings
    return tensorrt_bindings


def problems(trt: Any, notes: list[list[Any]]) -> list[str]:
    """What of ``notes`` this TensorRT does not have."""
    checks = {"name": _name, "member": _member, "attribute": _attribute, "call": _call, "plugin": _plugin}
    return [problem for kind, *rest in notes for problem in [checks[kind](trt, *rest)] if problem]


def _name(trt: Any, name: str) -> str:
    return "" if hasattr(trt, name) else f"there is no {name}"


def _member(trt: Any, kind: str, member: str) -> str:
    return "" if member in getattr(getattr(trt, kind, None), "__members__", {}) else f"{kind} has no {member}"


def _attribute(trt: Any, kind: str, name: str) -> str:
    return "" if hasattr(getattr(trt, kind, None), name) else f"{kind} has no attribute {name}"


def _call(trt: Any, kind: str, method: str, given: list[str]) -> str:
    found = getattr(getattr(trt, kind, None), method, None)
    if found is None:
        return f"{kind} has no method {method}"
    lines = re.findall(rf"^(?:\d+\. )?{method}\((.*)\) -> ", found.__doc__ or "", re.MULTILINE)
    if any(_accepts(line, given) for line in lines):
        return ""
    return f"{kind}.{method} does not take ({', '.join(given)}): it takes {' or '.join(f'({line})' for line in lines)}"


class _Registry:
    """The plugin registry, which is the stub libraries' to have: keeps creators."""

    def __init__(self) -> None:
        self._creators: dict[tuple[str, str], Any] = {}

    def register_creator(self, creator: Any, namespace: str) -> None:
        self._creators[creator.plugin_namespace, creator.name] = creator

    def get_creator(self, name: str, version: str, namespace: str) -> Any:
        return next(iter(self._creators.values()))  # the creator's own name is that of its last attribute


def _plugin(trt: Any, text: str, operands: list[tuple[str, int]]) -> str:
    """Ask `tensorrt.plugin` for the plugin of a launch as a network would, for its outputs' types, and, the first time
    for each plugin, for what it launches."""
    module = importlib.import_module(f"{trt.__name__.partition('.')[0]}.plugin")
    registry, asked = _Registry(), []
    trt.get_plugin_registry = lambda: registry
    creators = sys.modules[f"{module.__name__}._lib"].QDP_CREATORS
    creators.clear()
    kinds = [getattr(trt, dtype) for dtype, _ in operands]
    tensors = [trt.ITensor.__new__(trt.ITensor) for _ in operands]
    try:
        launch = Launch.parse(text)
        given, _, made = Plugins(trt, module, 90)(launch, tensors)(trt.QuickPluginCreationRequest.STRICT_AOT)
        types = made.get_output_data_types(kinds, [rank for _, rank in operands])
        wanted = [getattr(trt, DTYPES[kind]) for kind, _ in launch.outputs]
        name = next(iter(creators))
        if name not in _BUILT:
            _BUILT.add(name)
            asked = _launched(module, made, kinds, [rank for _, rank in operands])
    except (TypeError, ValueError, AttributeError, IndexError, KeyError, msgspec.ValidationError) as error:
        return f"{text[:60]} is not taken: {error}"
    right = len(given) == len(operands) and types == wanted and all(asked)
    return "" if right else f"{text[:60]} gives {types}, {asked}"


def _launched(module: Any, made: Any, kinds: list[Any], ranks: list[int]) -> list[bool]:
    """Whether each part of what `aot_impl` answers is as TensorRT takes it."""
    descs = [module.TensorDesc() for _ in kinds]
    for desc, kind, rank in zip(descs, kinds, ranks, strict=True):
        desc.dtype, desc.shape_expr = kind, module.ShapeExprs(rank, _is_dummy=True)
    symbol, ptx, params, extra = made.aot_impl_function(*descs, *made.attrs.values(), (), 0)
    sizes = (params.grid_x, params.grid_y, params.grid_z, params.block_x, params.shared_mem, *extra)
    return [
        f".entry {symbol}(" in ptx,
        isinstance(params, module.KernelLaunchParams),
        isinstance(extra, module.SymExprs),
        *(isinstance(size, module.SymInt32) for size in sizes),
    ]


_BUILT: set[str] = set()  # plugins whose code was asked for


# What a Python value may be given for.
_SCALARS = {
    "int": ("int", "SupportsInt", "SupportsIndex"),
    "bool": ("bool",),
    "str": ("str",),
    "float": ("float", "SupportsFloat"),
    "function": ("Callable",),
}
_SEQUENCES = {"tuple": ("Dims", "list", "Sequence", "Permutation"), "list": ("Dims", "list", "Sequence")}


def _accepts(signature: str, given: list[str]) -> bool:
    parameters = re.split(r", (?=\w+: )", signature)[1:]  # self stands first
    required = [parameter for parameter in parameters if " = " not in parameter]
    if not len(required) <= len(given) <= len(parameters):
        return False
    return all(_fits(parameter.split(": ", 1)[1], kind) for parameter, kind in zip(parameters, given, strict=False))


def _fits(annotation: str, kind: str) -> bool:
    names = _SCALARS.get(kind) or _SEQUENCES.get(kind) or (kind,)
    return any(re.search(rf"\b{name}\b", annotation) for name in (*names, "object"))


if __name__ == "__main__":
    module = load(Path(sys.argv[1]))
    print(json.dumps(problems(module, json.loads(Path(sys.argv[2]).read_text()))))
