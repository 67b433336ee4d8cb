"""What an install of g4compile holds: the modules that each extra brings, and the commands that install them.

The base install is the runtime: it runs ONNX bundles. Everything else is an extra. Modules are looked for by the name
that is imported, because a module can come from several distributions. Nothing is imported to find it.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from g4compile.errors import MachineError

BASE, COMPILE, GPU, MEDIA = "", "compile", "gpu", "media"
RUNTIME, BROKEN = "runtime", "broken"
_MARK = "onnx_ir"


@dataclass(frozen=True)
class Requirement:
    """``module``: what is imported. ``distributions``: any of them brings it; the first is the one that we install.

    ``lowest``: the lowest version that pyproject.toml admits. ``extra``: of g4compile, empty for the base install.
    """

    module: str
    distributions: tuple[str, ...]
    lowest: str
    purpose: str
    extra: str = BASE

    @property
    def install(self) -> str:
        """The command that installs it."""
        return install_command(self.extra)

    @property
    def present(self) -> bool:
        """Whether the module can be found."""
        try:
            return find_spec(self.module) is not None
        except (ImportError, ValueError):  # a package above it is missing, or holds no spec
            return False

    @property
    def version(self) -> str | None:
        """Of the installed distribution; None when none of the known ones brings the module."""
        for name in self.distributions:
            try:
                return version(name)
            except PackageNotFoundError:
                continue
        return None

    @property
    def too_old(self) -> bool:
        """Whether the installed version is below ``lowest``. Only the first two numbers of a version count."""
        found = self.version
        return found is not None and _numbers(found) < _numbers(self.lowest)

    @property
    def met(self) -> bool:
        """Present, and not too old."""
        return self.present and not self.too_old


def _require(module: str, lowest: str, purpose: str, extra: str = BASE, *distributions: str) -> Requirement:
    return Requirement(module, distributions or (module,), lowest, purpose, extra)


REQUIREMENTS: tuple[Requirement, ...] = (
    _require("jinja2", "3.1", "chat templates"),
    _require("msgspec", "0.19", "manifests"),
    _require("numpy", "2.0", "arrays"),
    _require("onnxruntime", "1.30", "run ONNX bundles", BASE, "onnxruntime", "onnxruntime-gpu"),
    _require("rich", "13.0", "progress and colour"),
    _require("tokenizers", "0.20", "text prompts"),
    _require("typer", "0.15", "the command line"),
    _require("huggingface_hub", "1.0", "checkpoints from the Hub", COMPILE),
    _require("ml_dtypes", "0.5", "bfloat16 in NumPy", COMPILE),
    _require("onnx", "1.23", "graphs", COMPILE),
    _require("onnx_ir", "1.0", "graphs", COMPILE, "onnx-ir"),
    _require("safetensors", "0.5", "checkpoints", COMPILE),
    _require("torch", "2.13", "trace the model; verify", COMPILE),
    _require("transformers", "5.14", "the model's code; verify", COMPILE),
    _require("cuda.bindings", "13.0", "run engines", GPU, "cuda-bindings", "cuda-python"),
    _require("av", "14.2", "videos in prompts", MEDIA),
    _require("PIL", "11.3", "images in prompts", MEDIA, "pillow"),
    _require("soundfile", "0.13", "audio in prompts", MEDIA),
    _require("soxr", "0.5", "audio in prompts", MEDIA),
    _require("polygraphy", "0.49", "compare backends", "polygraphy"),
    _require("tensorrt", "11.1", "target tensorrt: engines", "tensorrt", "tensorrt-cu13", "tensorrt"),
    _require("triton", "3.6", "target tensorrt: kernels in the engines", "tensorrt"),
    _require("tensorrt_rtx", "1.7", "target tensorrt-rtx: engines", "tensorrt-rtx", "tensorrt-rtx-cu13"),
)


def requirements(*extras: str) -> tuple[Requirement, ...]:
    """Those of the named extras; `BASE` is the base install."""
    return tuple(one for one in REQUIREMENTS if one.extra in extras)


def install_command(extra: str) -> str:
    """What installs ``extra``, as it is typed in a shell."""
    return f"pip install 'g4compile[{extra}]'" if extra else "pip install g4compile"


def require(extra: str, purpose: str) -> None:
    """Raise MachineError, naming ``purpose``, when a module of ``extra`` cannot be found."""
    missing = [one.module for one in requirements(extra) if not one.present]
    if missing:
        raise MachineError(
            f"{purpose} needs what g4compile[{extra}] installs, and it is not whole here",
            why=f"not installed: {', '.join(missing)}",
            fix=install_command(extra),
        )


def install_kind() -> str:
    """`compile`: the base and the extra `compile` are whole. `runtime`: only the base was installed. Else `broken`.

    Several modules of the extra come with other packages too. onnx_ir does not: it tells that the extra was installed.
    """
    base, compiler = requirements(BASE), requirements(COMPILE)
    if not all(one.met for one in base):
        return BROKEN
    if all(one.met for one in compiler):
        return COMPILE
    return BROKEN if any(one.present for one in compiler if one.module == _MARK) else RUNTIME


def fixes(kind: str) -> dict[str, str]:
    """Module -> command, for what is missing or too old in an install of ``kind``. A runtime needs no compiler."""
    wanted = requirements(BASE) if kind == RUNTIME else requirements(BASE, COMPILE)
    return {one.module: f"pip install '{one.distributions[0]}>={one.lowest}'" for one in wanted if not one.met}


def met(*extras: str) -> bool:
    """Whether all that the base and ``extras`` bring is here, and not too old."""
    return all(one.met for one in requirements(BASE, *extras))


def lacking(error: ModuleNotFoundError) -> MachineError:
    """The error that names the install command for the module that an import did not find."""
    module = error.name or str(error)
    for one in REQUIREMENTS:
        if module == one.module or module.split(".")[0] == one.module.split(".", maxsplit=1)[0]:
            return MachineError(f"the Python package {one.module} is not installed", fix=one.install)
    return MachineError(
        f"the Python package {module} is not installed",
        fix=f"pip install {module.split('.')[0]}; `g4compile doctor` lists what g4compile needs",
    )


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split("+", maxsplit=1)[0].split(".")[:2] if part.isdigit()]
