"""Real sizes, which no test machine can hold: weights are made as they are asked for."""

import json
import subprocess
import sys

import pytest

from g4compile.planning.plan import plan

_COMPILE = """
import json, resource, sys, time, zlib
from pathlib import Path
import numpy as np
from g4compile.model import presets
from g4compile.compiler import compile
from g4compile.model.config import model_facts
from g4compile.model.inventory import inventory
from g4compile.weights.checkpoint import Checkpoint
from g4compile.weights.headers import StoredTensor
from g4compile.model.keys import checkpoint_key

class Synthetic(Checkpoint):
    '''Rows of one random table, whatever is asked for: as many bytes as a checkpoint has, none of them on disk.

    Each tensor starts at another row, since ONNX Runtime keeps equal weights once.'''

    TABLE = np.random.default_rng(0).standard_normal((4096, 32768), np.float32)

    def read(self, key):
        shape = self.tensors[key].shape
        return np.ones(shape, np.float32) if len(shape) < 2 else self.read_rows(key, 0, int(np.prod(shape[:-1])))

    def read_rows(self, key, start, stop):
        rows = (np.arange(start, stop) + zlib.crc32(key.encode())) % len(self.TABLE)
        return self.TABLE[rows, : self.tensors[key].shape[-1]]

folder, name = Path(sys.argv[1]), sys.argv[2]
config = folder / "config.json"
config.write_text(json.dumps(presets.config(name)))
facts = model_facts(presets.config(name))
tensors = {}
for weight in inventory(facts.text):
    key = checkpoint_key(weight.parameter, facts)
    tensors[key] = StoredTensor(key, "F32", weight.shape, config)
start = time.perf_counter()
source = Synthetic(folder, facts, tensors)
bundle = compile(source, "onnx-cpu", folder / "bundle", weights="int4", kernels="onnxruntime", modalities=("text",))
print(json.dumps({
    "seconds": time.perf_counter() - start,
    "peak_gb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - Synthetic.TABLE.nbytes) / 1e9,
    "data_bytes": bundle.manifest.files["weights.data"].bytes,
}))
"""


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["31b", "26b-a4b"])
def test_real_size_compiles_in_little_memory(name, tmp_path, capsys):
    done = subprocess.run([sys.executable, "-c", _COMPILE, tmp_path, name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    with capsys.disabled():
        print(
            f"\n{name} int4: {found['data_bytes'] / 1e9:.2f} GB in {found['seconds']:.0f} s, "
            f"peak {found['peak_gb']:.2f} GB"
        )
    assert found["peak_gb"] < 4
    assert found["peak_gb"] == pytest.approx(plan(name, weights="int4").memory.compile_peak_bytes / 1e9, rel=0.1)
    assert found["data_bytes"] == plan(name, weights="int4", modalities=("text",)).data_bytes


_RUN = """
import json, sys
from pathlib import Path
import numpy as np
from g4compile.runtime.measure import memory
from g4compile.runtime.session import load
session = load(sys.argv[1], threads=2, cache=sys.argv[2] or None)
loaded = memory()
session.forward(np.random.default_rng(0).integers(0, session.bundle.manifest.vocab_size, (1, 512)))
[session.forward([5]) for _ in range(4)]
print(json.dumps([*loaded, *memory()]))
"""


@pytest.mark.nightly
@pytest.mark.parametrize("weights", ["int4", "mobile"])
def test_e2b_stands_in_the_memory_that_was_planned(weights, tmp_path, capsys):
    code = _COMPILE.replace('weights="int4"', f'weights="{weights}"')
    subprocess.run([sys.executable, "-c", code, tmp_path, "e2b"], capture_output=True, check=True)
    planned = plan("e2b", weights=weights, context=512).memory

    def run(cache):
        done = subprocess.run(
            [sys.executable, "-c", _RUN, tmp_path / "bundle", cache], capture_output=True, text=True, check=True
        )
        return json.loads(done.stdout.splitlines()[-1])

    run(tmp_path / "cache")  # fills it
    load, load_anonymous, _, steady_anonymous = run("")
    cached_load, _, cached_steady, anonymous = run(tmp_path / "cache")
    found = {
        "load_bytes": load,
        "steady_bytes": load - load_anonymous + steady_anonymous,  # pages of tables apart
        "cached_load_bytes": cached_load,
        "cached_steady_bytes": cached_steady,
        "cached_anonymous_bytes": anonymous,
    }
    with capsys.disabled():
        for name, value in found.items():
            print(f"\n{weights} {name}: {value / 1e6:.0f} MB, planned {getattr(planned, name) / 1e6:.0f}", end="")
    for name, value in found.items():
        assert value == pytest.approx(getattr(planned, name), rel=0.1), name
    if weights == "int4":
        assert anonymous < 500e6 and cached_steady < 1.6e9
