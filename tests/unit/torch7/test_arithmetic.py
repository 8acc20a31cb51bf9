"""Torch7's arithmetic: constants, single values, and sums, means and maxima along a dimension."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from jobs.torch7 import arithmetic as torch7
from jobs.torch7.module import BadArgument
from tests.unit.torch7.exactly import check, distinct, few, seeds, shapes


@pytest.mark.parametrize(
    ("module", "formula"),
    [
        (torch7.MulConstant(0.00390625), lambda x: x * 0.00390625),
        (torch7.MulConstant(-2, True), lambda x: x * -2),
        (torch7.AddConstant(3), lambda x: x + 3),
        (torch7.Exp(), np.exp),
        (torch7.Square(), lambda x: x * x),
        (torch7.Power(3), lambda x: x * x * x),
    ],
    ids=lambda part: getattr(part, "torch_name", ""),
)
@few
@given(seed=seeds, shape=shapes)
def test_arithmetic_of_single_values_is_its_formula(module, formula, seed, shape):
    (input,) = distinct(seed, shape)
    check(module, input, formula)


@pytest.mark.parametrize(
    ("module", "formula"),
    [(torch7.Log(), np.log), (torch7.Sqrt(), np.sqrt), (torch7.Power(0.3), lambda x: x**0.3)],
    ids=["Log", "Sqrt", "Power"],
)
@few
@given(seed=seeds, shape=shapes)
def test_arithmetic_of_positive_values_is_its_formula(module, formula, seed, shape):
    (input,) = distinct(seed, shape)
    check(module, input.detach().abs().requires_grad_(), formula)


def test_the_gradient_of_a_root_is_zero_at_zero():
    input = torch.tensor([0.0, 4.0], requires_grad=True)
    output = torch7.Sqrt()(input)
    output.sum().backward()
    assert output.tolist() == [0, 2]
    assert input.grad.tolist() == [0, 0.25]


def test_the_root_of_a_negative_number_is_none():
    assert torch7.Sqrt()(torch.tensor([-1.0])).isnan().all()


ALONG = [
    (torch7.Sum, np.sum),
    (torch7.Mean, np.mean),
    (torch7.Max, np.max),
    (torch7.Min, np.min),
]


@pytest.mark.parametrize(("kind", "formula"), ALONG)
@few
@given(seed=seeds, shape=st.lists(st.integers(1, 3), min_size=2, max_size=4).map(tuple), data=st.data())
def test_a_dimension_is_counted_from_1_or_from_the_end(kind, formula, seed, shape, data):
    axis = data.draw(st.integers(0, len(shape) - 1))
    (input,) = distinct(seed, shape)
    check(kind(axis + 1), input, lambda x: formula(x, axis=axis))
    check(kind(axis - len(shape)), input, lambda x: formula(x, axis=axis))


@pytest.mark.parametrize(("kind", "formula"), ALONG)
def test_the_first_dimension_is_the_usual_one_and_the_batch_is_skipped_when_it_is_there(kind, formula):
    (batch,) = distinct(3, (2, 3, 4))
    check(kind(), batch, lambda x: formula(x, axis=0))
    check(kind(1, 2), batch, lambda x: formula(x, axis=1))
    check(kind(1, 2), batch[0].detach().requires_grad_(), lambda x: formula(x, axis=0))


@pytest.mark.parametrize(("kind", "formula"), ALONG)
def test_what_a_vector_becomes_is_a_vector_of_one(kind, formula):
    (input,) = distinct(4, (5,))
    check(kind(1), input, lambda x: formula(x, axis=0, keepdims=True))


def test_a_sum_may_be_an_average_and_may_keep_its_dimension():
    (input,) = distinct(5, (2, 3))
    check(torch7.Sum(2, None, True), input, lambda x: x.mean(1))
    check(torch7.Sum(2, -1, False, False), input, lambda x: x.sum(1, keepdims=True))


def test_a_dimension_beyond_the_input_is_refused():
    with pytest.raises(ValueError, match="dimension 3 is out of range: the input has 2"):
        torch7.Sum(3)(torch.zeros(2, 2))


@pytest.mark.parametrize("constant", [None, "2", True])
def test_a_constant_must_be_a_number(constant):
    with pytest.raises(BadArgument, match=r"nn\.MulConstant needs a number: nn\.MulConstant\(0\.5\)"):
        torch7.MulConstant(constant)


def test_constants_leave_the_input_as_it_was():
    input = torch.ones(2)
    assert torch7.MulConstant(3, True)(input).tolist() == [3, 3]
    assert input.tolist() == [1, 1]
