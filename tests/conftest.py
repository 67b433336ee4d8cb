"""Shared fixtures. Expensive ones (checkpoints, traces, HF logits) are made once a run, whatever the workers."""

from __future__ import annotations

import os

# Before torch: workers share the cores, and threads that wait for each other make small operations many times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import functools
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx_ir as ir
import pytest
from filelock import FileLock
from hypothesis import settings

from g4compile.bundle.folder import Bundle
from g4compile.compiler import compile
from g4compile.graph.stage import set_stage
from g4compile.graph.text import to_text
from g4compile.model.config import ModelFacts, TextFacts
from g4compile.model.contents import PARTS
from g4compile.program import Program, bind
from g4compile.runtime import shared_library
from g4compile.runtime.engine_steps import Planner
from g4compile.synth.checkpoint import synthesize
from g4compile.targets import TARGETS
from g4compile.targets.lower import lower
from g4compile.targets.tensorrt.edition import RTX
from g4compile.targets.tensorrt.interpreter.candidates import emit_networks, interpretable_builder
from g4compile.targets.tensorrt.interpreter.session import NetworkSession
from g4compile.targets.tensorrt.steps import Capacities
from g4compile.targets.tensorrt.target import EngineTarget
from g4compile.trace.trace import trace
from g4compile.weights.checkpoint import Checkpoint
from g4compile.weights.text import parse_graph
from tests.native.building import build_once
from tests.scenario import Expected, reference_logits
from tests.targets.tensorrt.bindings import bindings  # noqa: F401, a fixture

CAPACITIES = Capacities(context=256, batch=1, chunk=16)  # of emitted networks
GIVEN_LIBRARY = os.environ.pop("G4OPS_LIBRARY", "")
VARIANTS = ("tiny-e2b", "tiny-e4b", "tiny-12b", "tiny-26b-a4b", "tiny-31b")


def pytest_configure(config: pytest.Config) -> None:
    """What Hypothesis draws is the same in every run by day, and new every night."""
    settings.register_profile("repeatable", derandomize=True)
    if config.option.markexpr != "nightly":
        settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden graphs with what is made now")


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this run see."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if base.name.startswith("popen-") else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


def once(shared: Path, name: str, make: Callable[[Path], None]) -> Path:
    """The path ``name`` in the shared folder, made by whichever worker comes first."""
    path = shared / name
    with FileLock(shared / f"{name}.lock"):
        if not path.exists():
            make(path)
    return path


# Where the package calls the trace: there a test gets the shared one.
CALLED = (
    "g4compile.compiler.trace",
    "g4compile.planning.stages.trace",
    "g4compile.targets.tensorrt.interpreter.candidates.trace",
)
CALLED_APART = "g4compile.compiler.trace_apart"


@pytest.fixture(scope="session", autouse=True)
def traces(shared: Path) -> Iterator[Callable[[ModelFacts], ir.Model]]:
    """A fresh copy of the [traced] graph of facts, traced once a run, which compiles in this process get too.

    It goes through text, as that of a process of its own does. Compiles in other processes trace for themselves;
    `test_compile.py` holds that both give the same bytes.
    """

    def get(facts: ModelFacts, part: str = "decoder") -> ir.Model:
        name = f"{hashlib.sha256(repr(facts).encode()).hexdigest()[:16]}.{part}"
        file = once(
            shared, f"{name}.traced.onnxtxt", lambda path: path.write_text(to_text(trace(facts, part=part))) and None
        )
        model = parse_graph(file.read_text())
        set_stage(model, "traced")
        return model

    with pytest.MonkeyPatch.context() as patch:
        for name in CALLED:
            patch.setattr(name, get)
        patch.setattr(CALLED_APART, lambda source, part: get(source.facts, part))
        yield get


@pytest.fixture(scope="session")
def checkpoints(shared: Path) -> Callable[[str], Checkpoint]:
    """Opened synthetic checkpoints, by preset name."""

    def get(variant: str) -> Checkpoint:
        return Checkpoint.open(once(shared, f"{variant}-checkpoint", lambda path: _synth(variant, path)))

    return get


def _synth(variant: str, path: Path) -> None:
    synthesize(variant, path, seed=7)


@pytest.fixture(scope="session")
def coded(shared: Path) -> Callable[[str], Checkpoint]:
    """Opened synthetic checkpoints that hold codes (`quant_method: gemma`), by preset name."""

    def get(variant: str) -> Checkpoint:
        path = once(shared, f"{variant}-coded", lambda path: synthesize(variant, path, weights="mobile") and None)
        return Checkpoint.open(path)

    return get


@pytest.fixture(scope="session")
def traced(
    traces: Callable[[ModelFacts], ir.Model], checkpoints: Callable[[str], Checkpoint]
) -> Callable[[str], ir.Model]:
    """A fresh copy of the [traced] graph of a preset, its weights bound."""

    def get(variant: str) -> ir.Model:
        facts = checkpoints(variant).facts
        model = traces(facts)
        bind(Program.decoder(model, facts), checkpoints(variant))
        return model

    return get


@pytest.fixture(scope="session")
def legal(
    shared: Path, checkpoints: Callable[[str], Checkpoint], traced: Callable[[str], ir.Model]
) -> Callable[..., ir.Model]:
    """The legal:onnx-cpu graph of a preset, compiled with some options."""

    def get(variant: str, **options: str) -> ir.Model:
        target = TARGETS["onnx-cpu"]
        program = Program.decoder(traced(variant), checkpoints(variant).facts)
        (lowered,) = lower(program, target, target.options(**options))
        return lowered.model

    return get


@pytest.fixture(scope="session")
def bundles(shared: Path, checkpoints: Callable[[str], Checkpoint]) -> Callable[[str], Bundle]:
    """Compiled onnx-cpu bundles, by preset name. Tests must not change them."""

    def get(variant: str) -> Bundle:
        folder = checkpoints(variant).folder
        return Bundle.open(
            once(
                shared,
                f"{variant}-bundle",
                lambda path: compile(folder, "onnx-cpu", path, modalities=("text",)) and None,
            )
        )

    return get


@pytest.fixture(scope="session")
def seeing(shared: Path, checkpoints: Callable[[str], Checkpoint]) -> Callable[[str], Bundle]:
    """Bundles that take images, by preset. Tests must not change them."""

    def get(variant: str) -> Bundle:
        def make(path: Path) -> None:
            compile(checkpoints(variant).folder, "onnx-cpu", path, modalities=("text", "image"))

        return Bundle.open(once(shared, f"{variant}-seeing-bundle", make))

    return get


@pytest.fixture(scope="session")
def hearing(shared: Path, checkpoints: Callable[[str], Checkpoint]) -> Callable[[str], Bundle]:
    """Bundles that take images and sounds, by preset. Tests must not change them."""

    def get(variant: str) -> Bundle:
        def make(path: Path) -> None:
            compile(checkpoints(variant).folder, "onnx-cpu", path, modalities=("text", "image", "audio"))

        return Bundle.open(once(shared, f"{variant}-hearing-bundle", make))

    return get


@pytest.fixture(scope="session")
def int8_kv(shared: Path, checkpoints: Callable[[str], Checkpoint]) -> Bundle:
    """A bundle of tiny-e2b with int8 KV. Tests must not change it."""
    folder = checkpoints("tiny-e2b").folder
    return Bundle.open(
        once(
            shared,
            "int8-kv-bundle",
            lambda path: compile(folder, "onnx-cpu", path, kv="int8", modalities=("text",)) and None,
        )
    )


@pytest.fixture(scope="session")
def expected(shared: Path, checkpoints: Callable[[str], Checkpoint]) -> Callable[[str, int], Expected]:
    """What HF eager float32 says to the standard scenario, by preset and batch size."""

    def get(variant: str, batch: int) -> Expected:
        checkpoint = checkpoints(variant)
        file = once(
            shared, f"{variant}-{batch}.npz", lambda path: np.savez(path, **reference_logits(checkpoint, batch))
        )
        return Expected(**np.load(file))

    return get


# Every product exact: 4 bits, with and without zero points, blocks that divide and a whole row; lookups of 2 and 8.
EXACT = """
*router.proj float32
layers.*.mlp.* int4 32 asymmetric float32 nearest
layers.*.self_attn.* int4 row symmetric float32 search
layers.*.experts.* int8 64 asymmetric float32 nearest
embed_tokens_per_layer int2 32 asymmetric float32 search
* int4 128 symmetric float32 search
"""
OPTIONAL = {"*router.proj": "moe", "layers.*.experts.*": "moe", "embed_tokens_per_layer": "ple_dim"}


def exact_recipe(text: TextFacts, folder: Path) -> str:
    """The lines of EXACT that match something in a model of ``text`` facts."""
    lines = [line for line in EXACT.split("\n") if not line or getattr(text, OPTIONAL.get(line.split()[0], "layers"))]
    file = folder / "exact.txt"
    file.write_text("\n".join(lines))
    return str(file)


@pytest.fixture(scope="session")
def g4ops_file(shared: Path) -> Path:
    """The library libg4ops: the one that `G4OPS_LIBRARY` names, or one that is built once a run."""
    return Path(GIVEN_LIBRARY) if GIVEN_LIBRARY else build_once(shared) / "libg4ops.so"


@pytest.fixture(scope="session", autouse=True)
def no_library(shared: Path) -> Iterator[None]:
    """Whether a library was built in the package changes no test: those that want one ask for `g4ops`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared_library, "FOLDER", shared / "no-libraries")
        yield


@pytest.fixture
def g4ops(g4ops_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The library, which compiles and sessions of this test find."""
    monkeypatch.setenv("G4OPS_LIBRARY", str(g4ops_file))
    return g4ops_file


@pytest.fixture
def quantized(shared: Path, checkpoints: Callable[[str], Checkpoint], tmp_path: Path) -> Callable[..., Bundle]:
    """Compiled bundles by preset, recipe, kernels (those of `g4ops` want the fixture) and dtype of KV; the recipe
    `exact` is the one above."""

    def get(variant: str, recipe: str, kernels: str = "onnxruntime", kv: str = "float32") -> Bundle:
        checkpoint = checkpoints(variant)
        weights = exact_recipe(checkpoint.facts.text, tmp_path) if recipe == "exact" else recipe

        def make(path: Path) -> None:
            compile(checkpoint.folder, "onnx-cpu", path, weights=weights, kernels=kernels, kv=kv, modalities=("text",))

        return Bundle.open(once(shared, f"{variant}-{recipe}-{kernels}-{kv}-bundle", make))

    return get


@pytest.fixture(scope="session")
def trt():
    return pytest.importorskip(
        "tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install 'g4compile[tensorrt-rtx]'"
    )


@pytest.fixture(scope="session")
def emit(trt, traced, traces, checkpoints) -> Callable[..., SimpleNamespace]:
    """The networks of all steps of a variant, and what to make a session of them with. Tests must not change them."""

    @functools.cache
    def make(
        variant: str, capacities: Capacities = CAPACITIES, ranks: int = 1, edition=RTX, weights="bfloat16",
        sounds: bool = False, fused_head: int = 256, attention: str | None = None,
    ) -> SimpleNamespace:  # fmt: skip
        target = EngineTarget(replace(edition, fused=replace(edition.fused, head=fused_head)))
        parts = [part for kind, part in PARTS.items() if (capacities.images if kind == "image" else sounds)]
        options = target.options(
            weights=weights, context=capacities.context, batch=capacities.batch, chunk=capacities.chunk,
            compute_capabilities=(89,), tensor_parallel=ranks, attention=attention,
            modalities=("text", *(kind for kind, part in PARTS.items() if part in parts)),
        )  # fmt: skip
        facts, graphs = checkpoints(variant).facts, {"decoder": traced(variant)}
        graphs |= {part: traces(facts, part) for part in parts}
        program = Program.of(graphs, facts)
        bind(program, checkpoints(variant))
        builder = interpretable_builder(edition.plugins)
        made = emit_networks(builder, lower(program, target, options))

        def session(exact: bool) -> NetworkSession:
            planner = Planner(target.steps(options), capacities.ring(facts.text), capacities.context)
            return NetworkSession(trt, made.steps, made.host, checkpoints(variant), planner, exact)

        steps = {step.name: step for step in target.steps(options)}
        return SimpleNamespace(
            builder=builder, networks=made.steps, encoders=made.encoders, session=session, steps=steps, options=options
        )

    return make


@pytest.fixture(scope="session")
def engine_bundle(trt, shared: Path, checkpoints: Callable[[str], Checkpoint]) -> Bundle:
    """Engines of tiny-e2b for one GPU. Tests must not change it."""

    def make(path: Path) -> None:
        compile(checkpoints("tiny-e2b").folder, "tensorrt-rtx", path, context=256, chunk=16, compute_capabilities=(89,))

    return Bundle.open(once(shared, "tiny-e2b-engine-session", make))


@pytest.fixture(scope="session")
def seeing_engines(trt, shared: Path, checkpoints: Callable[[str], Checkpoint]) -> Callable[[str], Bundle]:
    """Engines that take images, for one GPU, by preset. Tests must not change them."""

    def get(variant: str) -> Bundle:
        def make(path: Path) -> None:
            compile(
                checkpoints(variant).folder, "tensorrt-rtx", path, context=256, chunk=128, compute_capabilities=(89,),
                modalities=("text", "image"),
            )  # fmt: skip

        return Bundle.open(once(shared, f"{variant}-seeing-engines", make))

    return get


@pytest.fixture(scope="session")
def hearing_engines(trt, shared: Path, checkpoints: Callable[[str], Checkpoint]) -> Callable[[str], Bundle]:
    """Engines that take images and sounds, for one GPU, by preset. Tests must not change them."""

    def get(variant: str) -> Bundle:
        def make(path: Path) -> None:
            compile(
                checkpoints(variant).folder, "tensorrt-rtx", path, context=256, chunk=128, compute_capabilities=(89,),
                modalities=("text", "image", "audio"),
            )  # fmt: skip

        return Bundle.open(once(shared, f"{variant}-hearing-engines", make))

    return get
