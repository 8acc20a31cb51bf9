"""Torch7's tables: joined, split, selected from, and computed with."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from jobs.torch7 import tables as torch7
from jobs.torch7.module import BadArgument
from tests.unit.torch7.exactly import assert_same, check, distinct, few, seeds, shapes


@few
@given(seed=seeds)
def test_tables_are_joined_along_a_dimension_counted_from_1_beside_the_batch(seed):
    parts = distinct(seed, (2, 3), (2, 1))
    check(torch7.JoinTable(2), parts, lambda both: np.concatenate(both, 1))
    check(torch7.JoinTable(-1), parts, lambda both: np.concatenate(both, 1))
    check(torch7.JoinTable(1, 1), parts, lambda both: np.concatenate(both, 1))
    vectors = distinct(seed, (3,), (2,))
    check(torch7.JoinTable(1, 1), vectors, np.concatenate)


@few
@given(seed=seeds)
def test_a_tensor_is_split_into_its_slices_beside_the_batch(seed):
    (input,) = distinct(seed, (2, 3, 2))
    check(torch7.SplitTable(2), input, lambda x: list(x.swapaxes(0, 1)))
    check(torch7.SplitTable(-2), input, lambda x: list(x.swapaxes(0, 1)))
    check(torch7.SplitTable(1, 2), input, lambda x: list(x.swapaxes(0, 1)))
    check(torch7.SplitTable(1, 3), input, list)


def test_a_vector_is_not_split():
    with pytest.raises(ValueError, match=r"nn\.SplitTable cannot select from a vector"):
        torch7.SplitTable(1)(torch.zeros(3))


def test_entries_are_selected_by_number_from_the_end_and_by_name():
    first, second = distinct(0, (2,), (3,))
    check(torch7.SelectTable(1), [first, second], lambda both: both[0])
    check(torch7.SelectTable(-1), [first, second], lambda both: both[1])
    assert_same(torch7.SelectTable("code")({"code": first, "other": second}), first.detach().numpy())
    assert_same(torch7.SelectTable(2)([first, [second, first]]), [second.detach().numpy(), first.detach().numpy()])
    with pytest.raises(ValueError, match=r"nn\.SelectTable asks for number 3, and there are 2"):
        torch7.SelectTable(3)([first, second])
    with pytest.raises(ValueError, match="'mean' does not exist in the input table"):
        torch7.SelectTable("mean")({"code": first})


def test_entries_are_taken_flattened_reversed_and_zipped():
    a, b, c, d = distinct(0, (1,), (2,), (2,), (1,))
    check(torch7.NarrowTable(2, 2), [a, b, c, d], lambda parts: parts[1:3])
    check(torch7.NarrowTable(3), [a, b, c], lambda parts: parts[2:])
    check(torch7.FlattenTable(), [a, [b, [c]], d], lambda parts: [parts[0], parts[1][0], parts[1][1][0], parts[2]])
    check(torch7.ReverseTable(), [a, b, c], lambda parts: parts[::-1])
    check(torch7.ZipTable(), [[a, b], [c, d]], lambda parts: [[parts[0][0], parts[1][0]], [parts[0][1], parts[1][1]]])
    check(torch7.ZipTableOneToMany(), [a, [b, c]], lambda parts: [[parts[0], part] for part in parts[1]])


def test_tables_that_are_too_short_or_none_are_refused():
    with pytest.raises(ValueError, match=r"nn\.NarrowTable asks for numbers 2 to 3, and there are 2"):
        torch7.NarrowTable(2, 2)([torch.zeros(1), torch.zeros(1)])
    with pytest.raises(ValueError, match=r"nn\.CAddTable takes a table, got a tensor of 2x3"):
        torch7.CAddTable()(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="takes a table of 2 or more, got one of 1"):
        torch7.CSubTable()([torch.zeros(2, 3)])
    with pytest.raises(ValueError, match=r"takes tables of one length, got \[1, 2\]"):
        torch7.ZipTable()([[torch.zeros(1)], [torch.zeros(1), torch.zeros(1)]])


@pytest.mark.parametrize(
    ("module", "formula"),
    [
        (torch7.CAddTable(), lambda a, b, c: a + b + c),
        (torch7.CAddTable(True), lambda a, b, c: a + b + c),
        (torch7.CAveTable(), lambda a, b, c: (a + b + c) / 3),
        (torch7.CMulTable(), lambda a, b, c: a * b * c),
        (torch7.CSubTable(), lambda a, b, c: a - b),
        (torch7.CDivTable(), lambda a, b, c: a / b),
        (torch7.CMaxTable(), lambda a, b, c: np.maximum(np.maximum(a, b), c)),
        (torch7.CMinTable(), lambda a, b, c: np.minimum(np.minimum(a, b), c)),
    ],
    ids=lambda part: getattr(part, "torch_name", ""),
)
@few
@given(seed=seeds, shape=shapes)
def test_tables_are_computed_with_value_by_value(module, formula, seed, shape):
    parts = distinct(seed, shape, shape, shape)
    if isinstance(module, torch7.CSubTable | torch7.CDivTable):
        check(module, parts[:2], lambda both: formula(*both, None))
    else:
        check(module, parts, lambda all_three: formula(*all_three))


def test_tables_are_compared_by_their_number_of_values_and_never_stretched():
    column, row = torch.ones(3, 1), torch.arange(3.0)
    assert torch7.CAddTable()([column, row]).tolist() == [[1], [2], [3]]
    with pytest.raises(ValueError, match="got tensors of 3x1 and 1; they must have as many values"):
        torch7.CAddTable()([column, torch.ones(1)])


def test_in_place_addition_leaves_its_input():
    first = torch.ones(2)
    torch7.CAddTable(True)([first, first])
    assert first.tolist() == [1, 1]


@pytest.mark.parametrize("module", [torch7.CMaxTable(), torch7.CMinTable()])
def test_of_equal_values_the_first_gets_the_gradient(module):
    first, second = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    module([first, second]).sum().backward()
    assert (first.grad.tolist(), second.grad.tolist()) == ([1, 1], [0, 0])


@few
@given(seed=seeds)
def test_a_tensor_is_added_to_all_of_a_table(seed):
    one, a, b = distinct(seed, (2, 2), (2, 2), (2, 2))
    check(torch7.CAddTensorTable(), [one, [a, b]], lambda parts: [parts[0] + parts[1][0], parts[0] + parts[1][1]])


@few
@given(seed=seeds, batch=st.integers(1, 3), experts=st.integers(1, 3))
def test_a_mixture_is_the_sum_of_the_experts_times_their_gates(seed, batch, experts):
    gates, values = distinct(seed, (batch, experts), (batch, experts, 2, 2))
    parts = [part.detach().clone().requires_grad_() for part in values.unbind(1)]
    check(torch7.MixtureTable(), [gates, parts], lambda both: np.einsum("be,ebij->bij", both[0], np.stack(both[1])))
    check(torch7.MixtureTable(), [gates, values], lambda both: np.einsum("be,beij->bij", *both))
    last = values.detach().movedim(1, 3).clone().requires_grad_()
    check(torch7.MixtureTable(4), [gates, last], lambda both: np.einsum("be,bije->bij", *both))
    alone = [gates[0].detach().requires_grad_(), values[0].detach().requires_grad_()]
    check(torch7.MixtureTable(), alone, lambda both: np.einsum("e,eij->ij", *both))


def test_a_mixture_needs_a_gate_for_every_expert():
    with pytest.raises(ValueError, match="Should be one gater output per expert: 3 for 2 experts"):
        torch7.MixtureTable()([torch.zeros(1, 3), [torch.zeros(1, 4), torch.zeros(1, 4)]])


@few
@given(seed=seeds, sides=st.tuples(*[st.integers(1, 3)] * 4), turn=st.tuples(st.booleans(), st.booleans()))
def test_matrices_are_multiplied_turned_or_not(seed, sides, turn):
    batch, rows, between, columns = sides
    first, second = distinct(seed, (batch, rows, between), (batch, between, columns))
    given_first, given_second = (
        part.detach().transpose(1, 2).clone().requires_grad_() if is_turned else part
        for part, is_turned in zip((first, second), turn, strict=True)
    )
    expected = first.detach().numpy() @ second.detach().numpy()
    module = torch7.MM(*turn)
    check(module, [given_first, given_second], lambda both: expected)
    check(module, [given_first[0].detach().requires_grad_(), given_second[0].detach()], lambda both: expected[0])


@few
@given(seed=seeds, sides=st.tuples(*[st.integers(1, 3)] * 3))
def test_a_matrix_is_multiplied_with_a_vector(seed, sides):
    batch, rows, columns = sides
    matrix, vector = distinct(seed, (batch, rows, columns), (batch, columns))
    check(torch7.MV(), [matrix, vector], lambda both: np.einsum("brc,bc->br", *both))
    turned = matrix.detach().transpose(1, 2).clone().requires_grad_()
    check(torch7.MV(True), [turned, vector], lambda both: np.einsum("bcr,bc->br", *both))
    check(torch7.MV(), [matrix[0].detach().requires_grad_(), vector[0].detach()], lambda both: both[0] @ both[1])


def test_matrices_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="matrix sizes do not match: 2x3 and 2x3"):
        torch7.MM()([torch.zeros(2, 3), torch.zeros(2, 3)])
    with pytest.raises(ValueError, match="a matrix of 2x3 and a vector of 2 do not match"):
        torch7.MV()([torch.zeros(2, 3), torch.zeros(2)])
    with pytest.raises(ValueError, match="the first tensor must be 2D or 3D, it is 3"):
        torch7.MM()([torch.zeros(3), torch.zeros(3)])


def norm(p):
    return lambda both: (np.abs(both[0] - both[1]) ** p).sum(1) ** (1 / p)


@pytest.mark.parametrize(
    ("module", "formula"),
    [
        (torch7.DotProduct(), lambda both: (both[0] * both[1]).sum(1)),
        (
            torch7.CosineDistance(),
            lambda both: (
                (both[0] * both[1]).sum(1) / np.sqrt(((both[0] ** 2).sum(1) + 1e-12) * ((both[1] ** 2).sum(1) + 1e-12))
            ),
        ),
        (torch7.PairwiseDistance(), norm(2)),
        (torch7.PairwiseDistance(1), norm(1)),
        (torch7.PairwiseDistance(3), norm(3)),
    ],
    ids=["DotProduct", "CosineDistance", "PairwiseDistance", "PairwiseDistance 1", "PairwiseDistance 3"],
)
@few
@given(seed=seeds, shape=st.tuples(st.integers(1, 3), st.integers(1, 4)))
def test_products_and_distances_are_one_number_a_row(module, formula, seed, shape):
    parts = distinct(seed, shape, shape)
    check(module, parts, formula)
    row = [part[0].detach().requires_grad_() for part in parts]
    check(module, row, lambda both: formula([both[0][None], both[1][None]]))


def test_the_distance_of_equal_vectors_has_a_gradient():
    first = torch.ones(1, 3, requires_grad=True)
    torch7.PairwiseDistance()([first, torch.ones(1, 3)]).sum().backward()
    assert first.grad.tolist() == [[0, 0, 0]]


def test_a_criterion_is_a_module():
    output, target = distinct(0, (2, 3), (2, 3))
    check(torch7.CriterionTable(nn.MSELoss()), [output, target], lambda both: [((both[0] - both[1]) ** 2).mean()])
    with pytest.raises(BadArgument, match="takes a criterion"):
        torch7.CriterionTable("MSE")


def test_what_is_passed_on_is_a_tensor_of_its_own():
    (input,) = distinct(0, (2,))
    assert torch7.SelectTable(1)([input]) is not input
    assert torch7.CAddTable()([input]) is not input


def test_tables_print_as_in_torch():
    assert torch7.SelectTable(-1).described() == "nn.SelectTable(-1)"
    assert torch7.JoinTable(2).described() == "nn.JoinTable"
