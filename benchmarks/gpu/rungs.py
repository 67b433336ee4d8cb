"""The rungs of `first_run.py`: what each builds and runs. What that is compared with is in `judged.py`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import numpy as np
import onnx_ir as ir
from judged import CHUNK, FULL, RTX, STEPS, Array, Figures, Scenario, Site, capabilities, compared, opened

DECODE, VERIFY, PREFILL = ("decode",), ("decode", "verify"), ("decode", "prefill")
ALL = ("decode", "verify", "prefill-short", "prefill")
SHARE = 1.1  # of the mean error of Hugging Face in bfloat16, what is allowed
FLOAT = ir.TensorType(ir.DataType.FLOAT)


@dataclass(frozen=True)
class Rung:
    """``run`` gives figures. ``limit``: seconds that it may take."""

    name: str
    run: Callable[[Site], Figures]
    limit: int = 900
    targets: tuple[str, ...] = (FULL, RTX)

    def short_of(self, figures: Figures) -> str | None:
        """What ``figures`` are short of, in words, if of anything."""
        if figures.get("share", 0.0) > SHARE:
            return f"the mean error is {figures['share']:.2f} of that of Hugging Face in bfloat16, allowed is {SHARE}"
        return None if figures.get("equal", True) else "what should be equal bit for bit is not"


def bindings(site: Site) -> Figures:
    """Whether TensorRT can be imported, and is of a version that is known."""
    from g4compile.targets.tensorrt.edition import EDITIONS

    edition = EDITIONS[site.target]
    return {"version": str(edition.load().__version__), "builds_for": edition.gpu() or "any GPU"}


def builder(site: Site) -> Figures:
    """Whether a builder can be made: the libraries that it loads are others than those of the bindings."""
    from g4compile.targets.tensorrt.build import EngineBuilder
    from g4compile.targets.tensorrt.edition import EDITIONS

    EngineBuilder(EDITIONS[site.target])
    return {}


def product(site: Site) -> Figures:
    """One product of matrices: built, loaded, run, and compared. Its numbers are small integers, so it is exact."""
    from g4compile.errors import MachineError
    from g4compile.runtime import engine
    from g4compile.runtime.engine_contexts import CompiledContexts, plain_contexts
    from g4compile.runtime.engine_plans import Plan
    from g4compile.targets.tensorrt.build import EngineBuilder
    from g4compile.targets.tensorrt.edition import EDITIONS

    made, shapes = EngineBuilder(EDITIONS[site.target]), {"x": (4, 64), "w": (64, 32)}
    inputs = [ir.Value(name=name, type=FLOAT, shape=ir.Shape(shape)) for name, shape in shapes.items()]
    node = ir.node("MatMul", inputs, name="product")
    node.outputs[0].name, node.outputs[0].type, node.outputs[0].shape = "y", FLOAT, ir.Shape((4, 32))
    network = made.network(ir.Graph(inputs, node.outputs, nodes=[node], opset_imports={"": 23}))
    plan = made.plan(network, "product", [], capabilities(site))
    rng, device = np.random.default_rng(0), engine.Cuda()
    loaded = made.trt.Runtime(made.trt.Logger(made.trt.Logger.ERROR)).deserialize_cuda_engine(plan)
    if loaded is None:
        raise MachineError("TensorRT does not load the plan that it has built")
    arrays = {name: rng.integers(-4, 5, shape).astype(np.float32) for name, shape in shapes.items()}
    arrays["y"] = np.zeros((4, 32), np.float32)
    contexts = CompiledContexts(made.trt, [], None) if site.target == RTX else plain_contexts(made.trt)
    one = Plan("product", loaded, device, contexts)
    try:
        size = max(256, one.memory_bytes)
        context = one.context((device.allocate(size), size))
        at = {name: device.allocate(array.nbytes) for name, array in arrays.items()}
        for name, array in arrays.items():
            device.upload(at[name], array)
            context.set_address(name, at[name])
        context.run()
        device.download(arrays["y"], at["y"])
        device.synchronize()
    finally:
        one.close()
        device.close()
    return {"equal": bool((arrays["y"] == arrays["x"] @ arrays["w"]).all())}


def graph(site: Site) -> Figures:
    """Decoding as a CUDA graph, beside the same steps put on the stream one by one."""
    from g4compile.runtime.engine_decoder import Decoder

    session, _, figures = opened(site, "tiny-e2b", "graph", DECODE)
    tokens = np.random.default_rng(7).integers(10, 900, (STEPS, 1, 1))
    try:
        captured, seconds = _timed(session, tokens)
    finally:
        session.close()
    with mock.patch.object(Decoder, "_capture", lambda self, one: None):
        session, _, _ = opened(site, "tiny-e2b", "graph", DECODE)
        try:
            plain, plainly = _timed(session, tokens)
        finally:
            session.close()
    equal = all((a == b).all() for a, b in zip(captured, plain, strict=True))
    return {**figures, "equal": equal, "captured_ms": 1e3 * seconds, "plain_ms": 1e3 * plainly}


def _timed(session: Any, tokens: Array) -> tuple[list[Array], float]:
    """Logits behind each of ``tokens``, and the median of seconds."""
    found, seconds = [], []
    for token in tokens:
        start = time.perf_counter()
        found.append(session.forward(token))
        seconds.append(time.perf_counter() - start)
    return found, float(np.median(seconds))


def wide_heads(site: Site) -> Figures:
    """Heads that no fused layer takes, by the kernel of ours: here all that are wider than 16."""
    from g4compile.targets import target_named

    target = target_named(site.target)
    narrow = replace(target.edition, fused=replace(target.edition.fused, head=16))
    with mock.patch.object(target, "edition", narrow):
        return compared(site, "tiny-31b", "wide-heads", PREFILL, Scenario(prompt=CHUNK, count=2, conversations=8))


def largest(site: Site) -> Figures:
    """A model of a published size: tokens a second of decoding and of a prompt, the greedy choice included."""
    session, _, figures = opened(site, site.largest, "largest", ALL, context=site.context, chunk=site.chunk)
    length, count = site.context // 2, min(64, site.context // 4)
    ids = np.random.default_rng(1).integers(10, 900, (1, length))
    try:
        for _ in range(2):  # what is made once is made in the first round
            session.reset()
            start = time.perf_counter()
            stream = session.generate(ids, max_new_tokens=count + 1, stop_token_ids=())
            next(stream)
            prompt, start = time.perf_counter() - start, time.perf_counter()
            for _ in stream:
                pass
            decode = time.perf_counter() - start
    finally:
        session.close()
    return {**figures, "prompt_tokens_per_second": length / prompt, "decode_tokens_per_second": count / decode}


def _of(preset: str, name: str, steps: tuple[str, ...], scenario: Scenario, **options: Any) -> Rung:
    return Rung(name, lambda site: compared(site, preset, name, steps, scenario, **options))


LADDER = (
    Rung("bindings", bindings, 120),
    Rung("builder", builder, 300),
    Rung("product", product, 300),
    *(
        _of("tiny-e2b", f"decode-{form}", DECODE, Scenario(prompt=1, count=12, conversations=8), attention=form)
        for form in ("folded", "select", "fused")
    ),
    _of("tiny-e2b", "prefill", PREFILL, Scenario(prompt=CHUNK + 8, count=4, conversations=8)),
    _of("tiny-e2b", "verify", VERIFY, Scenario(prompt=20, count=4, conversations=8, all_positions=True)),
    _of("tiny-e2b", "batch", ALL, Scenario(batch=3, prompt=CHUNK + 3, count=12)),
    _of("tiny-e2b", "rings", ALL, Scenario(prompt=CHUNK + 8, count=STEPS)),
    Rung("graph", graph),
    Rung("wide-heads", wide_heads, targets=(FULL,)),
    _of("tiny-e2b", "int4", ALL, Scenario(prompt=CHUNK + 8, count=4, conversations=8), weights="int4"),
    _of("tiny-26b-a4b", "experts", ALL, Scenario(prompt=12, conversations=60)),
    _of("tiny-26b-a4b", "experts-int4", ALL, Scenario(prompt=12, conversations=60), weights="int4"),
    Rung("largest", largest, 7200),
)
