"""ONNX Runtime, where its package is whole. Whatever needs it imports `ort` from here."""

from __future__ import annotations

from g4compile.runtime import packages

try:
    import onnxruntime as ort

    ort.InferenceSession  # noqa: B018 - a folder whose files are gone is imported too, and is empty
except ModuleNotFoundError as error:
    if error.name == packages.PLAIN:
        raise
    raise packages.broken(error) from error
except (ImportError, AttributeError) as error:
    raise packages.broken(error) from error

__all__ = ["ort"]
