"""Talk with a bundle: many turns, the answer printed as it is made. The runtime install is enough.

    python examples/chat.py [BUNDLE] < questions.txt

Each line of standard input is a turn. Keys and values of earlier turns are kept: only new tokens are computed.
Without a bundle a tiny one with random weights is made, which needs g4compile[compile]; its answers are noise.
"""

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import g4compile
from g4compile.runtime.generation import Timed
from g4compile.runtime.text import Message, TextCodec


def between(codec: TextCodec, asked: list[Message], question: Message) -> list[int] | None:
    """The ids from the end of the answer to ``asked`` to the next one; None when the template rewrites earlier
    turns."""
    start = [*codec.encode_chat(asked), *codec.encode("x")[1:]]
    whole = codec.encode_chat([*asked, {"role": "assistant", "content": "x"}, question])
    return whole[len(start) :] if whole[: len(start)] == start else None


def chat(bundle: Path, questions: Iterable[str], max_new_tokens: int = 128) -> list[Message]:
    """Answer every question; the messages of the whole conversation."""
    session = g4compile.load(bundle, threads=2)
    codec, stops = TextCodec(session.bundle), session.bundle.manifest.stop_token_ids
    messages: list[Message] = []
    pending: list[int] = []  # a last token that was given and not yet computed
    for line in questions:
        question = {"role": "user", "content": line.strip()}
        ids = between(codec, messages[:-1], question) if messages else None
        messages.append(question)
        if ids is None:
            session.reset()
            pending, ids = [], codec.encode_chat(messages)
        kept = session.length
        made = Timed(session.generate([*pending, *ids], max_new_tokens=max_new_tokens, temperature=0.7, top_p=0.9))
        print(f"> {question['content']}")
        answer = ""
        for piece in codec.stream(made):
            print(piece, end="", flush=True)
            answer += piece
        print(f"\n  [{kept} tokens kept, {made.decode_tokens_per_second:,.0f} tokens/s]")
        messages.append({"role": "assistant", "content": answer})
        pending = [token for token in made.token_ids[-1:] if token not in stops]
    return messages


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        if not sys.argv[1:]:
            from g4compile.synth.checkpoint import synthesize

            synthesize("tiny-e2b", Path(name, "checkpoint"))
            g4compile.compile(Path(name, "checkpoint"), "onnx-cpu", Path(name, "bundle"))
        chat(Path(sys.argv[1] if sys.argv[1:] else f"{name}/bundle"), sys.stdin)
