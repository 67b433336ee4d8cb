"""`g4compile opt`: any pass alone, on a graph in text form."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from g4compile.cli.console import Json, result, verb

if TYPE_CHECKING:
    import onnx_ir as ir


@verb
def opt(
    file: Annotated[Path, typer.Argument(help="A graph in ONNX text syntax; - reads stdin.")],
    passes: Annotated[str, typer.Option("-p", "--passes", help="name{option=value,...}, ... in order.")],
    as_json: Json = False,
) -> None:
    """Run passes on a graph and print it. The graph's specs are checked after each."""
    from g4compile import pipeline
    from g4compile.errors import InputError
    from g4compile.graph.text import to_text
    from g4compile.passes.base import parse_pipeline
    from g4compile.weights.text import parse_graph

    try:
        source = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read {file}", why=error.strerror or "") from error
    chosen = parse_pipeline(passes, known_passes())
    model = parse_graph(source, where=str(file))
    pipeline.run_alone(model, chosen)
    text = to_text(model)
    result(as_json, {"graph": text}, lambda: print(text, end=""))


def known_passes() -> dict[str, type[Any]]:
    """All passes by name; `legalize` here takes the name of a target."""
    from g4compile.passes.registry import all_passes
    from g4compile.targets import target_passes

    return {**all_passes(), **target_passes(), LegalizeFor.name: LegalizeFor}


@dataclass(frozen=True)
class LegalizeFor:
    """`legalize{target=NAME}`: the generic pass with the data of a target."""

    name: ClassVar[str] = "legalize"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)
    target: str = "onnx-cpu"

    def apply(self, model: ir.Model) -> None:
        from g4compile.errors import InputError
        from g4compile.targets import TARGETS

        if self.target not in TARGETS:
            raise InputError(f"there is no target {self.target}", fix=f"targets: {', '.join(TARGETS)}")
        TARGETS[self.target].legalize().apply(model)
