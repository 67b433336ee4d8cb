"""31B at its real size, which no test machine can hold: weights are made as they are asked for."""

import json
import subprocess
import sys

import pytest

from g4compile.plan.plan import plan

_COMPILE = """
import json, resource, sys, time
from pathlib import Path
import numpy as np
from g4compile import presets
from g4compile.compiler import compile
from g4compile.config import model_facts
from g4compile.plan.inventory import inventory
from g4compile.weights.checkpoint import Checkpoint, StoredTensor
from g4compile.weights.keys import checkpoint_key

class Synthetic(Checkpoint):
    '''Rows of one random table, whatever is asked for: as many bytes as a checkpoint has, none of them on disk.'''

    TABLE = np.random.default_rng(0).standard_normal((4096, 32768), np.float32)

    def read(self, key):
        shape = self.tensors[key].shape
        return np.ones(shape, np.float32) if len(shape) < 2 else self.read_rows(key, 0, int(np.prod(shape[:-1])))

    def read_rows(self, key, start, stop):
        rows = np.arange(start, stop) % len(self.TABLE)
        return self.TABLE[rows, : self.tensors[key].shape[-1]]

def bare(module):
    return module.endswith(("layer_scalar", "router.scale", "per_expert_scale")) or ".experts." in module

folder, name = Path(sys.argv[1]), sys.argv[2]
config = folder / "config.json"
config.write_text(json.dumps(presets.config(name)))
facts = model_facts(presets.config(name))
tensors = {}
for weight in inventory(facts.text):
    module = "lm_head.weight" if weight.module == "lm_head" else f"model.{weight.module}" + ("" if bare(weight.module) else ".weight")
    key = checkpoint_key(module, facts)
    tensors[key] = StoredTensor(key, "F32", weight.shape, config)
start = time.perf_counter()
bundle = compile(Synthetic(folder, facts, tensors), "onnx-cpu", folder / "bundle", weights="int4")
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
            f"\n{name} int4: {found['data_bytes'] / 1e9:.2f} GB in {found['seconds']:.0f} s, peak {found['peak_gb']:.2f} GB"
        )
    assert found["peak_gb"] < 4
    assert found["data_bytes"] == plan(name, weights="int4").data_bytes
