"""g4compile: Gemma 4, compiled.

    bundle  = g4compile.compile(checkpoint, target="onnx-cpu", output="out/")
    session = g4compile.load("out/", threads=2)
    logits  = session.forward(input_ids)
    prompt  = g4compile.Prompt.from_messages(messages, session.bundle)
    report  = g4compile.verify(bundle, checkpoint)
    plan    = g4compile.plan(checkpoint, target="onnx-cpu", weights="int4", context=32768)

Everything heavy is imported on first use; `load` and what it returns never import torch. `compile`, `plan` and `verify`
need the extra `compile`: without it they raise MachineError with the command that installs it. No module or package
here has a public name: an import of it would take the place of the function.
"""

from __future__ import annotations

from importlib import import_module

__version__ = "0.1.0"

TYPE_CHECKING = False  # `typing` has it too, which `python -m g4compile` would take from the current folder
if TYPE_CHECKING:
    from typing import Any

    from g4compile.bundle.folder import Bundle as Bundle
    from g4compile.compare.verify import verify as verify
    from g4compile.compiler import compile as compile
    from g4compile.planning.plan import plan as plan
    from g4compile.runtime.prompt import Prompt as Prompt
    from g4compile.runtime.session import Session as Session
    from g4compile.runtime.session import load as load

_RUNTIME, _COMPILE = "", "compile"
# Public name -> the module that holds it, and the extra that the module needs.
_PUBLIC = {
    "Bundle": ("g4compile.bundle.folder", _RUNTIME),
    "Prompt": ("g4compile.runtime.prompt", _RUNTIME),
    "Session": ("g4compile.runtime.session", _RUNTIME),
    "compile": ("g4compile.compiler", _COMPILE),
    "load": ("g4compile.runtime.session", _RUNTIME),
    "plan": ("g4compile.planning.plan", _COMPILE),
    "verify": ("g4compile.compare.verify", _COMPILE),
}
__all__ = ["Bundle", "Prompt", "Session", "compile", "load", "plan", "verify"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, extra = _PUBLIC[name]
    if extra:
        from g4compile.requirements import require

        require(extra, f"g4compile.{name}")
    return getattr(import_module(module), name)
