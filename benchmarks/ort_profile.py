"""The nodes of the last steps in a profile of ONNX Runtime."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def last_nodes(file: Path, steps: int) -> list[dict[str, Any]]:
    """Kernel events (`name`, `dur` in microseconds, `args`) of the last ``steps`` runs; the file is removed."""
    events = json.loads(file.read_text())
    file.unlink()
    start = sorted(event["ts"] for event in events if event["name"] == "model_run")[-steps]
    return [
        event
        for event in events
        if event["cat"] == "Node" and event["ts"] >= start and event["name"].endswith("_kernel_time")
    ]
