"""`g4compile`: all verbs, and usage errors as JSON where JSON was asked for."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from g4compile.cli.streams import open_streams, output_written, write_json
from g4compile.cli.verbs import bench, compile, doctor, embed, inspect, opt, plan, run, synth, verify
from g4compile.errors import InputError

VERBS: dict[str, Callable[..., None]] = {
    "synth": synth.synth,
    "plan": plan.plan,
    "compile": compile.compile,
    "embed": embed.embed,
    "inspect": inspect.inspect,
    "run": run.run,
    "verify": verify.verify,
    "bench": bench.bench,
    "opt": opt.opt,
    "doctor": doctor.doctor,
}
_HELP = "Compile Gemma 4: trace a checkpoint, optimise its graph, emit ONNX, run it, and prove it equal."
_JSON = "--json"
# The parser's base of all usage errors: click's own class, or typer's copy of it, as the version of typer has it.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]


class JsonGroup(TyperGroup):
    """The root command. With --json, what the parser has to say (an error, or a help text) is one JSON object too."""

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, *rest: Any, **options: Any) -> Any:
        """As in click's `Command.main`; ``rest`` and ``options`` are its other parameters."""
        given = list(sys.argv[1:] if args is None else args)
        if rest or not options.get("standalone_mode", True):
            return super().main(given, prog_name, *rest, **options)
        open_streams()
        with output_written():
            if _JSON in given:
                self._main_json(given, prog_name, **options)
            super().main(given, prog_name, **options)

    def _main_json(self, given: list[str], prog_name: str | None, **options: Any) -> NoReturn:
        printed = io.StringIO()
        # The root has no --json of its own: without a verb, only the other options are for the parser.
        parsed = given if any(not word.startswith("-") for word in given) else [one for one in given if one != _JSON]
        try:
            if not parsed:
                raise InputError("no verb was given", fix=f"verbs: {', '.join(VERBS)}")
            with contextlib.redirect_stdout(printed):
                code = super().main(parsed, prog_name, **{**options, "standalone_mode": False})
        except InputError as problem:
            code = _refuse(problem)
        except _UsageError as error:
            message = str(getattr(error, "format_message", error.__str__)())
            fix = "`g4compile --help` lists the verbs, `g4compile VERB --help` their options"
            code = _refuse(InputError(message, fix=fix))
        if code == 0:  # the parser printed a text that was asked for: the help or the version; a verb gives None
            write_json({"text": printed.getvalue()}, sys.stdout)
        else:
            sys.stdout.write(printed.getvalue())
            sys.stdout.flush()
        sys.exit(code or 0)


def _refuse(problem: InputError) -> int:
    """Print ``problem`` as JSON; its exit code."""
    write_json(problem.as_json(), sys.stdout)
    return problem.code


app = typer.Typer(
    name="g4compile",
    cls=JsonGroup,
    help=_HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for name, function in VERBS.items():
    app.command(name)(function)


def _version(show: bool) -> None:
    if show:
        import g4compile

        print(f"g4compile {g4compile.__version__}")
        raise typer.Exit


@app.callback(help=_HELP)
def root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """All verbs stand below this command."""
