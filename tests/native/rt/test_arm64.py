"""Bundles on an emulated arm64 Linux: libg4rt and libg4ops cross-compiled, with ONNX Runtime's own library for arm64.

What libg4ops computes has the bits of this machine (`tests/native/test_arm64.py`). The rest is ONNX Runtime's: products
of float32 bundles, and the last norm of all. Logits differ by `NOISE` at most, and tokens are the same where no two are
so near to each other, as with these bundles and prompts.
"""

from __future__ import annotations

import numpy as np
import pytest

from g4compile.runtime.media.patches import image_inputs
from g4compile.runtime.media.placeholders import Media
from g4compile.runtime.prompt import Prompt
from g4compile.runtime.session import Session
from g4compile.runtime.text import TextCodec
from tests.native.arm64 import LIBRARIES, emulated, need_arm64
from tests.native.building import NATIVE, output
from tests.native.rt.arm64_onnxruntime import arm64_onnxruntime

TOKENS, SEEDS, BUDGET = 40, (7, 8), 70
SAMPLING = {"temperature": 0.9, "top_k": 40, "top_p": 0.95}  # of native/tests/rt_tokens.c
NOISE = 1e-4  # of other orders of sums: seen are 1.1e-5 (float32), 1.5e-6 (int4) and 0 (int8); logits reach 7
# QEMU 7.2 shows a program for arm64 the files of this machine. ONNX Runtime reads there which processors there are
# (pytorch/cpuinfo): in an x86's it finds none, and reaches for the caches of none. So it gets those of one Cortex-A76.
PROCESSOR_FILES = {
    "proc/cpuinfo": "processor\t: 0\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x4\n"
    "CPU part\t: 0xd0b\nCPU revision\t: 1\n",
    "sys/devices/system/cpu/possible": "0\n",
    "sys/devices/system/cpu/present": "0\n",
}
CASES = [
    ("tiny-31b", "int4", "g4ops", "max"),
    *(
        pytest.param(*case, marks=pytest.mark.nightly)
        for case in (
            ("tiny-e2b", "float32", "onnxruntime", "max"),
            ("tiny-26b-a4b", "int8", "g4ops", "max"),
            ("tiny-31b", "int4", "g4ops", "cortex-a76"),
            ("tiny-31b", "int4", "g4ops", "cortex-a53"),
        )
    ),
]


@pytest.fixture(scope="module")
def answers(arm64, tmp_path_factory):
    """Runs `rt_tokens`: float32 logits behind the prompt, the greedy answer, and one a seed."""
    onnxruntime = arm64_onnxruntime()
    libraries, folder = arm64, tmp_path_factory.mktemp("arm64")
    program, root = folder / "rt_tokens", folder / "root"
    strict = ("-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{NATIVE / 'include'}")
    link = ("-L", str(libraries), "-lg4rt", f"-Wl,-rpath,{libraries}", "-o", str(program))
    output("aarch64-linux-gnu-gcc", *strict, str(NATIVE / "tests" / "rt_tokens.c"), *link)
    for name, text in PROCESSOR_FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "lib").symlink_to(f"{LIBRARIES}/lib")

    def run(processor, bundle, ids, *image):
        need_arm64(processor)
        files = (str(bundle.folder), str(onnxruntime), str(libraries / "libg4ops.so"))
        words = (",".join(map(str, ids)), str(TOKENS), *image, *map(str, SEEDS))
        bits, *found = emulated(processor, program, *files, *words, root=root).splitlines()
        logits = np.frombuffer(bytes.fromhex(bits), ">u4").astype(np.uint32).view(np.float32)
        return logits, [[int(word) for word in line.split()] for line in found]

    return run


def expected(bundle, prompt):
    """The same of Python's session on this machine."""
    with Session(bundle, threads=1) as python:
        logits = python.forward(prompt)[0]
        tokens = []
        for settings in ({}, *({**SAMPLING, "seed": seed} for seed in SEEDS)):
            python.reset()
            tokens.append(list(python.generate(prompt, max_new_tokens=TOKENS, **settings)))
    return logits, tokens


@pytest.mark.parametrize(("variant", "recipe", "kernels", "processor"), CASES)
def test_tokens_are_those_of_this_machine(variant, recipe, kernels, processor, answers, bundles, quantized, g4ops):
    bundle = bundles(variant) if recipe == "float32" else quantized(variant, recipe, kernels)
    ids = np.random.default_rng(1).integers(3, bundle.manifest.vocab_size, 35).tolist()
    logits, tokens = expected(bundle, ids)
    found, answered = answers(processor, bundle, ids)
    np.testing.assert_allclose(found, logits, rtol=0, atol=NOISE)
    assert answered == tokens


@pytest.mark.nightly
def test_an_image(answers, seeing, tmp_path):
    bundle = seeing("tiny-e2b")
    picture = np.random.default_rng(6).integers(0, 256, (90, 120, 3), np.uint8)
    codec = TextCodec(bundle)
    try:
        media = Media((image_inputs(picture, bundle.manifest.media.image, BUDGET),), (), ())
        prompt = Prompt.from_text("See <|image|> now.", media, bundle, codec)
    finally:
        codec.close()
    logits, tokens = expected(bundle, prompt)
    (tmp_path / "rgb").write_bytes(picture.tobytes())
    height, width = picture.shape[:2]
    image = ("-i", str(tmp_path / "rgb"), str(width), str(height), str(BUDGET))
    found, answered = answers("max", bundle, prompt.input_ids, *image)
    np.testing.assert_allclose(found, logits, rtol=0, atol=NOISE)
    assert answered == tokens
