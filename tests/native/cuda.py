"""libg4cuda without a GPU: its ops on the CPU provider, over a driver that writes down what it is asked to do.

The driver is `native/tests/stub_libcuda.c`. A process finds it by `LD_LIBRARY_PATH`, which is read when it starts, so
everything runs in a child (`cuda_child.py`).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from onnx import AttributeProto, TensorProto, helper

from tests.native.building import NATIVE, output

ROOT = NATIVE.parent
FLOAT, HALF, INT, LONG = TensorProto.FLOAT, TensorProto.BFLOAT16, TensorProto.INT32, TensorProto.INT64


def kernel(name, sizes=(8, 4), entry="main", threads=128, shared=0, dependent=False, grid=("1", "1", "1")):
    """A kernel whose parameters have ``sizes`` bytes, as the driver of the tests reads it."""
    image = f"entry={entry} sizes={','.join(map(str, sizes))}"
    return {
        "name": name, "image": image, "entry": entry, "threads": threads, "shared": shared, "dependent": dependent,
        "grid": list(grid),
    }  # fmt: skip


def graph(op, inputs, outputs, launches, sizes, name=None):
    """A model of one node. ``inputs``: (name, type) or None for an absent one; ``outputs`` likewise."""
    node = helper.make_node(
        op,
        [one[0] if one else "" for one in inputs],
        [one[0] if one else "" for one in outputs],
        name=name or f"the {op}",
        domain="g4",
    )
    plan = {"launches": launches, "sizes": sizes}
    strings = AttributeProto.STRINGS
    node.attribute.extend(
        helper.make_attribute(key, one, attr_type=strings) for key, one in plan.items() if one is not None
    )
    infos = [[helper.make_tensor_value_info(*one, None) for one in ends if one] for ends in (inputs, outputs)]
    for info in infos[0]:
        info.type.tensor_type.ClearField("shape")
    built = helper.make_graph([node], "graph", *infos)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("g4", 1)]
    return helper.make_model(built, opset_imports=opsets, ir_version=10)


def named(kind, types):
    return [(f"{kind}{i}", one) if one else None for i, one in enumerate(types)]


def launches(answer):
    """The launches in the log: (call, kernel, fields, arguments)."""
    found = []
    for line in answer["log"]:
        call, entry, *fields = line.split(" ")
        if call.startswith("cuLaunch"):
            values = dict(field.split("=") for field in fields)
            found.append((call, entry, values, [int(one) for one in values.pop("arguments").split(",")]))
    return found


# A layer's step: one kernel for one row, two for more; w0 is input 5.
NORM = named("i", [FLOAT, None, None, None, HALF, HALF])
SHAPES = {"i0": [1, 1, 16], "i4": [16], "i5": [40, 16]}
PLAN = [
    "r<=1 one i0 i1 i5 o0 o1 i5.0 i0.2",
    "* two.norm i0 i4 o2 r",
    "* two.product o2 i5 o0 r i5.0/16 7",
]
WHOLE = ["o0 i0.0 i0.1 i5.0", "o1 i0.0 i0.1 i0.2", "o2 i0.0 i0.1 i0.2"]
ALL_SIZES = [f"{condition} {one}" for condition in ("r<=1", "*") for one in WHOLE]
KERNELS = [
    kernel("one", (8, 8, 8, 8, 8, 4, 4, 8, 8), "one_entry", 256, 60000, True, ("a0/16", "a1", "1")),
    kernel("two.norm", (8, 8, 8, 4), "norm_entry", 64, 1024, False, ("a0", "1", "1")),
    kernel("two.product", (8, 8, 8, 4, 4, 4), "product_entry", 128, 49152, True, ("a1", "a0*2", "a2")),
]


def norm(plan=PLAN, sizes=ALL_SIZES, inputs=NORM, outputs=(HALF, FLOAT, HALF)):
    return graph("NormProduct", inputs, named("o", outputs), plan, sizes)


class Machine:
    """Runs children with the library in ``folder`` and the driver in ``stub`` (None: the machine's own)."""

    def __init__(self, folder, stub, work):
        self.library, self.stub, self.work = folder / "libg4cuda_on_cpu.so", stub, work

    def __call__(self, kernels=(), models=(), load=False, environment=None, contexts=(None,), threads=1):
        """What `cuda_child.py` answers, with the lines of the driver as `log`.

        ``models``: (model, input shapes by name), each opened and run by ``threads`` at the same time for each of
        ``contexts``, the numbers of the context that is current then.
        """
        log = self.work / "log"
        log.unlink(missing_ok=True)
        listed = []
        for number, (model, shapes) in enumerate(models):
            file = self.work / f"{number}.onnx"
            file.write_bytes(model.SerializeToString())
            listed.append({"file": str(file), "shapes": shapes})
        asked = {
            "kernels": list(kernels),
            "load": load,
            "models": listed,
            "contexts": list(contexts),
            "threads": threads,
        }
        given = {**os.environ, **(environment or {}), "G4CUDA_LIBRARY": str(self.library), "STUB_LOG": str(log)}
        given["PYTHONPATH"] = str(ROOT)
        if self.stub is not None:
            given["LD_LIBRARY_PATH"] = str(self.stub)
        command = [sys.executable, "-m", "tests.native.cuda_child"]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, env=given, input=json.dumps(asked), cwd=ROOT
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
        answer = json.loads(done.stdout.splitlines()[-1])
        answer["log"] = log.read_text().splitlines() if log.exists() else []
        return answer


def build_stub(folder, *options):
    """``folder``, with a libcuda.so.1 in it."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        pytest.skip("no C compiler: the driver of the tests cannot be built")
    folder.mkdir()
    source = Path(NATIVE) / "tests" / "stub_libcuda.c"
    flags = ["-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", *options]
    output(compiler, *flags, "-o", str(folder / "libcuda.so.1"), str(source))
    return folder
