"""Every error a user can see: what happened, where, why, and what to try.

The command line prints them as one message and exits with ``code``; the Python API raises them. Exit codes:
1 a check failed, 2 the input or the arguments are wrong, 3 something this machine lacks, 70 a defect of ours.
"""

from __future__ import annotations

from typing import ClassVar

REPORT = "this is a defect of g4compile: please report it with this message"


class G4Error(Exception):
    """Base of all errors raised on purpose. ``what`` is one sentence; the rest is optional context."""

    code: ClassVar[int] = 70

    def __init__(self, what: str, *, where: str = "", why: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.why, self.fix = what, where, why, fix

    def __str__(self) -> str:
        parts = [self.what]
        parts += [f"  {label}: {text}" for label, text in self._context() if text]
        return "\n".join(parts)

    def _context(self) -> tuple[tuple[str, str], ...]:
        return (("where", self.where), ("why", self.why), ("try", self.fix))

    def as_json(self) -> dict[str, str | int]:
        """The error as one flat JSON object."""
        context = {label: text for label, text in self._context() if text}
        return {"error": self.what, "kind": type(self).__name__, "exit_code": self.code, **context}


class CheckFailed(G4Error):
    """A comparison ran and the result is over its limits."""

    code = 1


class InputError(G4Error):
    """The input, or the arguments, are wrong."""

    code = 2


class CheckpointError(InputError):
    """A checkpoint folder, its index or one of its tensors cannot be used."""


class BundleError(InputError):
    """A bundle cannot be loaded or written."""


class MachineError(G4Error):
    """This machine lacks something: a library, disk space, a device."""

    code = 3


class Defect(G4Error):
    """g4compile itself is wrong. Never the user's fault."""

    code = 70

    def __init__(self, what: str, *, where: str = "", why: str = "", fix: str = "") -> None:
        super().__init__(what, where=where, why=why, fix=fix or REPORT)


class SpecError(Defect):
    """A graph broke the spec of its stage: names the node, its layer and the pass that ran last."""


class MatchError(Defect):
    """A fusion found fewer sites than the model has; carries the nearest miss and its reason."""
