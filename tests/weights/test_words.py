"""The words of weights: each reads as what printed it, and what cannot be read is refused by name."""

import numpy as np
import pytest

from g4compile.bundle.weight_codes import BlockPart, EnginePart, Flat, Narrow, Panels, parse_words
from g4compile.bundle.weight_steps import Cast, Reorder, Scale, Shard, Transpose, cast, undo_reorders
from g4compile.errors import Defect, InputError
from g4compile.weights.text import parse_graph

WORDS = {
    "transpose": Transpose(),
    "scale=39.1918373": Scale(float(np.float32(np.sqrt(1536)))),
    "reorder=rows:512:128": Reorder("rows", 512, 128),
    "shard=columns:2:1:4": Shard("columns", 2, 1, 4),
    "cast=float:bfloat16": Cast("float", "bfloat16"),
    "scales=int4:128:symmetric:search:64": BlockPart("scales", 4, 128, True, "search", 64),
    "zero_points=int2:0:asymmetric:nearest:64": BlockPart("zero_points", 2, 0, False, "nearest", 64),
    "codes=int8:32:symmetric:nearest:64:bfloat16": BlockPart("codes", 8, 32, True, "nearest", 64, "bfloat16"),
    "flat": Flat(),
    "narrow": Narrow(),
    "panels=264": Panels(264),
    "engine-codes=int4:128": EnginePart("codes", "int4", 128),
    "engine-scales=fp8": EnginePart("scales", "fp8"),
}


@pytest.mark.parametrize("word", WORDS)
def test_a_word_reads_as_the_value_that_prints_it(word):
    assert parse_words([word]) == (WORDS[word],) and str(WORDS[word]) == word


@pytest.mark.parametrize(
    "word",
    [
        "rotate", "transpose=2", "scale=", "scale=x", "reorder=rows:512", "reorder=heads:512:128", "reorder=rows:a:b",
        "shard=rows:2:1", "cast=float:float8", "codes=int4:128", "codes=uint4:128:symmetric:nearest:64",
        "codes=int4:128:even:nearest:64", "engine-zero_points=int4:128", "engine-codes=int4:x", "flat=1",
        "scale=nan", "scale=inf", "scale=1e999", "reorder=rows:0:0", "reorder=rows:8:-2", "reorder=rows:8:10",
        "reorder=rows:8:3", "reorder=rows:7:2", "shard=rows:0:0:1", "shard=rows:1:0:0", "shard=rows:2:4:4",
        "shard=rows:2:-1:4", "codes=int3:32:symmetric:nearest:64", "codes=int4:-1:symmetric:nearest:64",
        "codes=int4:32:symmetric:nearest:0", "engine-codes=int4:0", "panels=0", "panels=x", "panels=1:2",
        "engine-panels=32", "codes=int4:32:symmetric:nearest:64:float16",
        "codes=int4:32:symmetric:nearest:64:bfloat16:bfloat16", f"reorder=rows:{'9' * 5000}:2",
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_by_name(word):
    with pytest.raises(InputError, match=f"the step '{word}' of a weight cannot be read"):
        parse_words([word])


def test_steps_are_undone():
    array = np.arange(48.0).reshape(4, 12)
    step = Reorder("columns", 6, 2)
    assert (step.apply(array) != array).any()
    np.testing.assert_array_equal(step.undo(step.apply(array)), array)
    np.testing.assert_array_equal(undo_reorders(step.apply(array), (Scale(2), step)), array)
    np.testing.assert_array_equal(Transpose().undo(Transpose().apply(array)), array)


def test_a_dtype_that_no_weight_has_is_a_defect():
    with pytest.raises(Defect, match="int64"):
        cast(np.zeros(2), "int64")


GRAPH = """
<ir_version: 10, opset_import: ["" : 23]>
decoder (float[1] x) => (float[1] y) <{type} w = ["location": "K", "steps": "{steps}"]> {{ y = Identity (x) }}
"""


@pytest.mark.parametrize(
    ("type", "steps", "said"),
    [
        ("float[4,64]", "turn", "the step 'turn' of a weight cannot be read"),
        ("float[4,64]", "codes=int4:32:symmetric:nearest:64 transpose", "stands once, behind the steps"),
        ("uint8[4,32]", "flat", "stands once, behind the steps"),
        ("uint8[4,32]", "panels=4", "stands once, behind the steps"),
        ("uint8[4,32]", "narrow", "stands once, behind the steps"),
        ("uint8[4,2,16]", "codes=int4:32:symmetric:nearest:64 narrow", "float32 scales of int4 block 32"),
        ("uint8[4,1,32]", "codes=int4:0:symmetric:nearest:64:bfloat16 narrow", "of int4 row symmetric do not stand in"),
        ("float[4,2]", "scales=int4:32:symmetric:nearest:64:bfloat16 narrow", "are BFLOAT16"),
        ("uint8[4,32]", "codes=int4:32:symmetric:nearest:64 flat panels=4", "stands once, behind the steps"),
        ("uint8[1,1024]", "codes=int4:32:symmetric:nearest:64 panels=4", "does not stand in panels"),
        ("uint8[1,1024]", "codes=int4:0:symmetric:nearest:64 panels=40", "are UINT8"),
        ("uint8[4,32]", "engine-codes=int4:32 flat", "stands once, behind the steps"),
        ("uint8[4,7,16]", "codes=int4:32:symmetric:nearest:64", "are UINT8"),
        ("uint8[4,2,16]", "codes=int4:33:symmetric:nearest:64", "no blocks of 33 weights"),
        ("int8[4,2]", "engine-codes=int3:32", "an engine reads codes as"),
        ("int8[4,2]", "engine-codes=int4", "an engine reads codes as"),
        ("bfloat16[1]", "engine-scales=fp8", "stand without the other parts"),
    ],
)
def test_references_that_cannot_be_read(type, steps, said):
    with pytest.raises(InputError) as raised:
        parse_graph(GRAPH.format(type=type, steps=steps))
    assert said in str(raised.value)
