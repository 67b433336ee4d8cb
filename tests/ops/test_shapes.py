"""Shape strings: what letters come to mean, and in which words operands that do not fit are refused."""

import pytest

from g4compile.ops.shapes import Unifier, axis_of, leading_axes


def unify(*operands, **sizes):
    """The unifier, and what does not fit. Operands are (shape string, shape), named a, b, ..."""
    unifier = Unifier(dict(sizes))
    return unifier, unifier.unify([(name, *one) for name, one in zip("abcdef", operands, strict=False)])


@pytest.mark.parametrize(
    ("operands", "sizes", "asked", "shape"),
    [
        ([("[B, S, D]", (2, "new", 8))], {}, "[S, D]", ("new", 8)),
        ([("[N, 2I]", (3, 10))], {}, "[I]", (5,)),  # a product, solved
        ([("[S, N*D]", (4, 24)), ("[D]", (8,))], {}, "[N]", (3,)),  # the letter is said by a later operand
        ([("[S, N*D]", (4, 24))], {"N": 6}, "[S, N, D]", (4, 6, 4)),  # by an attribute
        ([("[S, N*D]", (4, 24))], {}, "[N]", (None,)),  # two unknown letters stay unknown
        ([("[S, R/2]", (4, 3))], {}, "[R]", (6,)),  # a quotient
        ([("[P]", (5,)), ("[S]", (2,))], {}, "[P+S]", (7,)),  # a sum of numbers
        ([("[P]", ("past",)), ("[S]", ("new",))], {}, "[P+S]", ("past + new",)),  # of names
        ([("[P]", (None,)), ("[S]", (2,))], {}, "[P+S]", (None,)),
        ([("[..., I]", (2, "new", 4))], {}, "[..., I]", (2, "new", 4)),  # leading sizes
        ([("[..., M]", (2, 1, 4)), ("[..., K]", (3, 5))], {}, "[..., M, K]", (2, 3, 4, 5)),  # broadcast together
        ([("[..., M]", (None, 4)), ("[..., K]", ("new", 5))], {}, "[..., M]", ("new", 4)),
        ([("[B]", (None,)), ("[B, S]", (2, 3))], {}, "[B]", (2,)),  # unknown fits all
        ([("[E, H] or [E, P, blocks]", (2, 3, 4))], {}, "[P]", (3,)),  # the form that has this rank
        ([("[E, H] or [E, P, blocks]", (2, 3))], {}, "[H]", (3,)),
    ],
)
def test_letters_come_to_mean_one_size(operands, sizes, asked, shape):
    unifier, problem = unify(*operands, **sizes)
    assert problem == ""
    assert unifier.shape(asked) == shape


@pytest.mark.parametrize(
    ("operands", "sizes", "words"),
    [
        ([("[B, S]", (2, 3)), ("[S, D]", (4, 8))], {}, "S is 4 in b and 3 elsewhere"),
        ([("[S]", ("new",)), ("[S]", ("past",))], {}, "S is past in b and new elsewhere"),
        ([("[D]", (8,))], {"D": 4}, "D is 8 in a and 4 elsewhere"),
        ([("[S, N*D]", (4, 20)), ("[N]", (3,)), ("[D]", (8,))], {}, "N*D is 24, the size of a is 20"),
        ([("[2I]", (9,)), ("[I]", (4,))], {}, "2*I is 8, the size of a is 9"),
        ([("[R/2]", (5,))], {"R": 8}, "R/2 is 4, the size of a is 5"),
        ([("[2I]", (9,))], {}, "the size of a is 9, and must be 2*I"),
        ([("[S, N*D]", (4, 10))], {"N": 4}, "the size of a is 10, and must be N*D"),
        ([("[S, N*D]", (4, 10))], {"N": 0}, "the size of a is 10, and must be N*D"),
        ([("[P]", (5,)), ("[S]", (2,)), ("[P+S]", (8,))], {}, "P+S is 7, the size of c is 8"),
        ([("[S, 1]", (4, 2))], {}, "1 is 1, the size of a is 2"),
        ([("[B, S]", (2, None, 4))], {}, "a has the shape [2, ?, 4], and must be [B, S]"),
        ([("[E, H] or [E, P, blocks]", (2,))], {}, "a has the shape [2], and must be [E, H] or [E, P, blocks]"),
        ([("[..., M, K]", (4,))], {}, "a has the shape [4], and must be [..., M, K]"),
        ([("[..., I]", (2, 4)), ("[..., K]", (3, 4))], {}, "the leading sizes [3] of b do not go with [2]"),
    ],
)
def test_what_does_not_fit_is_said_in_words(operands, sizes, words):
    assert unify(*operands, **sizes)[1] == words


def test_the_axis_of_a_letter_and_of_leading_sizes():
    assert axis_of("[B, K, S, D]", "S", 4) == -2
    assert axis_of("[B, P+S, D]", "S", 3) is None  # in a sum it is not alone
    assert axis_of("[B, S]", "S", 3) is None  # another rank
    assert axis_of("[E, H] or [E, P, H]", "H", 3) == -1
    assert list(leading_axes("[..., I]", 3)) == [-3, -2]
    assert list(leading_axes("[...]", 2)) == [-2, -1]
    assert list(leading_axes("[B, S]", 2)) == []
