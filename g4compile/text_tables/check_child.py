"""What `runtime/text_child.py` does, and walks of chat tables, under the same limits: a table is made of a template
that nobody vouches for, and some of what Python does for it in one call takes time or memory that no step counts."""

from __future__ import annotations

import base64
from typing import Any

from g4compile.runtime import text_child
from g4compile.text_tables.walk import walk
from g4compile.text_tables.walk_values import WalkError


def serve() -> None:
    """As `text_child.serve`, with the request `walk`: `table` in base 64, `chat` and `steps`; its value is the `text`,
    or why it is `refused`."""
    text_child.serve({"walk": _walk})


def _walk(_: Any, request: dict[str, Any]) -> dict[str, str]:
    try:
        return {"text": walk(base64.b64decode(request["table"]), request["chat"], request["steps"])}
    except WalkError as error:
        return {"refused": str(error)}
