"""The process that runs a bundle's tokenizer and chat template, and has limits of time and memory.

Both come from whoever made the checkpoint. A template can loop without end; a tokenizer's regular expressions can take
years, grow memory without end, or panic. Here the system ends what takes too long, and nothing else ends with it.

A request is a line of JSON on standard input: `do`, `seconds` of processor time, and what `do` takes; behind a request
to `open` stand the bytes of tokenizer.json. The answer is a line: `value`, or `error` and `fatal`, after which the
process ends.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any

MEMORY = 2 << 30  # bytes of addresses: the tokenizer of 262,144 tokens takes a tenth
_LONGEST_WHY = 400  # characters of a reason
_Do = Callable[[Any, dict[str, Any]], Any]  # of the tokenizer, where one is open, and the request


def serve(more: Mapping[str, _Do] | None = None) -> None:
    """Answer requests until standard input ends. ``more``: other requests than the own ones, by their names."""
    does = {**_DO, **(more or {})}
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    _limit()
    tokenizer = None
    answer: dict[str, Any]
    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            _clock(request["seconds"])
            if request["do"] == "open":
                tokenizer = _Tokenizer(sys.stdin.buffer.read(request["bytes"]))
                answer = {"value": tokenizer.special()}
            else:
                answer = {"value": does[request["do"]](tokenizer, request)}
        except ModuleNotFoundError as error:  # not of a template, which imports nothing
            answer = {"error": _why(error), "fatal": True, "module": error.name}
        except Exception as error:  # whatever a template makes Python raise, and the libraries' own types
            answer = {"error": _why(error), "fatal": False}
        except BaseException as error:  # Rust's panics are no Exception, and leave the tokenizer as it was just then
            answer = {"error": _why(error), "fatal": True}
        _clock(0)
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()
        if answer.get("fatal"):
            return


class _Tokenizer:
    def __init__(self, data: bytes) -> None:
        from tokenizers import Tokenizer

        self._made = Tokenizer.from_buffer(data)

    def special(self) -> list[int]:
        return [token for token, added in self._made.get_added_tokens_decoder().items() if added.special]

    def encode(self, request: dict[str, Any]) -> list[int]:
        ids: list[int] = self._made.encode(request["text"], add_special_tokens=False).ids
        return ids

    def decode(self, request: dict[str, Any]) -> str:
        text: str = self._made.decode(request["ids"], skip_special_tokens=True)
        return text

    def word(self, request: dict[str, Any]) -> str | None:
        word: str | None = self._made.id_to_token(request["id"])
        return word


def _render(_: Any, request: dict[str, Any]) -> str:
    from g4compile.runtime.template import render

    text = render(request["template"], request["messages"], request["tools"], request["names"])
    text.encode("utf-8")  # a template can write half of a character of two
    return text


_DO: dict[str, _Do] = {
    "encode": _Tokenizer.encode,
    "decode": _Tokenizer.decode,
    "word": _Tokenizer.word,
    "render": _render,
}


def _limit() -> None:
    """Limits of the whole process, where the system has them: Windows has neither, and macOS does not hold the
    memory's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the other process, which ends this one
    try:
        import resource
    except ImportError:
        return
    for kind, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CORE, 0)):
        _, hard = resource.getrlimit(kind)
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (allowed, allowed))


def _clock(seconds: float) -> None:
    """Let the system end this process after ``seconds`` more of processor time; 0 stops the clock."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _why(error: BaseException) -> str:
    text = str(error) if str(error) else "no reason is given"
    line = text.strip().splitlines()[0] if text.strip() else text
    shown = line if type(error).__name__.startswith("Template") else f"{type(error).__name__}: {line}"
    return shown[:_LONGEST_WHY].encode("utf-8", "backslashreplace").decode()
