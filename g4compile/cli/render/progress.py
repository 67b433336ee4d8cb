"""Progress of long work, on stderr and only on a terminal: step n of m, elapsed and remaining time.

The line goes away when the work is done; a step that took a second or more leaves its name and its time behind.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from g4compile.cli.render.sizes import size

# What is done now; how much of it is done, and how much there is (both 0 while that is not known).
Report = Callable[..., None]
_WORTH_KEEPING = 1.0  # seconds


@contextlib.contextmanager
def progress(first: str, *, counts_bytes: bool = False) -> Iterator[Report]:
    """Give a function `report(text, done=0, total=0)` to the work; ``first`` is shown until it is called.

    ``done`` and ``total`` count steps, or bytes with ``counts_bytes``. A text may name its step itself:
    `step 2 of 3: passes: legalize` belongs to the step `step 2 of 3: passes`.
    """
    if not sys.stderr.isatty():
        yield lambda text, done=0, total=0: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.table import Column

    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        BarColumn(10),
        TextColumn("{task.fields[count]}"),
        TextColumn("elapsed"),
        TimeElapsedColumn(),
        TextColumn("remaining"),
        TimeRemainingColumn(),
        # It takes the room that is left: on a narrow terminal its end is cut, and no number.
        TextColumn("{task.description}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
    )
    with Progress(*columns, console=console, transient=True, expand=True) as shown:
        task = shown.add_task(first, total=None, count="")
        steps = _Steps(lambda line: console.print(line, highlight=False))

        def report(text: str, done: int = 0, total: int = 0) -> None:
            steps.enter(text)
            count = ""
            if total:
                count = f"{size(done)} of {size(total)}" if counts_bytes else f"step {done} of {total}"
            shown.update(task, description=text, completed=done, total=total or None, count=count)

        yield report
        steps.enter("")


class _Steps:
    """Writes the name and the time of each step that ends."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write, self._name, self._start = write, "", time.perf_counter()

    def enter(self, text: str) -> None:
        """``text`` is done now: where its step is another one, the step before has ended."""
        name = _step_of(text)
        if name == self._name:
            return
        seconds = time.perf_counter() - self._start
        if self._name and seconds >= _WORTH_KEEPING:
            self._write(f"{self._name}  {seconds:.1f} s")
        self._name, self._start = name, time.perf_counter()


def _step_of(text: str) -> str:
    """`step 2 of 3: passes: legalize` -> `step 2 of 3: passes`; any other text is its own step."""
    parts = text.split(": ")
    return ": ".join(parts[:2]) if text.startswith("step ") else text
