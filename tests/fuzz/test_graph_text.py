"""Graph text that nobody vouches for: `opt` gives a graph or an error of ours, and its process lives.

The corpus is that of the passes. Each text is changed, and run through the passes it is a test of. The parser of ONNX
can end a process, so texts are run in one beside this.
"""

from __future__ import annotations

import random
import re
import shlex
import time
import traceback
from pathlib import Path

import pytest

import tests.passes
from g4compile.errors import InputError
from g4compile.targets.alone import known_passes, run_on_text
from tests.fuzz.mutate import mutate_bytes, several
from tests.fuzz.process import Asked

CORPUS = sorted(Path(tests.passes.__path__[0]).glob("*.onnxtxt"))
RUN = re.compile(r"RUN: (?:not )?opt %s (.*)")
KINDS = (
    (re.compile(r"-?\b\d[\w.]*"), ("0", "1", "-1", "2", "3", "7", "1048576", str(2**31), str(2**63 - 1), str(2**64),
                                  "0.0", "1.5", "1e30", "1e999", "inf", "nan")),
    (re.compile(r'"[^"\n]*"'), ('""', '"x"', '"transpose"', '"g4"', '"codes=int4:0:symmetric:nearest:1"', '"traced"',
                               '"fused"', '"quantized"', '"scale=nan"', '"reorder=rows:0:0"', '"é"')),
    (re.compile(r"\b[a-z]+\d*(?=[\[ ])"), ("float", "bfloat16", "float16", "double", "int64", "int32", "int8", "uint8",
                                         "bool", "string", "seq(float)", "complex64", "float4e2m1", "int4")),
    (re.compile(r"\b(?:g4\.)?[A-Z]\w+"), ("Add", "Cast", "Concat", "Expand", "Gather", "Identity", "If", "Loop", "Mul",
                                        "Pow", "ReduceMean", "Reshape", "Shape", "Slice", "Softmax", "Split",
                                        "Squeeze", "TopK", "Transpose", "Unsqueeze", "Where", "g4.Dequantize",
                                        "g4.DualRopeAttention", "g4.GeGLU", "g4.Linear", "g4.RMSNorm",
                                        "g4.RopeKeyValue", "g4.CausalMask", "g4.MoEExperts", "g4.Nothing")),
    (re.compile(r"\b[a-z_]\w*\b"), ("x", "y", "logits", "input_ids", "position_ids", "past", "batch", "new")),
    (re.compile(r" ?\[[^\]\n]*\]"), ("", "[]", "[?]", "[0]", "[batch]", "[1,1,1,1,1,1]", "[batch,new,4]")),
    (re.compile(r"<[^<>\n]*> ?"), ("", "<axis = 0>", "<axis = 99>", "<axis = -1, keepdims = 0>", "<to = 16>")),
)  # fmt: skip
"""Words of graph text by kind, each with what may stand in the place of one."""


def mutate_graph(rng: random.Random, text: str) -> str:
    """``text`` with one word for another of its kind, or with a line left out, doubled, or in another place."""
    if rng.random() < 0.25:
        lines = text.splitlines(keepends=True)
        line = lines.pop(rng.randrange(len(lines)))
        for _ in range(rng.choice((0, 1, 2))):
            lines.insert(rng.randrange(len(lines) + 1), line)
        return "".join(lines)
    kind, others = rng.choice(KINDS)
    found = list(kind.finditer(text))
    if not found:
        return text
    place = rng.choice(found)
    other = rng.choice((*others, *(one[0] for one in found)))
    return text[: place.start()] + other + text[place.end() :]


def outcome(data: bytes, passes: str) -> str:
    """Run ``passes`` on ``data``: `graph`, `refused: WHY`, or the traceback of what must not be raised."""
    from g4compile.graph.source import decode_graph

    try:
        run_on_text(decode_graph(data, "text"), passes)
    except InputError as error:
        return f"refused: {error}"
    except Exception:
        return traceback.format_exc()
    return "graph"


@pytest.fixture(scope="module")
def worker():
    asked = Asked(outcome)
    yield asked
    asked.end()


def _changed(rng: random.Random) -> tuple[bytes, str]:
    """A text of the corpus after some changes, and the passes to run: mostly its own."""
    file = rng.choice(CORPUS)
    text = file.read_text(encoding="utf-8")
    passes = shlex.split(rng.choice(RUN.findall(text)))[-1]
    if rng.random() < 0.3:
        passes = rng.choice(sorted(known_passes()))
    if rng.random() < 0.75:
        return several(rng, mutate_graph, text).encode(), passes
    return several(rng, mutate_bytes, text.encode()), passes


def _fuzz(worker: Asked, seeds: range, until: float) -> dict[str, int]:
    counts: dict[str, int] = {}
    for seed in seeds:
        if time.monotonic() > until:
            break
        data, passes = _changed(random.Random(seed))
        found = worker.ask(data, passes)
        kind = found.partition(":")[0]
        assert kind in ("graph", "refused"), f"seed {seed}, -p {passes!r}\n{data.decode(errors='replace')}\n{found}"
        counts[kind] = counts.get(kind, 0) + 1
    return counts


def test_changed_graphs_are_run_or_refused(worker):
    counts = _fuzz(worker, range(200), time.monotonic() + 300)
    assert counts["graph"] > 5 and counts["refused"] > 100  # neither all broken nor all unchanged


@pytest.mark.nightly
def test_changed_graphs_are_run_or_refused_for_a_minute(worker):
    _fuzz(worker, range(1000, 10**9), time.monotonic() + 60)


HEADER = '<ir_version: 11, opset_import: ["" : 24], metadata_props: ["g4.stage": "traced"]>\n'
GRAPH = HEADER + "g (float[1] x) => (float[1] y) { y = Tanh (x) }\n"
IF = "y = If (c) <then_branch = g () => (float[1] y) { "
END = " }, else_branch = g () => (float[1] y) { y = Tanh (x) }>"


def nested(count: int) -> str:
    return f"{HEADER}g (bool c, float[1] x) => (float[1] y) {{ {IF * count}y = Tanh (x){END * count} }}"


HOSTILE = {
    "types in types": ("agraph (" + "seq(" * 100_000, "nested deeper than 32"),
    "graphs in graphs": (nested(20_000), "nested deeper than 32"),
    "brackets behind a quote in a comment": ('# "\nagraph (' + "seq(" * 100_000 + '# "', "nested deeper than 32"),
    "brackets behind a quote in a string": ('<a: "\\"", b: ' + "(" * 100, "nested deeper than 32"),
    "brackets behind an arrow": (HEADER + "g () " + "=> (seq(" * 100, "nested deeper than 32"),
    "functions": (GRAPH + '<domain: "x"> f <' + "a=," * 1_000_000, "followed by functions"),
    "a line without end": ("agraph " + "x" * 10_000_000, "not a graph in ONNX text"),
    "a string without end": (HEADER + '"' + "x" * 1_000_000, "not a graph in ONNX text"),
    "an integer that is too large": (GRAPH.replace("11", "9" * 30), "out of the range of int64"),
    "a float that is too large": (GRAPH.replace("Tanh", "Tanh <a = 1e999999>"), "1e999999"),
    "nothing": ("", "holds no graph"),
    "a NUL": ("\0", "not a graph in ONNX text"),
    "a graph as deep as may be": (nested(15), "If is not allowed in this stage"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_ends_the_parser_does_not_reach_it(worker, name):
    text, words = HOSTILE[name]
    found = worker.ask(text.encode(), "canonicalize-dead-code")
    assert found.startswith("refused: ") and words in found and len(found) < 1500
