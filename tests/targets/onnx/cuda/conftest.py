"""Checkpoints that are stored in bfloat16, so that no weight is rounded; what HF says of them; graphs and bundles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from g4compile.bundle.folder import Bundle
from g4compile.compiler import compile
from g4compile.model.config import ModelFacts
from g4compile.program import Program, bind
from g4compile.synth.checkpoint import synthesize
from g4compile.targets.kernels.bundled import MANIFEST
from g4compile.targets.lower import lower
from g4compile.targets.onnx.cuda.target import ONNX_CUDA
from g4compile.weights.checkpoint import Checkpoint
from tests.conftest import once
from tests.scenario import Expected, reference_logits
from tests.targets.onnx.cuda.launched import Interpreter

CONTEXT, CHUNK = 256, 24


@pytest.fixture(scope="session")
def stored_narrow(shared: Path) -> Callable[[str], Checkpoint]:
    """Opened synthetic checkpoints in bfloat16, by preset name."""

    def get(variant: str) -> Checkpoint:
        def make(path: Path) -> None:
            synthesize(variant, path, seed=7, dtype="bfloat16")

        return Checkpoint.open(once(shared, f"{variant}-bfloat16-checkpoint", make))

    return get


@pytest.fixture(scope="session")
def expected_narrow(shared: Path, stored_narrow: Callable[[str], Checkpoint]) -> Callable[[str, int], Expected]:
    """What HF eager float32 says to the standard scenario, by preset and batch size."""

    def get(variant: str, batch: int) -> Expected:
        def make(path: Path) -> None:
            np.savez(path, **reference_logits(stored_narrow(variant), batch))

        return Expected(**np.load(once(shared, f"{variant}-bfloat16-{batch}.npz", make)))

    return get


@pytest.fixture(scope="session")
def cuda_graph(
    stored_narrow: Callable[[str], Checkpoint], traces: Callable[[ModelFacts], ir.Model]
) -> Callable[..., ir.Model]:
    """The legal:onnx-cuda graph of a preset, its weights bound, compiled with some options."""

    def get(variant: str, **options: object) -> ir.Model:
        checkpoint = stored_narrow(variant)
        program = Program.decoder(traces(checkpoint.facts), checkpoint.facts)
        bind(program, checkpoint)
        told = ONNX_CUDA.options(**{"context": CONTEXT, "chunk": CHUNK, "kernels": "g4cuda", **options})
        (lowered,) = lower(program, ONNX_CUDA, told)
        return lowered.model

    return get


@pytest.fixture(scope="session")
def cuda_bundle(shared: Path, stored_narrow: Callable[[str], Checkpoint]) -> Callable[..., Bundle]:
    """Compiled bundles by preset and weights, for one architecture; without the machine code of its kernels, which
    takes minutes, where ``kernels`` is False. Tests must not change them."""

    def get(variant: str, weights: str = "bfloat16", kernels: bool = False) -> Bundle:
        def make(path: Path) -> None:
            with pytest.MonkeyPatch.context() as patch:
                if not kernels:
                    patch.setattr("g4compile.targets.onnx.cuda.bundle.write_kernels", _no_kernels)
                compile(
                    stored_narrow(variant).folder, "onnx-cuda", path, weights=weights, context=CONTEXT, chunk=CHUNK,
                    compute_capabilities=(90,),
                )  # fmt: skip

        return Bundle.open(once(shared, f"{variant}-cuda-{weights}-{kernels}", make))

    return get


def _no_kernels(folder: Path, *arguments: object) -> None:
    (folder / MANIFEST).write_text('{"format": 2, "kernels": []}')


@pytest.fixture(scope="session")
def interpreter() -> Iterator[Interpreter]:
    """Triton's interpreter, in a process of its own."""
    pytest.importorskip("triton", reason="Triton is not installed: it is part of the dev extra on Linux")
    made = Interpreter()
    yield made
    made.close()
