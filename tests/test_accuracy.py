"""The comparator that the kernels are held by: it must see what it is there to see."""

import math

import pytest
import torch

from tests.support.accuracy import UNIT, assert_as_good_as_pytorch, excess

EXACT = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
PLAIN = EXACT + torch.tensor([0.0, 0.0, 1e-3])


def test_twice_the_error_of_pytorch_and_a_rounding_are_allowed_and_no_more():
    allowed = 2 * (1e-3 + 3 * UNIT)
    off = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    assert excess(EXACT + 0.999 * allowed * off, PLAIN, EXACT) <= 1
    assert excess(EXACT + 1.001 * allowed * off, PLAIN, EXACT) > 1
    with pytest.raises(AssertionError, match=r"logits: 1\.5 times the error that is allowed"):
        assert_as_good_as_pytorch("logits", EXACT + 1.5 * allowed * off, PLAIN, EXACT)


def test_many_small_errors_count_where_pytorch_has_one_large_one():
    assert excess(EXACT + 1.9e-3, PLAIN, EXACT) > 1


def test_one_large_error_counts_where_pytorch_has_many_small_ones():
    exact = torch.ones(10_000, dtype=torch.float64)
    wrong = exact.clone()
    wrong[17] += 1e-2
    assert excess(wrong, exact + 1e-3, exact) > 1


def test_without_an_error_of_pytorch_one_rounding_is_allowed_of_the_values_or_of_the_scale():
    for scale, size in ((None, 3.0), (100.0, 100.0)):
        off = torch.tensor([0.0, 0.0, size * UNIT], dtype=torch.float64)
        assert excess(EXACT + 0.99 * off, EXACT, EXACT, scale) <= 1
        assert excess(EXACT + 1.01 * off, EXACT, EXACT, scale) > 1


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", range(3))
def test_what_is_not_finite_fails_wherever_it_stands(value, place):
    values = [EXACT.clone() for _ in range(3)]
    values[place][1] = value
    assert excess(*values) == math.inf
    assert excess(*[torch.full_like(EXACT, value)] * 3) == math.inf


@pytest.mark.parametrize("shape", [(1, 3), (3, 1), (4,), (), (0,)])
@pytest.mark.parametrize("place", range(3))
def test_shapes_are_not_made_to_fit(shape, place):
    values = [EXACT, PLAIN, EXACT]
    values[place] = torch.ones(shape)
    with pytest.raises(AssertionError, match="expected three equal ones"):
        excess(*values)


def test_numbers_and_nothing_at_all_are_compared_too():
    assert excess(1.0, 1.0, 1.0) == 0 and excess(1.1, 1.0, 1.0) > 1
    assert excess(0.0, 0.0, 0.0) == 0 and excess(1e-30, 0.0, 0.0) == math.inf
    assert excess(*[torch.empty(0, 5)] * 3) == 0
