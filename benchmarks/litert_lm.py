"""LiteRT-LM on the checkpoint of `e2b.py`, int4 per channel, for the figures beside it.

    python3.11 -m venv LITERT && LITERT/bin/pip install litert-torch==0.10.0 litert-lm
    LITERT/bin/python benchmarks/litert_lm.py WORK [--threads 2]

Exports WORK/checkpoint to WORK/litert/model.litertlm once (E2B: 23 GB of memory and 37 GB of disk), and runs
`litert-lm benchmark` over 512 prompt tokens and 32 new ones, five times after one to warm up, with its cache on disk.
Prints one JSON object: its figures, and the peak of resident memory.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import ai_edge_litert

PROMPT, STEPS, REPEATS = 512, 32, 5
BIN = Path(sys.executable).parent
FIGURES = {
    "prefill_tokens_per_second": "Prefill speed",
    "decode_tokens_per_second": "Decode speed",
    "load_s": "Init time",
}


def export(checkpoint: Path, file: Path) -> None:
    """litert-torch imports a module of TensorFlow without depending on it: ai_edge_litert has the same one."""
    with tempfile.TemporaryDirectory(dir=file.parent.parent) as folder:
        package = Path(folder) / "modules" / "tensorflow" / "lite" / "python"
        package.mkdir(parents=True)
        for level in (package, *package.parents[:2]):
            (level / "__init__.py").touch()
        shutil.copy(Path(ai_edge_litert.__file__).with_name("schema_py_generated.py"), package)
        command = [str(BIN / "litert-torch"), "export_hf", f"--model={checkpoint}", f"--output_dir={folder}/made"]
        command += ["--quantization_recipe=dynamic_wi4_afp32", "--externalize_embedder"]
        environment = {**os.environ, "PYTHONPATH": str(Path(folder) / "modules")}
        subprocess.run(command, env=environment, check=True, stdout=sys.stderr)
        file.parent.mkdir(exist_ok=True)
        (Path(folder) / "made" / file.name).rename(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    file = options.work.resolve() / "litert" / "model.litertlm"
    if not file.exists():
        export(options.work.resolve() / "checkpoint", file)
    command = [BIN / "litert-lm", "benchmark", file, "--backend", "cpu", "--cpu-thread-count", options.threads]
    command += ["--cache", "disk", "--prefill-tokens", PROMPT, "--decode-tokens", STEPS, "--runs", REPEATS]
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True) as process:
        shown = process.stdout.read() if process.stdout else ""
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"litert-lm failed: {shown[-1000:]}")
    figures = {}
    for name, title in FIGURES.items():
        found = re.search(rf"^{title}: +([\d.]+)", shown, re.MULTILINE)
        if found is None:
            sys.exit(f"litert-lm does not say its {title}: {shown[-1000:]}")
        figures[name] = float(found[1])
    print(json.dumps({"runtime": "LiteRT-LM", **figures, "peak_resident_bytes": used.ru_maxrss * 1024}, indent=2))


if __name__ == "__main__":
    main()
