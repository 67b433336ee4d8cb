"""What a text of a checkpoint raises that no table can be made of."""

from __future__ import annotations


class NoTable(Exception):
    """A tokenizer or chat template has what tables do not hold. The message says what, and where it stands."""
