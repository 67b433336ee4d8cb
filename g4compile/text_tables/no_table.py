"""The one refusal of this room."""

from __future__ import annotations


class NoTable(Exception):
    """A file has something that its table has no words for. ``why``: a plain sentence, without the name of the file.

    No error of a compile: the bundle runs, and a runtime that reads tables alone takes and gives token ids.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why
