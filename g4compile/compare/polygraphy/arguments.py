"""What `polygraphy run` learns from g4compile: an option for each runner, and where it finds what it runs.

Named in pyproject.toml as the entry point `polygraphy.run.plugins`. Source: polygraphy, `polygraphy/tools/run/run.py`.
"""

from __future__ import annotations

from typing import Any

from polygraphy.logger import G_LOGGER
from polygraphy.tools.args import ModelArgs
from polygraphy.tools.args.base import BaseArgs, BaseRunnerArgs
from polygraphy.tools.script import make_invocable

_CHECKPOINT = "checkpoint"
_MODULE = "g4compile.compare.polygraphy.runners"


class Folders(BaseArgs):  # type: ignore[misc]  # polygraphy is not typed
    """g4compile: folders that the runners --g4-... read."""

    def add_parser_args_impl(self) -> None:
        for name, what in (
            ("weights-of", "a bundle of coded weights: --g4-hf holds what its codes stand for, not the checkpoint's"),
            ("bundle", "an ONNX bundle, for CPUs or CUDA: of --g4-session"),
            ("engines", "an engine bundle: of --g4-network, --g4-rounded-network and --g4-engine"),
        ):
            self.group.add_argument(f"--g4-{name}", help=f"The folder of {what}.", default=None)

    def parse_impl(self, args: Any) -> None:
        self.given = {name: getattr(args, f"g4_{name}") for name in ("bundle", "engines")}
        self.weights_of = args.g4_weights_of

    def folder(self, name: str, option: str) -> str:
        """Ends polygraphy, in its own way, when ``option`` was asked for without it. The checkpoint is polygraphy's
        own argument, the model."""
        if name == _CHECKPOINT:
            return str(self.arg_groups[ModelArgs].path)
        found = self.given[name]
        if found is None:
            G_LOGGER.critical(f"{option} runs what --g4-{name} names, and that is not given. Try: --g4-{name} FOLDER")
        return str(found)


class _RunnerArgs(BaseRunnerArgs):  # type: ignore[misc]  # polygraphy is not typed
    title, option, runner = "", "", ""
    folders: tuple[str, ...] = ()

    def get_name_opt_impl(self) -> tuple[str, str]:
        return self.title, self.option

    def add_to_script_impl(self, script: Any) -> None:
        folders = self.arg_groups[Folders]
        script.add_import(imports=[self.runner], frm=_MODULE)
        where = [folders.folder(name, f"--{self.option}") for name in self.folders]
        script.add_runner(make_invocable(self.runner, *where, **self.options()))

    def options(self) -> dict[str, str]:
        """What the runner is told beside folders."""
        return {}


class HfArgs(_RunnerArgs):
    """g4compile: Hugging Face eager in float32."""

    title, option, runner, folders = "Hugging Face eager float32", "g4-hf", "HfRunner", (_CHECKPOINT,)

    def options(self) -> dict[str, str]:
        found = self.arg_groups[Folders].weights_of
        return {} if found is None else {"weights_of": str(found)}


class SessionArgs(_RunnerArgs):
    """g4compile: an ONNX bundle's session."""

    title, option, runner, folders = "g4compile's session of an ONNX bundle", "g4-session", "SessionRunner", ("bundle",)


class NetworkArgs(_RunnerArgs):
    """g4compile: what the networks of engines mean."""

    title, option, runner = (
        "the networks of engines, interpreted on the CPU, computed exactly",
        "g4-network",
        "NetworkRunner",
    )
    folders = ("engines", _CHECKPOINT)


class RoundedNetworkArgs(_RunnerArgs):
    """g4compile: the networks of engines, rounded."""

    title, option = "the networks of engines, interpreted, every value rounded as declared", "g4-rounded-network"
    runner, folders = "RoundedNetworkRunner", ("engines", _CHECKPOINT)


class EngineArgs(_RunnerArgs):
    """g4compile: engines on a GPU."""

    title, option, runner = "g4compile's session of engines, on a GPU", "g4-engine", "SessionRunner"
    folders = ("engines", _CHECKPOINT)


def groups() -> list[BaseArgs]:
    """For `polygraphy run`."""
    return [Folders(), HfArgs(), SessionArgs(), NetworkArgs(), RoundedNetworkArgs(), EngineArgs()]
