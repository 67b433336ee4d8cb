"""Chat templates: Jinja as `transformers` sets it up, so that a template written for it renders alike here.

Source: `_cached_compile_jinja_template` and `render_jinja_template` of transformers' `utils/chat_template_utils.py`
(5.23). A template comes from whoever made the checkpoint: the sandbox keeps it from Python, and `text_child.py` bounds
its time and memory, which no sandbox of Jinja's does.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import Template, nodes
from jinja2.exceptions import SecurityError, TemplateError, TemplateSyntaxError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

LONGEST = 1 << 24  # characters of a rendered chat: some ten times the longest context
_DIGITS = 640  # of a whole number that every setting of Python reads
_REASONING = ("reasoning_content", "thinking", "reasoning")  # names of it in messages; templates read the first


class TooLong(Exception):
    """A template writes more than `LONGEST` characters."""


def render(source: str, messages: Sequence[Mapping[str, Any]], tools: Any, names: Mapping[str, Any]) -> str:
    """The chat ``messages``, with the model's turn opened unless a variable says otherwise.

    ``names``: special tokens, by their names in templates, and other variables. Raises whatever the template makes
    Jinja or Python raise.
    """
    template = _compiled(source)
    variables = {"documents": None, "add_generation_prompt": True, **names, "messages": prepared(messages)}
    variables["tools"] = tools
    pieces, length = [], 0
    for piece in template.generate(variables):
        pieces.append(piece)
        length += len(piece)
        if length > LONGEST:
            raise TooLong(f"it writes more than {LONGEST:,} characters")
    return "".join(pieces)


def prepared(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """``messages`` as templates read them: without entries that are null, and reasoning under all its names."""
    return [_aliased({key: value for key, value in message.items() if value is not None}) for message in messages]


def _aliased(message: dict[str, Any]) -> dict[str, Any]:
    """``message`` with its reasoning under the names that templates read."""
    reasoning = next((message[key] for key in _REASONING if key in message), None)
    return message if reasoning is None else {"thinking": reasoning, **message, "reasoning_content": reasoning}


def check_syntax(source: str) -> None:
    """Parse ``source``. It is not compiled: that would compute `{{ 9**9**9 }}`. Raises Jinja's TemplateSyntaxError, and
    RecursionError."""
    parsed(source)


def parsed(source: str) -> nodes.Template:
    """The tree of ``source``. Raises Jinja's TemplateSyntaxError, and RecursionError."""
    environment = _environment()
    try:
        return environment.parse(source)
    except ValueError as error:  # of a whole number that Python does not read
        lines = (line for line, kind, text in environment.lex(source) if kind == "integer" and len(text) > _DIGITS)
        raise TemplateSyntaxError(str(error), next(lines, 1)) from error


@functools.lru_cache(maxsize=4)
def _compiled(source: str) -> Template:
    environment = _environment()
    environment.filters["tojson"] = _to_json
    environment.globals.update(raise_exception=_refuse, strftime_now=_now, dict=_Dict(), namespace=_Namespace)
    return environment.from_string(source)


def _environment() -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])


class _Generation(Extension):
    """`{% generation %}`: training marks the model's words with it. Rendered, it is what stands in it."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_same"), [], [], body).set_lineno(line)  # a scope of its own

    def _same(self, caller: Macro) -> str:
        text: str = caller()
        return text


class _Dict:
    """`dict` in templates: what makes one, and no type."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


class _Namespace(Namespace):
    """Jinja's `namespace`, without names that lead into Python."""

    def __init__(*args: Any, **kwargs: Any) -> None:  # as Jinja's own, so that `self` is a name too
        self, *given = args
        attributes = dict(*given, **kwargs)
        for name in attributes:
            _check_name(name)
        Namespace.__init__(self, attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a namespace of a chat template cannot hold {name!r}: it begins with an underscore")


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Without the escapes of HTML that Jinja's own filter makes."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)


def _now(form: str) -> str:
    return datetime.now().strftime(form)
