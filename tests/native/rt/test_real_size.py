"""E2B at its real size in libg4rt: how fast it opens, and what memory is its own."""

import json
import subprocess
import sys

import pytest

from g4compile.planning.plan import plan
from tests.test_real_sizes import _COMPILE

_EMBEDDED = """
import json, sys, time
from tests.native.rt.g4rt import G4rt
def anonymous():
    return 1024 * int(next(line for line in open("/proc/self/status") if line.startswith("RssAnon")).split()[1])
library, ops, bundle = sys.argv[1:]
rt, base, opened = G4rt(library, ops), anonymous(), []
for _ in range(5):
    start = time.perf_counter()
    model = rt.open(bundle, threads=2)
    opened.append(time.perf_counter() - start)
    if len(opened) < 5:
        model.close()
first, second = model.session(), model.session()
for _ in range(2):
    first.prefill(list(range(5, 261)))
one = anonymous()
for _ in range(2):
    second.prefill(list(range(5, 261)))
found = {"open_s": sorted(opened)[2], "anonymous_bytes": one - base, "second_bytes": anonymous() - one}
print(json.dumps({**found, "kv_bytes": second.memory.kv_bytes}))
"""


@pytest.mark.nightly
def test_e2b_embedded_opens_at_once_and_shares_its_weights(g4ops, rt, tmp_path, capsys):
    """int4 with libg4ops: the median of 5 openings, pages in memory; a second session has keys and values alone."""
    code = _COMPILE.replace('kernels="onnxruntime"', 'kernels="g4ops"')
    subprocess.run([sys.executable, "-c", code, tmp_path, "e2b"], capture_output=True, check=True)
    planned = plan("e2b", weights="int4", context=512, kernels="g4ops").memory.embedded_anonymous_bytes
    command = [sys.executable, "-c", _EMBEDDED, str(rt.file), str(rt.ops), str(tmp_path / "bundle")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    with capsys.disabled():
        print(f"\n{found}, planned {planned / 1e6:.0f} MB", end="")
    assert found["open_s"] < 0.3
    assert found["anonymous_bytes"] == pytest.approx(planned, rel=0.1)
    assert found["second_bytes"] < 1.2 * found["kv_bytes"]
