"""What a pass is, and the option text by which one is named on the command line.

A pass is a frozen dataclass with a kebab-case `name`, the stages it may run in, its options as fields, and one
`apply`. It changes the graph in place and knows nothing of the pipeline, the environment or the model's name.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any, ClassVar, Protocol, get_type_hints, runtime_checkable

import onnx_ir as ir

from g4compile.errors import InputError, MatchError


@runtime_checkable
class Pass(Protocol):
    """One change of a graph."""

    name: ClassVar[str]
    stages: ClassVar[tuple[str, ...]]

    def apply(self, model: ir.Model) -> None:
        """Rewrite ``model`` in place. Raises MatchError when a stated expectation is not met."""
        ...


def expect(pass_name: str, what: str, found: int, wanted: int | None, nearest: str) -> None:
    """Raise MatchError unless ``found`` sites matched; ``nearest`` tells why the closest other one did not."""
    if wanted is not None and found != wanted:
        raise MatchError(f"{pass_name} matched {found} {what}, the model has {wanted}", where=pass_name, why=nearest)


_CALL = re.compile(r"\s*([a-z0-9-]+)\s*(?:\{([^}]*)\})?\s*")


def parse_pipeline(text: str, known: dict[str, type[Any]]) -> list[Pass]:
    """Read `name{option=value,...}, name, ...`. Raises InputError naming the unknown pass or option."""
    passes: list[Pass] = []
    position = 0
    while position < len(text):
        found = _CALL.match(text, position)
        if found is None or (found.end() < len(text) and text[found.end()] != ","):
            raise InputError(
                f"cannot read the pass list at {text[position:]!r}",
                fix="write name{option=value,...}, comma between passes",
            )
        passes.append(_construct(found[1], found[2] or "", known))
        position = found.end() + 1
    if not passes:
        raise InputError("the pass list is empty", fix=f"known passes: {', '.join(sorted(known))}")
    return passes


def _construct(name: str, options: str, known: dict[str, type[Any]]) -> Pass:
    if name not in known:
        raise InputError(f"there is no pass {name}", fix=f"known passes: {', '.join(sorted(known))}")
    kind = known[name]
    hints = get_type_hints(kind)
    fields = {field.name: hints[field.name] for field in dataclasses.fields(kind)}
    values: dict[str, Any] = {}
    for item in filter(None, (part.strip() for part in options.split(","))):
        key, equals, value = item.partition("=")
        key = key.strip().replace("-", "_")
        if key not in fields or not equals:
            raise InputError(f"pass {name} has no option {item!r}", fix=f"its options: {', '.join(fields) or 'none'}")
        values[key] = _convert(name, key, value.strip(), fields[key])
    built: Pass = kind(**values)
    return built


def _convert(name: str, key: str, value: str, hint: Any) -> Any:
    if hint in (int, int | None):
        try:
            return int(value)
        except ValueError:
            raise InputError(f"option {key} of pass {name} must be an integer, found {value!r}") from None
    return value
