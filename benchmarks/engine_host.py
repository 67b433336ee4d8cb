"""What the host does for a token of an engine bundle: lookups, inputs, launch, choice, over a device that does nothing.

    python benchmarks/engine_host.py [--rounds N]

E2B's widths (two tables, 262,144 logits). Microseconds; the least of all rounds, because another program on the machine
only ever adds to one. A GPU's own time, and that of copies, is not in it.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

from g4compile.bundle.manifest import (
    EngineSpec,
    EngineStep,
    GraphSpec,
    HostSpec,
    KVLayer,
    KVSpec,
    TableSpec,
    TensorSpec,
)
from g4compile.runtime.engine import EngineSession

HIDDEN, LAYERS, PLE, VOCABULARY, ROWS, CONTEXT = 1536, 35, 256, 262_144, 1000, 1 << 20
MODES = {
    "greedy": {},
    "top_k 64": {"temperature": 1.0, "top_k": 64, "seed": 1},
    "all tokens": {"temperature": 1.0, "seed": 1},
}


class Nothing:
    """A device whose calls cost nothing, and whose logits are those of a peaked distribution."""

    stream = 1

    def __init__(self) -> None:
        logits = (2.5 * np.random.default_rng(0).standard_normal(VOCABULARY)).astype(np.float32)
        logits[:ROWS] += 20  # tokens that the small tables have
        likely = np.argsort(-logits)[:64]
        self._answers = {
            array.nbytes: array.view(np.uint8) for array in (logits, logits[likely], likely.astype(np.int64))
        }

    def free_memory(self) -> int:
        return 1 << 40

    def allocate(self, size: int) -> int:
        return 4096

    def staging(self, size: int) -> np.ndarray:
        return np.zeros(size, np.uint8)

    def capture(self, run: object) -> int:
        return 1

    def download(self, array: np.ndarray, address: int) -> None:
        array[:] = self._answers[array.nbytes]

    def upload(self, *given: object) -> None:
        pass

    zero = synchronize = mark = wait = launch = destroy = close = upload


def tensorrt(names: list[str]) -> SimpleNamespace:
    """A module of TensorRT whose engines have tensors of these ``names`` and compute nothing."""
    yes = lambda *given: True  # noqa: E731
    context = SimpleNamespace(set_device_memory=yes, set_tensor_address=yes, execute_async_v3=yes)
    engine = SimpleNamespace(
        num_io_tensors=len(names), get_tensor_name=names.__getitem__, device_memory_size_v2=256,
        get_aliased_input_tensor=lambda name: name.replace("present", "past_key_values"),
        create_execution_context=lambda strategy: context,
    )  # fmt: skip
    runtime = SimpleNamespace(deserialize_cuda_engine=lambda plan: engine)
    strategy = SimpleNamespace(USER_MANAGED=0)
    logger = type("Logger", (), {"ERROR": 0, "__init__": lambda self, severity: None})
    return SimpleNamespace(Runtime=lambda log: runtime, Logger=logger, ExecutionContextAllocationStrategy=strategy)


def session_in(folder: Path) -> EngineSession:
    random = np.random.default_rng(1)
    tables = {"embed": random.standard_normal((ROWS, HIDDEN)), "ple": random.standard_normal((ROWS, LAYERS * PLE))}
    save_file({name: table.astype(ml_dtypes.bfloat16) for name, table in tables.items()}, folder / "model.safetensors")
    (folder / "decode.plan").touch()
    kv = {name: TensorSpec(f"{name}.0.key", "bfloat16", (1, 1, 512, 8)) for name in ("past_key_values", "present")}
    inputs = (
        TensorSpec("inputs_embeds", "bfloat16", (1, 1, HIDDEN)),
        TensorSpec("per_layer_inputs", "bfloat16", (1, 1, LAYERS, PLE)),
        TensorSpec("position_ids", "int64", (1, 1)),
        kv["past_key_values"],
    )
    outputs = (
        TensorSpec("logits", "float", (1, 1, VOCABULARY)), TensorSpec("top_logits", "float", (1, 1, 64)),
        TensorSpec("top_tokens", "int64", (1, 1, 64)), kv["present"],
    )  # fmt: skip
    scaled = (
        TableSpec("inputs_embeds", "embed", 39.19, (HIDDEN,)),
        TableSpec("per_layer_inputs", "ple", 16.0, (LAYERS, PLE)),
    )
    engine = EngineSpec(
        "tensorrt", "0", (), 1, 16, 512, (EngineStep("decode", 1, "all", 0),), HostSpec((258_880, 258_881), 0, scaled),
        (), 0, 0, 1,
    )  # fmt: skip
    graph = GraphSpec("decode.plan", inputs, outputs, "decoder", "decode")
    layer = KVLayer(0, "sliding_attention", 1, 8, 256, 512, 32)
    manifest = SimpleNamespace(
        engine=engine, graphs={"decode": graph}, graph=lambda part, variant: "decode", context=CONTEXT,
        kv=KVSpec("bfloat16", 1, (layer,)), vocab_size=VOCABULARY, stop_token_ids=(),
    )  # fmt: skip
    bundle = SimpleNamespace(manifest=manifest, folder=folder, graph_path=lambda name: folder / "decode.plan")
    return EngineSession(bundle, folder, Nothing(), tensorrt([tensor.name for tensor in (*inputs, *outputs)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2000)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name, session_in(Path(name)) as session:
        for mode, options in MODES.items():
            session.reset()
            best = float("inf")
            made = session.generate([2], max_new_tokens=rounds, stop_token_ids=[], **options)
            for _ in itertools.islice(made, 2):  # the first run, and its capture
                pass
            for _ in range(rounds - 2):
                start = time.perf_counter()
                next(made)
                best = min(best, time.perf_counter() - start)
            print(f"{mode}: {1e6 * best:.0f} us a token")


if __name__ == "__main__":
    warnings.simplefilter("error")
    main()
