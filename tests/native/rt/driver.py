"""The C++ driver of libg4rt, and what sanitizers say of it."""

from __future__ import annotations

import os
import re
import subprocess

import numpy as np

from g4compile.runtime.session import Session
from g4compile.runtime.text import TextCodec
from tests.native.rt.g4rt import onnxruntime_library
from tests.native.rt.prompts import prompt_of

_ACCESS = re.compile(r"^  (?:Previous )?(?:atomic )?(?:read|write) of size", re.IGNORECASE)


def drive(built, bundle, scratch, *parts, ops=None, **environment):
    """Run the driver of the folder ``built`` with libg4ops from there, or ``ops``. Its lines by name, and what else it
    said; it must end well."""
    scratch.mkdir()
    program = str(built / "rt_driver")
    files = [bundle, onnxruntime_library(), ops or built / "libg4ops.so", scratch]
    done = subprocess.run(
        [program, *map(str, files), *parts],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0 and "\n0 wrong" in f"\n{done.stdout}", (done.stdout + done.stderr)[-6000:]
    named = (line.partition(":")[::2] for line in done.stdout.splitlines() if ": " in line)
    return {name: [int(word) for word in words.split()] for name, words in named}, done.stderr


def races(said):
    """Reports of the thread sanitizer that are not about ONNX Runtime alone.

    It is not built with the sanitizer: its threads wait for each other with atomics that the sanitizer does not see, so
    what it allocates on one thread and frees on another one seems to be a race. A file of suppressions cannot say this:
    they hold for a library anywhere in a stack, and it is in all that libg4ops does. So a report is left out where the
    access itself, behind `malloc` or `memcpy`, is ONNX Runtime's in every stack that is known.
    """
    return [one for one in said.split("=" * 18 + "\n") if "WARNING: ThreadSanitizer" in one and not _is_foreign(one)]


def _is_foreign(report):
    if "ThreadSanitizer: data race" not in report:
        return False
    owners = set()
    for section in report.split("\n\n"):
        accesses = [line for line in section.splitlines() if _ACCESS.match(line)]
        if accesses:
            frames = [line for line in section.splitlines() if re.match(r"    #\d+ ", line) and "(libtsan" not in line]
            owners.add(bool(re.search(r"\(libonnxruntime\.", frames[0])) if frames else None)
    return True in owners and False not in owners


def _picture(width=64, height=48):
    """uint8 [height, width, 3]."""
    y, x, colour = np.ogrid[:height, :width, :3]
    return ((x * 7 + y * 13 + colour * 50) % 256).astype(np.uint8)


def _wave(count=6000):
    """float32 [count]."""
    return (np.arange(count) * 37 % 200 - 100).astype(np.float32) / np.float32(400)


def expected(bundle):
    """What the driver must print, by Python's runtime: `rt_driver.h` and `rt_driver.cc` have the same inputs."""
    manifest = bundle.manifest
    image, audio = ("image" in manifest.modalities), ("audio" in manifest.modalities)
    facts = [manifest.vocab_size, manifest.context, manifest.bos_token_id, manifest.pad_token_id, 1, 1, image, audio]
    prompt = [(index * 37 + 11) % (manifest.vocab_size // 2) + 3 for index in range(40)]
    text = "See" + " <|image|>" * image + " hear <|audio|>" * audio + " now."
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hi \u00e9"}]},
    ]
    session, codec = Session(bundle, threads=1), TextCodec(bundle)

    def answer(given, **settings):
        return list(session.generate(given, max_new_tokens=60, **settings))

    try:
        found = {
            "facts": list(map(int, facts)),
            "stops": list(manifest.stop_token_ids),
            "encoded": codec.encode("Hello, world! Grüße 世界 🎉 <bos>12"),
            "chat": codec.encode(codec.render_chat(chat)),
            "greedy": answer(prompt),
        }
        session.reset()
        settings = {"temperature": 0.9, "top_k": 40, "top_p": 0.95, "seed": 11}
        found["seeded"] = answer(prompt, **settings)
        found["goes on"] = answer([9, 8], **settings)
        if image or audio:
            session.reset()
            placed = prompt_of(bundle, codec, text, [_picture()] * image, [_wave()] * audio)
            found["placed"], found["seen and heard"] = list(placed.input_ids), answer(placed)
    finally:
        codec.close()
    return found
