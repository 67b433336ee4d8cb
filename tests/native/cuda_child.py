"""Gives kernels to libg4cuda, opens models and runs them, as the JSON of its input says; the answer is JSON too.

in   kernels, load, models: [{file, shapes}], contexts: [number or null], threads: that run each at the same time
out  error: what kernels or loading said; models: [{error} or {inputs: {name: address}, runs: [{error} or
     {outputs: {name: {address, shape, type}}}]}]
"""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime as ort

from g4compile.errors import MachineError
from g4compile.runtime.cuda.library import require_library

CARRIERS = {onnx.TensorProto.FLOAT: np.float32, onnx.TensorProto.INT32: np.int32, onnx.TensorProto.INT64: np.int64}


def words(error):
    return str(error).splitlines()[0] if not isinstance(error, MachineError) else str(error)


def value(kind, shape):
    array = np.zeros(shape, CARRIERS.get(kind, np.uint16))
    return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array, kind)


def run(session, inputs):
    binding = session.io_binding()
    for name, one in inputs.items():
        binding.bind_ortvalue_input(name, one)
    for output in session.get_outputs():
        binding.bind_output(output.name, "cpu")
    try:
        session.run_with_iobinding(binding)
    except Exception as error:
        return {"error": words(error)}
    names = [output.name for output in session.get_outputs()]
    return {
        "outputs": {
            name: {"address": one.data_ptr(), "shape": one.shape(), "type": one.data_type()}
            for name, one in zip(names, binding.get_outputs(), strict=True)
        }
    }


def run_in_threads(session, inputs, threads):
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda _: run(session, inputs), range(threads)))


def open_and_run(library, model, contexts, threads):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # what fails is read from the error
    library.register(options)
    try:
        session = ort.InferenceSession(model["file"], options, providers=["CPUExecutionProvider"])
    except Exception as error:
        return {"error": words(error)}
    if model["shapes"] is None:
        return {}
    kinds = {one.name: one.type.tensor_type.elem_type for one in onnx.load(model["file"]).graph.input}
    inputs = {name: value(kinds[name], shape) for name, shape in model["shapes"].items()}
    runs = []
    for context in contexts:
        if context is not None:
            os.environ["STUB_CONTEXT"] = str(context)
        runs += run_in_threads(session, inputs, threads)
    return {"inputs": {name: one.data_ptr() for name, one in inputs.items()}, "runs": runs}


def main():
    asked = json.load(sys.stdin)
    answer = {"error": "", "models": []}
    try:
        library = require_library("the test")
        library.add_kernels(SimpleNamespace(**{**one, "image": one["image"].encode()}) for one in asked["kernels"])
        if asked["load"]:
            library.load_kernels()
        answer["models"] = [
            open_and_run(library, model, asked["contexts"], asked["threads"]) for model in asked["models"]
        ]
    except MachineError as error:
        answer["error"] = words(error)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
