"""g4compile: Gemma 4, compiled.

    bundle  = g4compile.compile(checkpoint, target="onnx-cpu", output="out/")
    session = g4compile.load("out/", threads=2)
    logits  = session.forward(input_ids)
    report  = g4compile.verify(bundle, checkpoint)
    plan    = g4compile.planning(checkpoint, target="onnx-cpu", weights="int4", context=32768)

Everything heavy is imported on first use; `load` and what it returns never import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from g4compile.bundle.folder import Bundle as Bundle
    from g4compile.compare.verify import verify as verify
    from g4compile.compiler import compile as compile
    from g4compile.planning.plan import plan as plan
    from g4compile.runtime.session import Session as Session
    from g4compile.runtime.session import load as load

_PUBLIC = {
    "Bundle": "g4compile.bundle.folder",
    "Session": "g4compile.runtime.session",
    "compile": "g4compile.compiler",
    "load": "g4compile.runtime.session",
    "plan": "g4compile.planning.plan",
    "verify": "g4compile.compare.verify",
}
__all__ = ["Bundle", "Session", "compile", "load", "plan", "verify"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)
