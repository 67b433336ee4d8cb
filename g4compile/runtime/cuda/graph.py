"""The one graph of a bundle in ONNX Runtime: runs that are captured as CUDA graphs and replayed, and runs that are not.

ONNX Runtime captures per thread, and executes what it captures several times in one call: once to give memory, and once
behind the capture. So each graph is first run idle, over rows that are not in use, and then replayed. A graph of which
sizes are computed on the host is captured never, and each run is put on the stream node by node. Source:
onnxruntime, `InferenceSession::RunImpl`, `CUDAExecutionProvider::OnRunEnd`.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from g4compile.runtime.device import Device
from g4compile.runtime.failures import run_errors
from g4compile.runtime.onnx_runtime import ort

MOST_ROWS = 64  # sequences that one captured run takes
_SKIP = -1  # the id of runs that are not captured
_IDS = 2 * MOST_ROWS  # ids of one set of addresses


class Graph:
    """``session``: ONNX Runtime's, whose work is on the stream of ``device``. ``file``: the graph, for messages.
    ``captures``: whether its runs can be captured."""

    def __init__(self, session: Any, device: Device, file: Path, captures: bool = True) -> None:
        self._session, self._device, self._file, self._captures = session, device, file, captures
        self._options: dict[int, Any] = {}
        self._ids = itertools.count(0, _IDS)
        self._captured = threading.local()

    def take_ids(self) -> int:
        """The first of ids for captured runs over one set of addresses: that of a run over n rows is n more."""
        return next(self._ids)

    def binding(self) -> Any:
        return self._session.io_binding()

    def run(self, binding: Any, what: str) -> None:
        """Put a run on the stream. Raises MachineError and BundleError, as `run_errors`, over ``what``."""
        self._run(binding, _SKIP, what)

    def replay(self, binding: Any, number: int, prepare: Callable[[bool], None], what: str) -> None:
        """The same, of the captured graph ``number``, whose ``binding`` never changes. ``prepare`` puts its inputs in
        place: with True those of a run that changes nothing, by which it is captured where it was not yet. One that is
        not captured is run."""
        if not self.captured(number):
            prepare(True)
            self._run(binding, number, what)
            self._device.synchronize()
            self._numbers().add(number)
        prepare(False)
        self._run(binding, number if self._captures else _SKIP, what)

    def captured(self, number: int) -> bool:
        """Whether `replay` of ``number`` captures nothing on this thread."""
        return not self._captures or number in self._numbers()

    def _numbers(self) -> set[int]:
        found: set[int] = self._captured.__dict__.setdefault("numbers", set())
        return found

    def _run(self, binding: Any, number: int, what: str) -> None:
        options = self._options.get(number)
        if options is None:
            options = self._options[number] = ort.RunOptions()
            options.add_run_config_entry("gpu_graph_id", str(number))
            options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        with run_errors(what, self._file):
            self._session.run_with_iobinding(binding, options)
