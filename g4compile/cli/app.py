"""`g4compile`: all verbs."""

from __future__ import annotations

from collections.abc import Callable

import typer

from g4compile.cli.verbs import bench, compile, doctor, inspect, opt, plan, run, synth, verify

app = typer.Typer(
    name="g4compile",
    help="Compile Gemma 4: trace a checkpoint, optimise its graph, emit ONNX, run it, and prove it equal.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
VERBS: dict[str, Callable[..., None]] = {
    "synth": synth.synth,
    "plan": plan.plan,
    "compile": compile.compile,
    "inspect": inspect.inspect,
    "run": run.run,
    "verify": verify.verify,
    "bench": bench.bench,
    "opt": opt.opt,
    "doctor": doctor.doctor,
}
for name, function in VERBS.items():
    app.command(name)(function)


def _version(show: bool) -> None:
    if show:
        import g4compile

        print(f"g4compile {g4compile.__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Compile Gemma 4: trace a checkpoint, optimise its graph, emit ONNX, run it, and prove it equal."""
