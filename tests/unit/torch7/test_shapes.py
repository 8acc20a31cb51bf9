"""Torch7's shapes: what it takes for a batch, dimensions counted from 1, and tensors that never lose their last dimension."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from jobs.torch7 import shapes as torch7
from jobs.torch7.module import BadArgument
from tests.unit.torch7.exactly import check, distinct, few, seeds, shapes


def shape_after(module, *shape):
    return tuple(module(torch.zeros(shape)).shape)


def view(*sizes, dims=None):
    module = torch7.View(*sizes)
    if dims is not None:
        module.set_num_input_dims(dims)
    return module


# The rule of digits.md 3.11, case by case.
@pytest.mark.parametrize(
    ("module", "before", "after"),
    [
        # The seed: a batch of one image is still a batch.
        (view(-1, dims=3), (16, 1, 28, 28), (16, 784)),
        (view(-1, dims=3), (1, 1, 28, 28), (1, 784)),
        (view(-1, dims=3), (1, 28, 28), (784,)),
        (view(1, 28, 28, dims=1), (16, 784), (16, 1, 28, 28)),
        (view(1, 28, 28, dims=1), (1, 784), (1, 1, 28, 28)),
        (view(1, 28, 28, dims=1), (784,), (1, 28, 28)),
        (view(1024, dims=3), (8, 1024, 1, 1), (8, 1024)),
        # AlexNet: without setNumInputDims a batch of one image loses its first dimension.
        (view(9216), (2, 256, 6, 6), (2, 9216)),
        (view(9216), (1, 256, 6, 6), (9216,)),
        (view(9216), (256, 6, 6), (9216,)),
        # Text classification: the sizes are all there is.
        (view(-1, 70), (5, 1, 40, 70), (200, 70)),
        # Without setNumInputDims nobody knows of a batch.
        (view(-1), (4, 3, 2), (24,)),
        (view(2, -1), (4, 3), (2, 6)),
        (view(6), (4, 3, 2, 1), (4, 6)),
        (view(6), (8, 3), (4, 6)),
        # What lies before the input's dimensions is all batch.
        (view(6, dims=2), (5, 4, 3, 2), (20, 6)),
        (view(3, dims=2), (5, 4, 3), (20, 3)),
        (view(-1, 3, dims=2), (5, 4, 3), (5, 4, 3)),
        (view([2, 3], dims=1), (5, 6), (5, 2, 3)),
    ],
)
def test_view_keeps_the_batch_that_torch_would_keep(module, before, after):
    assert shape_after(module, *before) == after


@few
@given(seed=seeds, batch=st.integers(1, 3), shape=shapes)
def test_a_view_keeps_all_values_in_their_order(seed, batch, shape):
    (input,) = distinct(seed, (batch, *shape))
    check(view(-1, dims=len(shape)), input, lambda x: x.reshape(batch, -1))
    check(view(1, -1, dims=len(shape)), input.transpose(0, -1), lambda x: x.reshape(x.shape[0], 1, -1))


def test_a_view_of_other_values_says_both_sizes():
    with pytest.raises(ValueError, match=r"input view \(2x5\) and desired view \(3\) do not match"):
        view(3, dims=1)(torch.zeros(2, 5))


def test_a_view_gets_other_sizes():
    module = view(6)
    module.reset_size(2, 3)
    assert (module.sizes, module.element_count) == ([2, 3], 6)
    assert shape_after(module, 4, 6) == (4, 2, 3)


@pytest.mark.parametrize(
    ("sizes", "sentence"),
    [
        ((), r"nn\.View needs sizes: nn\.View\(1, 28, 28\)"),
        ((-1, -1), r"nn\.View got -1 twice; only one size can be inferred"),
        ((-2,), "whole numbers from 1 on, or -1 for what is left"),
        ((2.5,), r"got the size 2\.5"),
        ((None, 3), "got the size nil"),
    ],
)
def test_sizes_that_are_none_are_refused(sizes, sentence):
    with pytest.raises(BadArgument, match=sentence):
        torch7.View(*sizes)


@pytest.mark.parametrize("module", [torch7.View(-1), torch7.Squeeze(), torch7.Unsqueeze(1)])
def test_the_number_of_input_dimensions_is_a_whole_number_or_none(module):
    with pytest.raises(BadArgument, match=r"got 'three' for dimensions; it takes a whole number from 1 on"):
        module.set_num_input_dims("three")
    assert module.num_input_dims is None
    assert module.lua_methods()["setNumInputDims"] == "set_num_input_dims"


@pytest.mark.parametrize(
    ("arguments", "before", "after"),
    [
        ((1, 28, 28), (28, 28), (1, 28, 28)),
        ((1, 28, 28), (16, 28, 28), (16, 1, 28, 28)),
        ((1, 28, 28), (1, 28, 28), (1, 1, 28, 28)),
        ((6,), (2, 3), (6,)),
        ((6,), (1, 6), (1, 6)),
        ((2, 3, True), (6, 1), None),
        ((3, True), (2, 3), (2, 3)),
        ((6, False), (1, 6), (6,)),
        (([2, 3],), (5, 6), (5, 2, 3)),
        (([2, 3], True), (5, 6), (5, 2, 3)),
        ((2, 3, None), (5, 6), (5, 2, 3)),
    ],
)
def test_reshape_takes_as_many_values_as_its_sizes_for_one_image_unless_the_first_size_is_1(arguments, before, after):
    module = torch7.Reshape(*arguments)
    if after is None:
        with pytest.raises(RuntimeError):
            shape_after(module, *before)
    else:
        assert shape_after(module, *before) == after


def test_identities_give_the_values_in_tensors_of_their_own():
    (input,) = distinct(0, (2, 3))
    for module in (torch7.Identity(), torch7.Copy("torch.FloatTensor", "torch.CudaTensor"), torch7.Contiguous()):
        check(module, input, lambda x: x)
        assert module(input) is not input
    nested = torch7.Identity()([input, [input]])
    assert torch.equal(nested[1][0], input)
    assert torch.equal(torch7.Identity()({"code": input})["code"], input)
    assert torch7.Contiguous()(input.t()).is_contiguous()


def test_nothing_is_learnt_through_a_zero_gradient():
    (input,) = distinct(0, (2, 3))
    assert torch.equal(torch7.ZeroGrad()(input), input)
    assert not torch7.ZeroGrad()(input).requires_grad


@pytest.mark.parametrize(("before", "after"), [((2, 3, 4), (24,)), ((5, 2, 3, 4), (5, 24)), ((1, 2, 3, 4), (1, 24))])
def test_collapse_leaves_the_batch(before, after):
    assert shape_after(torch7.Collapse(3), *before) == after


@pytest.mark.parametrize(
    ("module", "before", "after"),
    [
        (torch7.Squeeze(), (2, 1, 3, 1), (2, 3)),
        (torch7.Squeeze(), (1, 1), (1,)),
        (torch7.Squeeze(2), (2, 1, 1), (2, 1)),
        (torch7.Squeeze(1), (2, 1), (2, 1)),
        (torch7.Squeeze(1), (1,), (1,)),
        (torch7.Squeeze(1, 2), (4, 1, 3), (4, 3)),
        (torch7.Squeeze(1, 2), (1, 3), (3,)),
        (torch7.Squeeze(None, 3), (1, 1, 5, 1), (1, 5)),
        (torch7.Squeeze(None, 3), (4, 1, 5, 1), (4, 5)),
        (torch7.Squeeze(None, 3), (1, 5, 1), (5,)),
        (torch7.Unsqueeze(1), (2, 3), (1, 2, 3)),
        (torch7.Unsqueeze(3), (2, 3), (2, 3, 1)),
        (torch7.Unsqueeze(1, 1), (2, 3), (2, 1, 3)),
        (torch7.Unsqueeze(2, 1), (2, 3), (2, 3, 1)),
        (torch7.Replicate(4), (2, 3), (4, 2, 3)),
        (torch7.Replicate(4, 2), (2, 3), (2, 4, 3)),
        (torch7.Replicate(4, 3), (2, 3), (2, 3, 4)),
        (torch7.Replicate(4, 1, 1), (2, 3), (2, 4, 3)),
        (torch7.Transpose([1, 3]), (2, 3, 4), (4, 3, 2)),
        (torch7.Transpose([1, 2], [2, 3]), (2, 3, 4), (3, 4, 2)),
        (torch7.Transpose([1, -1]), (2, 3, 4), (4, 3, 2)),
    ],
)
def test_dimensions_come_go_and_change_places_as_in_torch(module, before, after):
    assert shape_after(module, *before) == after


def test_no_dimension_is_added_behind_a_gap():
    with pytest.raises(ValueError, match="position 4 lies behind the dimensions of the input, which has 2"):
        torch7.Unsqueeze(4)(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="Not enough input dimensions to replicate along dimension 4"):
        torch7.Replicate(2, 4)(torch.zeros(2, 3))


@few
@given(seed=seeds, shape=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)))
def test_repeated_and_swapped_values_get_their_gradients(seed, shape):
    (input,) = distinct(seed, shape)
    check(torch7.Replicate(3, 2), input, lambda x: np.repeat(x[:, None], 3, axis=1))
    check(torch7.Transpose([1, 2], [1, 3]), input, lambda x: x.swapaxes(0, 1).swapaxes(0, 2))


NARROWED = [
    ((1, 2), slice(1, 2)),
    ((1, 2, 3), slice(1, 4)),
    ((1, 1, 5), slice(0, 5)),
    # -1 is the last one, -2 the one before.
    ((1, 2, -1), slice(1, 5)),
    ((1, 1, -2), slice(0, 4)),
    ((-2, 3, 2), slice(2, 4)),
    # A negative offset leaves out the end.
    ((1, -1, 2), slice(0, 3)),
]


@pytest.mark.parametrize(("arguments", "kept"), NARROWED)
@few
@given(seed=seeds)
def test_narrow_counts_from_1_and_back_from_the_end(arguments, kept, seed):
    (input,) = distinct(seed, (5, 2))
    check(torch7.Narrow(*arguments), input, lambda x: x[kept])


@pytest.mark.parametrize("arguments", [(1, 4, 3), (1, 6), (1, 0, 2)])
def test_narrow_refuses_what_is_not_there(arguments):
    with pytest.raises(ValueError, match="do not lie within the 5 of dimension 1"):
        torch7.Narrow(*arguments)(torch.zeros(5, 2))


@few
@given(seed=seeds, data=st.data())
def test_select_counts_from_1_and_from_the_end(seed, data):
    shape = data.draw(st.lists(st.integers(1, 3), min_size=2, max_size=4))
    axis = data.draw(st.integers(0, len(shape) - 1))
    index = data.draw(st.integers(0, shape[axis] - 1))
    (input,) = distinct(seed, shape)
    check(torch7.Select(axis + 1, index + 1), input, lambda x: x.take(index, axis))
    check(torch7.Select(axis - len(shape), index - shape[axis]), input, lambda x: x.take(index, axis))


def test_select_needs_a_matrix_and_a_number_that_is_there():
    with pytest.raises(ValueError, match=r"nn\.Select cannot select from a vector"):
        torch7.Select(1, 1)(torch.zeros(3))
    with pytest.raises(ValueError, match=r"nn\.Select asks for number 4, and there are 3"):
        torch7.Select(1, 4)(torch.zeros(3, 2))
    with pytest.raises(BadArgument, match=r"got nil for index"):
        torch7.Select(1, None)


@few
@given(seed=seeds)
def test_index_counts_from_1(seed):
    (values,) = distinct(seed, (3, 2))
    check(torch7.Index(1), [values, torch.tensor([3.0, 1.0, 3.0])], lambda both: both[0][[2, 0, 2]])
    check(torch7.Index(2), [values, torch.tensor([2])], lambda both: both[0][:, [1]])


@few
@given(seed=seeds)
def test_a_mask_selects_a_vector(seed):
    (values,) = distinct(seed, (2, 2))
    mask = torch.tensor([[1, 0], [1, 1]], dtype=torch.uint8)
    check(torch7.MaskedSelect(), [values, mask], lambda both: both[0][both[1].astype(bool)])


def test_a_constant_is_the_same_for_every_image():
    module = torch7.Constant(torch.tensor([[1.0, 2.0]]), 3)
    assert module(torch.zeros(4, 3, 5, 5)).tolist() == [[[1, 2]]] * 4
    assert module(torch.zeros(3, 5, 5)).tolist() == [[1, 2]]
    assert torch7.Constant(7)(torch.zeros(3)).tolist() == [7]


@pytest.mark.parametrize(
    ("module", "printed"),
    [
        (torch7.View(-1), "nn.View(-1)"),
        (torch7.View(1, 28, 28), "nn.View(1, 28, 28)"),
        (torch7.Reshape(1, 28, 28), "nn.Reshape(1x28x28)"),
        (torch7.Unsqueeze(2), "nn.Unsqueeze(dim 2)"),
        (torch7.Identity(), "nn.Identity"),
        (torch7.Narrow(2, 2, 2), "nn.Narrow"),
    ],
)
def test_shapes_print_as_in_torch(module, printed):
    assert module.described() == printed
