"""The kernels of libg4ops alone, ONNX Runtime's MatMulNBits, and what the machine can do at most, in one run.

    python benchmarks/native/products.py [--threads 2] [--repeats 20] [--build FOLDER] [--json FILE]

Builds `native/` into FOLDER. One row: gigabytes of codes and scales a second, and their share of the best read loop.
Many rows: billions of operations a second, and their share of the loop of the machine's own 8-bit product. Medians;
a limit runs before and after each product. State `lscpu` beside any figure: rates of machines do not compare.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
from benchmarks.limits import built, processor  # noqa: E402
from benchmarks.products import model  # noqa: E402

WEIGHTS = 150e6  # bytes of codes, in turn: more than caches hold


def kernels(build: Path, threads: int, repeats: int) -> list[dict[str, Any]]:
    """Builds the benchmark, and runs it."""
    command = [str(built(build, "products")), str(threads), str(repeats)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def matmul_nbits(rows: int, columns: int, channels: int, threads: int, repeats: int) -> float:
    """Seconds of one MatMulNBits with 4 bits in blocks of 128, as `kernels` counts them: a median."""
    copies = max(2, int(WEIGHTS / (columns * channels / 2))) if rows <= 8 else 2
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    built = model(columns, channels, 4, 128, copies)
    built.graph.input[0].type.tensor_type.shape.dim[0].dim_value = rows
    for output in built.graph.output:
        output.type.tensor_type.shape.dim[0].dim_value = rows
    session = ort.InferenceSession(built.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feeds = {"x": np.random.default_rng(1).standard_normal((rows, columns)).astype(np.float32)}
    session.run(None, feeds)
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        session.run(None, feeds)
        found.append((time.perf_counter() - start) / copies)
    return statistics.median(found)


def beside(line: dict[str, Any], threads: int, repeats: int) -> None:
    """Adds MatMulNBits to the lines of 4 bits in blocks of 128."""
    if (line["bits"], line["block"], line["activations"]) != (4, 128, "int8"):
        return
    rows, columns, channels = line["rows"], line["K"], line["N"]
    spent = matmul_nbits(rows, columns, channels, threads, repeats)
    work = 2.0 * rows * columns * channels if rows > 8 else columns * channels * (1 / 2 + 4 / 128)
    line["matmul_nbits"] = round(work / spent / 1e9, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--build", type=Path)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lines = kernels(given.build or Path(folder), given.threads, given.repeats)
    print(f"{'rows':>4} {'K':>6} {'N':>6} {'format':<14} {'rate':>9} {'limit':>9} {'share':>6}  MatMulNBits")
    for line in lines:
        beside(line, given.threads, max(3, given.repeats // 4))
        block = f"blocks of {line['block']}" if line["block"] else "per channel"
        name = f"int{line['bits']} {block}" + (" exact" if line["activations"] == "float32" else "")
        print(
            f"{line['rows']:>4} {line['K']:>6} {line['N']:>6} {name:<24} {line['rate']:>9} {line['limit']:>9} "
            f"{line['share']:>6.0%} {line['unit']:<5} {line.get('matmul_nbits', '')}",
            flush=True,
        )
    if given.json:
        found = {"machine": processor(), "onnxruntime": ort.__version__, "lines": lines}
        given.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
