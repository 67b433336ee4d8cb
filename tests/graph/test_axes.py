"""Sizes of values are read where they must be known, and changed one at a time."""

import onnx_ir as ir
import pytest

from g4compile.errors import Defect
from g4compile.graph.axes import resize, sizes_of, static_size
from tests.graph.graphs import value


def test_sizes_are_numbers_and_names():
    x = value("x", "batch", 4)
    assert [str(size) for size in sizes_of(x)] == ["batch", "4"]
    assert static_size(x, -1) == static_size(x, 1) == 4


def test_a_size_that_must_be_a_number_and_is_none_is_named():
    with pytest.raises(Defect, match="size 0 of a value must be a number, it is batch") as error:
        static_size(value("x", "batch", 4), 0)
    assert error.value.where == "x"


@pytest.mark.parametrize("absent", [ir.Value(name="y"), None])
def test_a_rank_that_is_not_known_is_refused(absent):
    for read in (lambda: sizes_of(absent), lambda: static_size(absent, 0), lambda: resize(absent, 0, 1)):
        with pytest.raises(Defect, match="the shape of a value is not known") as error:
            read()
        assert error.value.where == ("y" if absent is not None else "")


def test_resize_changes_one_size_and_keeps_the_others():
    x = value("x", "batch", "new", 4)
    resize(x, -2, "kept")
    assert [str(size) for size in sizes_of(x)] == ["batch", "kept", "4"]
    resize(x, 0, 1)
    assert static_size(x, 0) == 1
