"""That a chat table writes what jinja2 writes, for many small conversations.

A template is not trusted: jinja2 renders it, and the walker walks its table, in the process that has limits
(`runtime/text_process.py`).
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from pathlib import Path

from g4compile.errors import BundleError
from g4compile.inputs.documents import shown
from g4compile.runtime.text_files import DEFAULT, WITH_TOOLS
from g4compile.runtime.text_process import TextProcess
from g4compile.text_tables.conversations import Conversation, conversations
from g4compile.text_tables.no_table import NoTable
from g4compile.text_tables.walk_values import WalkError

_CHILD = "g4compile.text_tables.check_child"
_STEPS = 1 << 21  # of a walk: no conversation here takes a tenth of it with a published template
_AROUND = 40  # characters that are shown on each side of a difference


def check_chat_table(
    table: bytes,
    source: str | Mapping[str, str],
    names: Mapping[str, str],
    where: Path,
    chats: Iterable[Conversation] | None = None,
) -> None:
    """Compare ``table`` with jinja2 for the template ``source``, or several by name, as `chat_table` takes them.

    ``where``: the checkpoint, for errors. ``chats``: conversations in place of the own ones. Raises NoTable with the
    first conversation whose text differs, or which one of the two alone cannot render, and when jinja2 renders none.
    """
    sources = {DEFAULT: source} if isinstance(source, str) else source
    process = TextProcess(None, where, _CHILD)
    rendered = 0
    try:
        for number, chat in enumerate(conversations() if chats is None else chats):
            name = WITH_TOOLS if chat.get("tools") is not None and WITH_TOOLS in sources else DEFAULT
            if name in sources:
                want = _by_jinja(process, sources[name], names, chat)
                _check_running(process, number, chat, want)
                found = _by_table(process, table, chat)
                _check_running(process, number, chat, found)
                _compare(number, chat, want, found)
                rendered += isinstance(want, str)
    finally:
        process.close()
    if not rendered:
        raise NoTable("jinja2 renders no conversation with this template")


def _by_jinja(process: TextProcess, source: str, names: Mapping[str, str], chat: Conversation) -> str | Exception:
    variables = {key: value for key, value in chat.items() if key not in ("messages", "tools")}
    given = {"template": source, "messages": chat["messages"], "tools": chat.get("tools")}
    try:
        text: str = process.ask("render", len(source), names={**names, **variables}, **given)
    except BundleError as error:
        return error
    return text


def _by_table(process: TextProcess, table: bytes, chat: Conversation) -> str | Exception:
    try:
        coded = base64.b64encode(table).decode()
        found: dict[str, str] = process.ask("walk", len(coded), table=coded, chat=chat, steps=_STEPS)
    except BundleError as error:
        return error
    return found["text"] if "text" in found else WalkError(found["refused"])


def _check_running(process: TextProcess, number: int, chat: Conversation, answer: str | Exception) -> None:
    """What ended the process would take as long for all conversations."""
    if isinstance(answer, BundleError) and not process.running:
        raise NoTable(f"conversation {number} ({_roles(chat)}) takes too much: {answer.why}")


def _compare(number: int, chat: Conversation, want: str | Exception, found: str | Exception) -> None:
    which = f"conversation {number} ({_roles(chat)})"
    if isinstance(want, str) and isinstance(found, str):
        if want != found:
            at = _first_difference(want, found)
            raise NoTable(
                f"{which} differs at character {at}: {_part(found, at)} by the table, {_part(want, at)} by jinja2"
            )
    elif isinstance(want, str):
        raise NoTable(f"{which} is rendered by jinja2, but not by the table: {shown(str(found))}")
    elif isinstance(found, str):
        why = want.why if isinstance(want, BundleError) else str(want)
        raise NoTable(f"{which} is rendered by the table, but not by jinja2: {shown(str(why))}")


def _first_difference(want: str, found: str) -> int:
    pairs = enumerate(zip(want, found, strict=False))
    return next((at for at, (one, other) in pairs if one != other), min(len(want), len(found)))


def _roles(chat: Conversation) -> str:
    roles = ", ".join(str(message.get("role")) for message in chat["messages"])
    others = ", ".join(sorted(chat.keys() - {"messages"}))
    return f"{roles}; with {others}" if others else roles


def _part(text: str, at: int) -> str:
    begin, end = max(0, at - _AROUND), at + _AROUND
    return f"{'...' if begin else ''}{text[begin:end]!r}{'...' if end < len(text) else ''}"
