"""MatMulNBits alone: what a decoded token's products read a second, by bits and block, at E2B's sizes.

    python benchmarks/products.py [--threads 2]

Each line: K, N, bits, then for each block the milliseconds of one product and the gigabytes of codes a second. Products
of many different weights run in turn, so that they come from memory and not from a cache.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

SIZES = ((1536, 12288), (12288, 1536), (1536, 6144), (6144, 1536))
BLOCKS = {2: (32, 64, 128, 256), 4: (32, 128, 256, 512), 8: (128, 512)}
BYTES, REPEATS = 150e6, 7


def model(columns: int, rows: int, bits: int, block: int, copies: int) -> onnx.ModelProto:
    random, nodes, weights, outputs = np.random.default_rng(0), [], [], []
    for copy in range(copies):
        codes = random.integers(0, 256, (rows, columns // block, block * bits // 8), np.uint8)
        scales = random.random((rows, columns // block), np.float32)
        weights += [numpy_helper.from_array(codes, f"b{copy}"), numpy_helper.from_array(scales, f"s{copy}")]
        attributes = {"K": columns, "N": rows, "bits": bits, "block_size": block, "accuracy_level": 4}
        inputs = ["x", f"b{copy}", f"s{copy}"]
        nodes.append(helper.make_node("MatMulNBits", inputs, [f"y{copy}"], domain="com.microsoft", **attributes))
        outputs.append(helper.make_tensor_value_info(f"y{copy}", TensorProto.FLOAT, [1, rows]))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, columns])
    graph = helper.make_graph(nodes, "products", [x], outputs, weights)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def seconds(columns: int, rows: int, bits: int, block: int, threads: int) -> float:
    copies = min(16, max(2, int(BYTES / (columns * rows * bits / 8))))
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    built = model(columns, rows, bits, block, copies).SerializeToString()
    session = ort.InferenceSession(built, options, providers=["CPUExecutionProvider"])
    feeds = {"x": np.random.default_rng(1).standard_normal((1, columns)).astype(np.float32)}
    session.run(None, feeds)
    found = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        session.run(None, feeds)
        found.append(time.perf_counter() - start)
    return statistics.median(found) / copies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    threads = parser.parse_args().threads
    for columns, rows in SIZES:
        for bits, blocks in BLOCKS.items():
            line = []
            for block in blocks:
                spent = seconds(columns, rows, bits, block, threads)
                rate = columns * rows * bits / 8 / spent / 1e9
                line.append(f"block {block}: {spent * 1e3:.3f} ms {rate:.1f} GB/s")
            print(columns, rows, f"{bits} bits", "; ".join(line), flush=True)


if __name__ == "__main__":
    main()
