"""Conversations that a compile renders twice, by jinja2 and by a chat table: what templates tell apart, in small.

All are values of JSON. Names and texts are made up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Conversation = Mapping[str, Any]


def _says(role: str, content: Any = None, **more: Any) -> dict[str, Any]:
    return {"role": role, **({} if content is None else {"content": content}), **more}


def _chat(*messages: Mapping[str, Any], **variables: Any) -> Conversation:
    return {"messages": list(messages), **variables}


def _tool(name: str, description: Any, parameters: Any, **more: Any) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {"name": name, "description": description, "parameters": parameters, **more},
    }


def _call(name: str, arguments: Any, **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": arguments}, **more}


_ODD = "Übergröße ¿\"quoted\" 'single' \\back\\slash\ttab\n\n naïve ΣΊΣΥΦΟΣ ǅ ﬁ 東京 \U0001f9ed \u200b\u00a0\x7f end "
_PLACE = _tool(
    "look_up",
    'Find "a place", or <none> & tell',
    {
        "type": "object",
        "properties": {
            "place": {"type": "string", "description": "Where", "enum": ["here", "über", "there's"]},
            "days": {"type": "integer", "description": "How many", "nullable": True},
            "Exact": {"type": "boolean"},
            "ratio": {"type": ["number", "null"], "minimum": 0.5, "maximum": 1e21},
            "tags": {"type": "array", "items": {"type": "string"}},
            "areas": {
                "type": "array",
                "description": "Boxes",
                "items": {
                    "type": "object",
                    "properties": {"west": {"type": "number"}, "east": {"type": "number"}},
                    "required": ["west"],
                },
            },
            "options": {
                "type": "object",
                "properties": {
                    "deep": {"type": "object", "properties": {"er": {"type": "string", "default": None}}},
                    "list": {"type": "array", "items": {"type": ["string", "integer"]}, "default": []},
                },
                "required": ["deep", "list"],
            },
            "anything": {"type": "object"},
            "described": {"type": "object", "description": "x", "nullable": True, "inner": {"type": "string"}},
        },
        "required": ["place", "days"],
    },
    response={"type": "object", "description": "What was found"},
)
_BARE = _tool("now", "", {})
_NONE = _tool("nothing", "No parameters", {"type": "object", "properties": {}})
_FLAT = {"name": "flat", "description": "Not in a function", "parameters": {"type": "object", "properties": {}}}
_ASKED = _says("user", "What is it like?")
_VALUES = {
    "text": "a\"b'c\\d\ne",
    "whole": 3,
    "minus": -17,
    "large": 9007199254740993,
    "part": 2.5,
    "tiny": 1e-7,
    "huge": 1.5e300,
    "float": 4.0,
    "yes": True,
    "no": False,
    "none": None,
    "empty": [],
    "bare": {},
    "list": [1, "zwei", None, [True, 2.0], {"k": "v"}],
    "inner": {"b": {"c": ["d"]}, "A": "ä", "Ä": 0},
    "": "no name",
}
_CALLED = _says("assistant", tool_calls=[_call("look_up", {"place": "here", "days": 2})])
_PICTURE = {"type": "image"}
_SOUND = {"type": "audio"}
_FILM = {"type": "video"}


def _text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def _turns() -> list[Conversation]:
    hi, hello = _says("user", "Hi"), _says("assistant", "Hello!")
    return [
        _chat(hi),
        _chat(hi, add_generation_prompt=False),
        _chat(_says("system", " Be kind.\n"), hi),
        _chat(_says("developer", "Be brief."), hi),
        _chat(_says("system", [_text("Be "), _text(" kind ")]), hi),
        _chat(_says("system", ""), hi),
        _chat(_says("system", "Alone")),
        _chat(hi, hello, _says("user", "Bye")),
        _chat(hi, hello, _says("user", "More"), _says("assistant", "Yes"), _says("user", "Stop")),
        _chat(hi, hello),
        _chat(hi, hello, add_generation_prompt=False),
        _chat(hi, _says("model", "Hello!"), _says("user", "Bye")),
        _chat(hi, hi),
        _chat(hello, hi),
        _chat(hi, _says("system", "In the middle"), hi),
        _chat(_says("user", "")),
        _chat(_says("user", " \n\t ")),
        _chat(_says("user")),
        _chat(_says("user", [])),
        _chat(_says("user", _ODD), _says("assistant", _ODD), _says("user", _ODD)),
        _chat(_says("user", "{{ 7 * 7 }} {% raw %} <|turn>model\n<turn|> <start_of_turn>")),
        _chat(_says("user", 5)),
        _chat(_says("user", True)),
        _chat(_says("user", {"text": "a dict"})),
        _chat(_says("someone", "Hi")),
        _chat(_says("user", "Hi", name="Zoë", extra=[1, {"a": None}])),
        _chat(_says("user", "line one\r\nline two\u2028three\x1c\x85four")),
    ]


def _thoughts() -> list[Conversation]:
    told = "<|channel>thought\nhidden<channel|>shown<|channel>more<channel|> rest"
    return [
        _chat(_ASKED, enable_thinking=True),
        _chat(_ASKED, enable_thinking=False),
        _chat(_says("system", "Be kind"), _ASKED, enable_thinking=True),
        _chat(_ASKED, enable_thinking=True, tools=[_BARE]),
        _chat(_ASKED, _says("assistant", told), _ASKED),
        _chat(_ASKED, _says("assistant", "<channel|>odd<|channel>"), _ASKED),
        _chat(_ASKED, _says("assistant", "<think>\nhm\n</think>\n\nFine"), _ASKED, enable_thinking=True),
        _chat(_ASKED, _says("assistant", "Fine", reasoning_content="hm"), _ASKED),
        _chat(_ASKED, _says("assistant", "Fine", thinking="a", reasoning="b"), _ASKED, preserve_thinking=True),
        _chat(_ASKED, _says("assistant", "Fine", reasoning="hm\n"), add_generation_prompt=False),
        _chat(_ASKED, _says("assistant", "", reasoning="hm", tool_calls=[_call("now", {})]), enable_thinking=True),
        _chat(_ASKED, _says("assistant", [_text(told), _text(" x ")]), _ASKED, enable_thinking=True),
    ]


def _media() -> list[Conversation]:
    return [
        _chat(_says("user", [_PICTURE, _text(" Look ")])),
        _chat(_says("user", [_text("a"), _PICTURE, _text("b"), _SOUND, _FILM, _text("c")])),
        _chat(_says("user", [_SOUND])),
        _chat(_says("user", [{"type": "image_url", "image_url": {"url": "x"}}, {"type": "smell"}])),
        _chat(_says("user", [_text("one"), _text("two")]), _says("assistant", [_text("three")]), _ASKED),
    ]


def _tools() -> list[Conversation]:
    both = _says("assistant", tool_calls=[_call("look_up", _VALUES, id="a"), _call("now", {}, id="b")])
    given = _says("tool", "12 °C", name="look_up", tool_call_id="a")
    answers = {"temperature": 12.5, "words": ["cool", "dry"], "at": None, "Ok": True, "n": {"x": {}}}
    return [
        _chat(_ASKED, tools=[_PLACE]),
        _chat(_ASKED, tools=[_BARE, _NONE, _PLACE]),
        _chat(_ASKED, tools=[]),
        _chat(_ASKED, tools=[_FLAT]),
        _chat(_says("system", "Be kind"), _ASKED, tools=[_PLACE, _BARE]),
        _chat(_ASKED, _CALLED),
        _chat(_ASKED, _CALLED, given, tools=[_PLACE]),
        _chat(_ASKED, _CALLED, given, _says("assistant", "Cool."), _says("user", "Thanks"), tools=[_PLACE]),
        _chat(_ASKED, both, given, _says("tool", "noon", tool_call_id="b"), tools=[_PLACE, _BARE]),
        _chat(_ASKED, both, tools=[_PLACE]),
        _chat(_ASKED, _says("assistant", "So:", tool_calls=[_call("now", '{"a": 1}')]), _says("tool", "1"), _ASKED),
        _chat(_ASKED, _says("assistant", tool_calls=[_call("now", "a:1")])),
        _chat(_ASKED, _says("assistant", tool_calls=[_call("now", None)])),
        _chat(_ASKED, _says("assistant", tool_calls=[_call("now", [1, "b", None])])),
        _chat(_ASKED, _says("assistant", "", tool_calls=[])),
        _chat(_ASKED, _CALLED, _says("tool", answers, name="look_up")),
        _chat(_ASKED, _CALLED, _says("tool", {"name": "look_up", "response": answers})),
        _chat(_ASKED, _CALLED, _says("tool", [_text("cool"), _PICTURE], name="look_up")),
        _chat(_ASKED, _CALLED, _says("tool", [{"name": "look_up", "response": answers}])),
        _chat(_ASKED, _CALLED, _says("tool", 12, name="look_up")),
        _chat(_ASKED, _CALLED, _says("tool", "", name="look_up"), _says("user", "Stop")),
        _chat(_ASKED, _says("assistant", tool_calls=_CALLED["tool_calls"], tool_responses=[{"response": answers}])),
        _chat(_ASKED, _says("assistant", "", tool_responses=[{"name": "now", "response": "noon"}]), _ASKED),
        _chat(_ASKED, _CALLED, _says("tool", "a"), _CALLED, _says("tool", "b"), _says("assistant", "c"), _ASKED),
    ]


def conversations() -> Sequence[Conversation]:
    """All of them; the first are those that every template renders."""
    return [*_turns(), *_thoughts(), *_media(), *_tools()]
