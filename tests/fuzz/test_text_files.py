"""Changed tokenizers, settings and chat templates: text comes out, or an error of ours, within seconds."""

from __future__ import annotations

import json
import random
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from g4compile.bundle.folder import Bundle
from g4compile.errors import G4Error
from g4compile.runtime import text_process
from g4compile.runtime.text import TextCodec
from tests.fuzz.mutate import mutate_bytes, mutate_json, mutate_text, several
from tests.runtime.test_template import CHATS, GEMMA, HOSTILE, TOOLS

WORDS = [
    *("{%", "%}", "{{", "}}", "{%-", "-%}", "for", "endfor", "if", "endif", "set", "macro", "endmacro", "generation"),
    *("break", "continue", "namespace", "dict", "range(9999)", "messages", "message", "tools", "loop.last", "tojson"),
    *("trim", "length", "raise_exception", "strftime_now", "is string", "~", "**", "*", "/", "|", "include", "import"),
]
TEXTS = ("", "Zürich — 東京, 12 °C: 😀 done", "a" * 300, "<|turn>user\n<bos>", "\x00\x01 \u2581")
SECONDS = 1.0  # of processor time for a request: a quarter of what is given
LATEST = 2 * (10 * SECONDS + 2)  # for two requests, by the clock on the wall, of a machine that may be busy


@pytest.fixture
def folder(checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(text_process, "_SECONDS", SECONDS)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(checkpoints("tiny-e2b").folder / name, tmp_path)
    return tmp_path


def open_text(folder: Path) -> TextCodec:
    return TextCodec(Bundle(folder, SimpleNamespace(bos_token_id=2)))


def attempt(call, *given) -> bool:
    """Whether ``call`` returned. Anything but a prompt error of the user's or the machine's fails the test."""
    try:
        call(*given)
    except G4Error as error:
        assert error.code in (2, 3), error
        str(error).encode("utf-8")  # it can be printed
        return False
    return True


def timed(call, *given):
    """What ``call`` returns, which is one request to the process, or two."""
    start = time.monotonic()
    try:
        return call(*given)
    finally:
        assert time.monotonic() - start < LATEST


def use(folder: Path) -> None:
    codec = timed(open_text, folder)
    try:
        for text in TEXTS:
            ids = timed(codec.encode, text)
            timed(codec.decode, ids)
            "".join(codec.stream(ids[:20]))
        timed(codec.encode_chat, CHATS[0])
    finally:
        codec.close()


def changed(rng: random.Random, data: bytes) -> bytes:
    if rng.random() < 0.3:
        return several(rng, mutate_bytes, data)
    return json.dumps(several(rng, mutate_json, json.loads(data))).encode()


def fuzz_file(folder: Path, name: str, seeds: range) -> list[bool]:
    data = (folder / name).read_bytes()
    results = []
    for seed in seeds:
        (folder / name).write_bytes(changed(random.Random(seed), data))
        results.append(attempt(use, folder))
    (folder / name).write_bytes(data)
    return results


def fuzz_templates(folder: Path, seeds: range) -> list[bool]:
    """With one codec: what a template does to the process must not reach the next."""
    codec = open_text(folder)
    want, results = codec.render_chat(CHATS[0]), []
    plain = codec._files.templates["default"]
    for seed in seeds:
        rng = random.Random(seed)
        source = rng.choice((GEMMA, GEMMA, plain, *HOSTILE.values()))
        codec._files.templates["default"] = several(rng, mutate_text, source, WORDS)
        results.append(attempt(timed, codec.render_chat, rng.choice(CHATS), rng.choice((None, TOOLS))))
        if seed % 20 == 0:
            codec._files.templates["default"] = plain
            assert codec.render_chat(CHATS[0]) == want
    codec.close()
    return results


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_changed_files(folder, name):
    results = fuzz_file(folder, name, range(14))
    assert True in results and False in results


def test_changed_templates(folder):
    results = fuzz_templates(folder, range(60))
    assert True in results and False in results


@pytest.mark.nightly
@pytest.mark.parametrize("kind", ["tokenizer.json", "tokenizer_config.json", "template"])
def test_a_minute_of_each(folder, kind):
    end, seed, tried = time.monotonic() + 60, 1000, 0
    while time.monotonic() < end:
        seeds = range(seed, seed + 40)
        tried += len(fuzz_templates(folder, seeds) if kind == "template" else fuzz_file(folder, kind, seeds))
        seed += 40
    print(f"{tried} of {kind}")
