"""What a product says when it does not build a network."""

from __future__ import annotations

from g4compile.errors import MachineError

OTHERS = "another release of it, or another GPU; its words say what it does not take"


class Refusal(MachineError):
    """A layer or a network that this release does not take, on this GPU; ``why``: its own words. Another form of the
    same network may be taken."""
