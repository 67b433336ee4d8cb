"""The chat template of synthetic checkpoints: turns, media, tools and thinking in Gemma 4's form."""

from importlib import resources

import pytest
from jinja2.exceptions import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

TEMPLATE = resources.files("g4compile.synth").joinpath("chat_template.jinja").read_text(encoding="utf-8")
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": 'What "it" is like',
        "parameters": {
            "type": "object",
            "properties": {"place": {"type": "string", "enum": ["here", "there"]}, "days": {"type": "integer"}},
            "required": ["place"],
        },
    },
}
DECLARED = (
    '<|tool>declaration:weather{description:<|"|>What "it" is like<|"|>,parameters:{properties:{days:{type:'
    '<|"|>INTEGER<|"|>},place:{enum:[<|"|>here<|"|>,<|"|>there<|"|>],type:<|"|>STRING<|"|>}},required:'
    '[<|"|>place<|"|>],type:<|"|>OBJECT<|"|>}}<tool|>'
)
CALL = {"type": "function", "function": {"name": "weather", "arguments": {"place": "Zürich", "type": "x", "days": 3}}}
CALLED = '<|tool_call>call:weather{days:3,place:<|"|>Zürich<|"|>,type:<|"|>x<|"|>}<tool_call|>'
ASK = {"role": "user", "content": "Weather?"}


def render(messages, tools=None, generate=True, **more):
    """By transformers, with `<bos>` cut off."""
    rendered, _ = render_jinja_template(
        conversations=[messages], tools=tools, chat_template=TEMPLATE, add_generation_prompt=generate,
        bos_token="<bos>", **more,
    )  # fmt: skip
    assert rendered[0].startswith("<bos>")
    return rendered[0].removeprefix("<bos>")


def user(content):
    return {"role": "user", "content": content}


def test_turns():
    chat = [user(" Hi "), {"role": "assistant", "content": "Hello"}, user("Bye")]
    turns = "<|turn>user\nHi<turn|>\n<|turn>model\nHello<turn|>\n<|turn>user\nBye<turn|>\n"
    assert render(chat) == f"{turns}<|turn>model\n"
    assert render(chat, generate=False) == turns


@pytest.mark.parametrize("role", ["system", "developer"])
def test_a_system_turn(role):
    chat = [{"role": role, "content": " Be kind "}, user("Hi")]
    assert render(chat) == "<|turn>system\nBe kind<turn|>\n<|turn>user\nHi<turn|>\n<|turn>model\n"


def test_thinking():
    assert render([ASK], enable_thinking=True).startswith("<|turn>system\n<|think|>\n<turn|>\n<|turn>user\n")
    chat = [{"role": "system", "content": "Be kind"}, ASK]
    assert render(chat, enable_thinking=True).startswith("<|turn>system\n<|think|>\nBe kind<turn|>\n")
    assert "<|think|>" not in render([ASK], enable_thinking=False)


def test_thoughts_of_earlier_turns_are_left_out():
    chat = [ASK, {"role": "assistant", "content": "Fine", "reasoning_content": "hm"}, user("Sure?")]
    assert "hm" not in render(chat)


def test_media():
    items = [
        {"type": "text", "text": " See "}, {"type": "image"}, {"type": "text", "text": "and hear"}, {"type": "audio"},
        {"type": "video"},
    ]  # fmt: skip
    assert render([user(items)], generate=False) == (
        "<|turn>user\nSee\n\n<|image|>\n\nand hear<|audio|>\n\n<|video|>\n\n<turn|>\n"
    )
    with pytest.raises(TemplateError, match="unknown type smell"):
        render([user([{"type": "smell"}])])


def test_tools_are_declared():
    assert render([ASK], [WEATHER]).startswith(f"<|turn>system\n{DECLARED}<turn|>\n<|turn>user\n")
    chat = [{"role": "system", "content": "Be kind"}, ASK]
    assert render(chat, [WEATHER, WEATHER]).startswith(f"<|turn>system\nBe kind{DECLARED}{DECLARED}<turn|>\n")


def test_calls_and_what_they_give_are_in_the_turn_of_the_model():
    """Which goes on behind them, until it says something."""
    chat = [ASK, {"role": "assistant", "tool_calls": [CALL]}]
    begun = f"<|turn>user\nWeather?<turn|>\n<|turn>model\n{CALLED}"
    assert render(chat) == begun
    chat.append({"role": "tool", "name": "weather", "content": "12 °C"})
    begun += '<|tool_response>response:weather{value:<|"|>12 °C<|"|>}<tool_response|>'
    assert render(chat) == begun
    chat += [{"role": "assistant", "content": "It is cool."}, user("Thanks")]
    begun += "It is cool.<turn|>\n<|turn>user\nThanks<turn|>\n"
    assert render(chat) == f"{begun}<|turn>model\n"


def test_a_turn_that_a_user_interrupts():
    chat = [ASK, {"role": "assistant", "tool_calls": [CALL]}, user("Stop")]
    assert render(chat, generate=False).endswith(f"{CALLED}<turn|>\n<|turn>user\nStop<turn|>\n")


@pytest.mark.parametrize(
    ("content", "written"),
    [
        ({"warm": True, "at": None, "in": [1, 2.5, "b"]}, '{at:null,in:[1,2.5,<|"|>b<|"|>],warm:true}'),
        ({}, "{}"),
        ([{"type": "text", "text": "cool"}], '{value:<|"|>cool<|"|>}'),
    ],
)
def test_values(content, written):
    chat = [ASK, {"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "name": "f", "content": content}]
    assert render(chat).endswith(f"<|tool_response>response:f{written}<tool_response|>")


def test_arguments_as_text():
    call = {"function": {"name": "f", "arguments": "a:1"}}
    assert render([ASK, {"role": "assistant", "tool_calls": [call]}]).endswith("<|tool_call>call:f{a:1}<tool_call|>")
