"""Weights to disk: one tensor at a time, page-aligned, into one external data file.

Pages can then be mapped as they are; the memory to write is that of the largest tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from g4compile.graph.text import renumber

PAGE = 4096
_INLINE = 1024  # bytes up to which a tensor stays in the graph file


def write_graph(model: ir.Model, file: Path, progress: Callable[[str, int], None] = lambda name, size: None) -> None:
    """Write ``model`` to ``file`` and its weights to ``file`` + `.data`, then check it with `onnx.checker`."""
    renumber(model)
    data = file.with_name(file.name + ".data")
    kept = {}
    offset = 0
    try:
        with data.open("wb") as out:
            for name, value in model.graph.initializers.items():
                tensor = value.const_value
                assert tensor is not None and tensor.shape is not None
                if tensor.nbytes <= _INLINE:
                    kept[name] = tensor
                    value.const_value = ir.Tensor(tensor.numpy(), dtype=tensor.dtype, name=name)
                    continue
                out.write(b"\0" * (-offset % PAGE))
                offset += -offset % PAGE
                array = np.ascontiguousarray(tensor.numpy())
                out.write(array.reshape(-1).view(np.uint8).data)  # a plain write keeps the errno of a full disk
                kept[name] = tensor
                value.const_value = ir.ExternalTensor(
                    data.name, offset, array.nbytes, tensor.dtype, shape=ir.Shape(array.shape), name=name
                )
                offset += array.nbytes
                progress(name, array.nbytes)
        proto = ir.serde.serialize_model(model)
        # Runtimes infer their own; a dimension name wrongly shared would cost more than it tells.
        del proto.graph.value_info[:]
        file.write_bytes(proto.SerializeToString(deterministic=True))
    finally:
        for name, tensor in kept.items():
            model.graph.initializers[name].const_value = tensor
    onnx.checker.check_model(str(file), full_check=False)
