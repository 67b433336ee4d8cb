"""The experts of one layer of 26B-A4B at their real size, in ONNX Runtime, with the router in front as bundles have it.

    python benchmarks/native/moe.py [--threads 2] [--repeats 40] [--build FOLDER] [--json FILE]
        [--sizes 2816,704,128,8] [--folder FOLDER]

Needs libg4ops. int4 in blocks of 128 and per channel, random, mapped from a file in FOLDER (default: where the system
keeps temporary files) as from that of a bundle; the inputs are others at each turn, and so are the experts. --sizes: H,
the width of an expert, how many there are, and how many a token takes.

For 1 and 128 tokens: milliseconds of the block, a median; those that the codes and scales of the chosen experts take at
the read limit, and their operations at the int8 limit; the limits are measured right before and after. Then the
anonymous memory that a load adds, and a load and the runs, as shares of the bytes of the weights.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from g4compile.bundle.requires import G4OPS
from g4compile.runtime.measure import memory
from g4compile.runtime.native import add_ops, require_library
from g4compile.weights.formats.blocks import BFLOAT16, WHOLE_ROW, BlockFormat
from g4compile.weights.formats.channel_panels import panel_bytes, panel_shapes

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
from benchmarks.limits import built, limits, median_seconds, processor  # noqa: E402

FORMATS = {"int4 in blocks of 128": BlockFormat(4, 128, scales=BFLOAT16), "int4 per channel": BlockFormat(4, WHOLE_ROW)}
TOKENS = (1, 128)
WIDTHS = (7, 8, 10, 9, 9, 8, 9, 9, 8, 9, 11)  # of what is shown
PAGE = 4096


@dataclass(frozen=True)
class Sizes:
    hidden: int
    width: int
    experts: int
    each: int

    @property
    def matrices(self) -> dict[str, tuple[int, int]]:
        return {"gate_up": (2 * self.width, self.hidden), "down": (self.hidden, self.width)}

    def expert_bytes(self, format: BlockFormat) -> int:
        return sum(sum(panel_bytes(*shape, format).values()) for shape in self.matrices.values())

    def operations(self, tokens: int) -> float:
        return 2.0 * tokens * self.each * 3 * self.hidden * self.width


def weights(file: Path, sizes: Sizes, format: BlockFormat) -> list[onnx.TensorProto]:
    """Codes and scales of all experts, written to ``file`` an expert at a time, each array from a page on."""
    random, found = np.random.default_rng(0), []
    with file.open("wb") as out:
        for name, shape in sizes.matrices.items():
            parts = panel_shapes(*shape, format)
            for part, count in panel_bytes(*shape, format).items():
                out.write(bytes(-out.tell() % PAGE))
                whole = format.block == WHOLE_ROW
                scale = np.float32(0.01) if whole else np.uint16(0x3C23)  # bfloat16 of 0.01
                kind = TensorProto.UINT8 if part == "codes" else TensorProto.FLOAT if whole else TensorProto.BFLOAT16
                tensor = TensorProto(name=f"{name}_{part}", data_type=kind, dims=(sizes.experts, *parts[part]))
                tensor.data_location = TensorProto.EXTERNAL
                where = {"location": file.name, "offset": out.tell(), "length": sizes.experts * count}
                for key, value in where.items():
                    tensor.external_data.add(key=key, value=str(value))
                for _ in range(sizes.experts):
                    out.write(random.bytes(count) if part == "codes" else np.full(parts[part], scale).tobytes())
                found.append(tensor)
    return found


def block(sizes: Sizes, format: BlockFormat, stored: list[onnx.TensorProto]) -> onnx.ModelProto:
    """x [1, tokens, H] -> y, and the experts that were chosen: the nodes of a layer in a bundle."""
    random, hidden = np.random.default_rng(1), sizes.hidden
    small = {
        "ones": np.ones(hidden, np.float32),
        "router": random.standard_normal((hidden, sizes.experts), np.float32),
        "root": np.float32(hidden**-0.5),
        "each": np.array([sizes.each]),
        "last": np.array([-1]),
        "expert_scales": np.ones(sizes.experts, np.float32),
    }
    given = {"experts": sizes.experts, "H": hidden, "I": sizes.width, "activations": "int8"}
    given |= {
        f"{name}_{key}": value for name in sizes.matrices for key, value in (("bits", 4), ("block", format.block))
    }
    nodes = [
        helper.make_node("RMSNormalization", ["x", "ones"], ["normed"], axis=-1, epsilon=1e-6),
        helper.make_node("Mul", ["normed", "root"], ["scaled"]),
        helper.make_node("MatMul", ["scaled", "router"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["shares"], axis=-1),
        helper.make_node("TopK", ["shares", "each"], ["best", "index"]),
        helper.make_node("ReduceSum", ["best", "last"], ["sum"], keepdims=1),
        helper.make_node("Div", ["best", "sum"], ["ratio"]),
        helper.make_node("Gather", ["expert_scales", "index"], ["of_expert"]),
        helper.make_node("Mul", ["ratio", "of_expert"], ["weight"]),
        helper.make_node("RMSNormalization", ["x", "ones"], ["input"], axis=-1, epsilon=1e-6),
        helper.make_node(
            "QMoEExperts", ["input", "index", "weight", *(one.name for one in stored)], ["y"], domain="g4", **given
        ),
    ]
    graph = helper.make_graph(
        nodes,
        "block",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, "tokens", hidden])],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, None),
            helper.make_tensor_value_info("index", TensorProto.INT64, None),
        ],
        [*(numpy_helper.from_array(np.asarray(array), name) for name, array in small.items()), *stored],
    )
    opsets = [helper.make_opsetid("", 23), helper.make_opsetid("g4", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=11)


def measure(name: str, sizes: Sizes, folder: Path, program: Path, threads: int, repeats: int) -> list[dict[str, Any]]:
    """The lines of a format. Runs in a process of its own, whose memory nothing else has touched."""
    format = FORMATS[name]
    file, random = folder / "block.onnx", np.random.default_rng(2)
    onnx.save(block(sizes, format, weights(folder / "weights.data", sizes, format)), file)
    options = ort.SessionOptions()
    add_ops(options, {G4OPS})
    options.intra_op_num_threads = threads
    inputs = {
        tokens: [random.standard_normal((1, tokens, sizes.hidden), np.float32) for _ in range(repeats)]
        for tokens in TOKENS
    }
    whole, before = sizes.experts * sizes.expert_bytes(format), memory()[1]
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    loaded, lines = memory()[1] - before, []
    for tokens, turns in inputs.items():
        hit = [len(np.unique(session.run(["index"], {"x": x})[0])) for x in turns]
        first = limits(program, threads)
        seconds = median_seconds(lambda turn, turns=turns: session.run(["y"], {"x": turns[turn]}), repeats)
        limit = first.mean(limits(program, threads))
        read = np.median(hit) * sizes.expert_bytes(format) / limit.read
        computed = sizes.operations(tokens) / limit.int8 if limit.int8 else 0.0
        lines.append(
            {"format": name, "tokens": tokens, "experts_hit": float(np.median(hit)), "ms": seconds * 1e3}
            | {"read_ms_at_limit": read * 1e3, "share_of_read_limit": read / seconds}
            | {"product_ms_at_limit": computed * 1e3, "share_of_int8_limit": computed / seconds}
            | {"read_limit": limit.read, "int8_limit": limit.int8}
        )
    used = {"weight_bytes": whole, "loaded_share": loaded / whole, "run_share": (memory()[1] - before) / whole}
    return [line | used for line in lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--sizes", default="2816,704,128,8")
    parser.add_argument("--build", type=Path)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    require_library("this benchmark")
    sizes, lines = Sizes(*map(int, given.sizes.split(","))), []
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        program = built(given.build or Path(name) / "build", "limits")
        for format in FORMATS:
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                job = pool.submit(measure, format, sizes, Path(name), program, given.threads, given.repeats)
                lines += job.result()
    print(f"{sizes}, {given.threads} threads on {processor()}")
    print(f"{'':<22}{'':>7}{'':>8}{'':>10}{'read limit':>26}{'int8 limit':>26}{'anonymous memory':>20}")
    titles = ("tokens", "experts", "ms", "GB/s", "ms", "share", "GOP/s", "ms", "share", "loaded", "after runs")
    print(" " * 22 + "".join(f"{title:>{width}}" for title, width in zip(titles, WIDTHS, strict=True)))
    for line in lines:
        read, int8 = line["read_limit"] / 1e9, line["int8_limit"] / 1e9
        shown = (
            *(f"{line['tokens']}", f"{line['experts_hit']:.0f}", f"{line['ms']:.3f}"),
            *(f"{read:.1f}", f"{line['read_ms_at_limit']:.3f}", f"{line['share_of_read_limit']:.0%}"),
            *(f"{int8:.0f}", f"{line['product_ms_at_limit']:.3f}", f"{line['share_of_int8_limit']:.0%}"),
            *(f"{line['loaded_share']:.1%}", f"{line['run_share']:.1%}"),
        )
        print(f"{line['format']:<22}" + "".join(f"{text:>{width}}" for text, width in zip(shown, WIDTHS, strict=True)))
    if given.json:
        given.json.write_text(json.dumps({"processor": processor(), "lines": lines}, indent=1) + "\n")


if __name__ == "__main__":
    main()
