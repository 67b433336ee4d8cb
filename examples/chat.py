"""Talk with a bundle: many turns, the answer printed as it is made. The runtime install is enough.

    python examples/chat.py [BUNDLE] < questions.txt

Each line of standard input is a turn. Keys and values of earlier turns are kept: only new tokens are computed.
Without a bundle a tiny one with random weights is made, which needs g4compile[compile]; its answers are noise.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import g4compile
from g4compile.errors import InputError
from g4compile.runtime.generation import Timed
from g4compile.runtime.text import TextCodec


def chat(bundle: Path, questions: Iterable[str], max_new_tokens: int = 128) -> list[dict[str, str]]:
    """Answer every question; the messages of the whole conversation."""
    session = g4compile.load(bundle, threads=2)
    codec = TextCodec(session.bundle)
    messages: list[dict[str, str]] = []
    held: list[int] = []  # the tokens that the session has keys and values of
    for question in questions:
        messages.append({"role": "user", "content": question.strip()})
        print(f"> {question.strip()}")
        prompt = codec.encode_chat(messages)
        shared = 0
        while shared < min(len(held), len(prompt) - 1) and held[shared] == prompt[shared]:
            shared += 1
        try:
            session.rewind(len(held) - shared)
        except InputError:  # windowed caches take back a few tokens only
            session.reset()
            shared = 0
        answer = session.generate(prompt[shared:], max_new_tokens=max_new_tokens, temperature=0.7, top_p=0.9)
        made = Timed(answer)
        pieces = []
        for piece in codec.stream(made):
            pieces.append(piece)
            print(piece, end="", flush=True)
        print(f"\n  [{shared} tokens kept, {made.decode_tokens_per_second:,.0f} tokens/s]")
        messages.append({"role": "assistant", "content": "".join(pieces)})
        held = [*prompt, *made.token_ids][: session.length]
    return messages


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        if not sys.argv[1:]:
            from g4compile.synth.checkpoint import synthesize

            synthesize("tiny-e2b", Path(name, "checkpoint"))
            g4compile.compile(Path(name, "checkpoint"), "onnx-cpu", Path(name, "bundle"))
        chat(Path(sys.argv[1] if sys.argv[1:] else f"{name}/bundle"), sys.stdin)
