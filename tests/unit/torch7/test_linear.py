"""Torch7's Linear and its kin: what they give, their gradients, their first weights, and how Torch prints them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from jobs.torch7 import linear as torch7
from jobs.torch7.module import BadArgument
from tests.unit.torch7.exactly import check, distinct, few, seeds
from tests.unit.torch7.windows import numbers

sizes = st.integers(1, 4)
# A vector, or a batch of so many.
batches = st.sampled_from([(), (1,), (3,)])


@few
@given(seed=seeds, batch=batches, inputs=sizes, outputs=sizes, bias=st.booleans())
def test_linear_is_its_formula(seed, batch, inputs, outputs, bias):
    module = torch7.Linear(inputs, outputs, bias)
    (input,) = distinct(seed, (*batch, inputs))
    check(module, input, lambda x: x @ numbers(module.weight).T + (numbers(module.bias) if bias else 0))


def test_linear_has_the_weights_of_its_python_twin():
    torch.manual_seed(3)
    twin = nn.Linear(784, 300)
    torch.manual_seed(3)
    module = torch7.Linear(784, 300)
    assert torch.equal(module.weight, twin.weight)
    assert torch.equal(module.bias, twin.bias)


@pytest.mark.parametrize(
    ("module", "printed"),
    [
        (torch7.Linear(784, 300), "nn.Linear(784 -> 300)"),
        (torch7.Linear(784, 300, False), "nn.Linear(784 -> 300) without bias"),
        # In Lua only nil and false are false.
        (torch7.Linear(784, 300, 0), "nn.Linear(784 -> 300)"),
        (torch7.LinearWeightNorm(5, 4), "nn.LinearWeightNorm(5 -> 4)"),
        (torch7.LinearWeightNorm(5, 4, False), "nn.LinearWeightNorm(5 -> 4) without bias"),
        (torch7.Bilinear(3, 4, 5), "nn.Bilinear(3x4 -> 5)"),
        (torch7.CMul(1, 4), "nn.CMul"),
    ],
)
def test_layers_are_printed_as_torch_prints_them(module, printed):
    assert module.described() == printed


def test_no_bias_takes_the_bias_away():
    module = torch7.Linear(3, 2)
    assert module.remove_bias() is None
    assert [name for name, _ in module.named_parameters()] == ["weight"]
    assert module.described() == "nn.Linear(3 -> 2) without bias"
    assert module(torch.ones(3)).shape == (2,)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "nn.Linear got nil for inputSize; it takes a whole number from 1 on, as in nn.Linear(784, 300)"),
        ((784,), "nn.Linear got nil for outputSize; it takes a whole number from 1 on, as in nn.Linear(784, 300)"),
        ((7.5, 3), "nn.Linear got 7.5 for inputSize; it takes a whole number from 1 on, as in nn.Linear(784, 300)"),
        ((True, 3), "nn.Linear got true for inputSize; it takes a whole number from 1 on, as in nn.Linear(784, 300)"),
        (([2], 3), "nn.Linear got a table for inputSize; it takes a whole number from 1 on, as in nn.Linear(784, 300)"),
        ((2**20, 2**20), "nn.Linear would have 1,099,511,627,776 weights; at most 2,147,483,648 are possible"),
    ],
)
def test_linear_says_which_size_does_not_fit(arguments, sentence):
    with pytest.raises(BadArgument) as caught:
        torch7.Linear(*arguments)
    assert str(caught.value) == sentence


def test_linear_takes_no_images_even_when_their_last_side_fits():
    with pytest.raises(ValueError, match=r"nn.Linear takes an input of 1 or 2 dimensions; it got 4: 2x1x28x28"):
        torch7.Linear(28, 3)(torch.zeros(2, 1, 28, 28))


@few
@given(seed=seeds, batch=batches, inputs=sizes, outputs=sizes, bias=st.booleans())
def test_weight_norm_is_a_direction_and_a_length(seed, batch, inputs, outputs, bias):
    module = torch7.LinearWeightNorm(inputs, outputs, bias)
    (input,) = distinct(seed, (*batch, inputs))
    with torch.no_grad():
        module.g.mul_(1.5)

    def formula(x):
        v = numbers(module.v)
        weight = numbers(module.g) * v / np.sqrt((v**2).sum(1, keepdims=True))
        return x @ weight.T + (numbers(module.bias) if bias else 0)

    check(module, input, formula)


def test_weight_norm_begins_with_its_weights_as_drawn():
    module = torch7.LinearWeightNorm(6, 4)
    assert torch.allclose(module.weight, module.v)
    module.reset(0.1)
    assert torch.allclose(module.weight, module.v)
    assert module.v.abs().max() <= 0.1 * np.sqrt(3)


@few
@given(seed=seeds, batch=st.integers(1, 3), first=sizes, second=sizes, outputs=sizes, bias=st.booleans())
def test_bilinear_takes_a_table_of_two(seed, batch, first, second, outputs, bias):
    module = torch7.Bilinear(first, second, outputs, bias)
    inputs = distinct(seed, (batch, first), (batch, second))

    def formula(tables):
        product = np.einsum("ni,oij,nj->no", tables[0], numbers(module.weight), tables[1])
        return product + (numbers(module.bias) if bias else 0)

    check(module, inputs, formula)


def test_bilinear_refuses_what_is_no_table_of_two():
    with pytest.raises(ValueError, match=r"nn.Bilinear takes a table of two tensors; it got a tensor"):
        torch7.Bilinear(2, 2, 1)(torch.zeros(3, 2))


@few
@given(seed=seeds, batch=batches, size=sizes)
def test_add_has_a_number_for_each_value_or_one_for_all(seed, batch, size):
    (input,) = distinct(seed, (*batch, size))
    module = torch7.Add(size)
    check(module, input, lambda x: x + numbers(module.bias))
    one = torch7.Add(size, True)
    assert one.bias.shape == (1,)
    check(one, input, lambda x: x + numbers(one.bias))
    times = torch7.Mul()
    check(times, input, lambda x: x * numbers(times.weight))


@pytest.mark.parametrize(
    ("own", "shape", "as_seen"),
    [
        ((6,), (6,), (6,)),
        # As many values as the input: by order, whatever the shapes.
        ((6,), (2, 3), (2, 3)),
        ((2, 3), (1, 6), (1, 6)),
        # A dimension of one goes for all.
        ((1, 3, 1, 1), (2, 3, 4, 5), (1, 3, 1, 1)),
        ((1, 1, 4, 5), (2, 3, 4, 5), (1, 1, 4, 5)),
        # Else the values are those of one sample: nothing like PyTorch's rule of last dimensions.
        ((12,), (2, 3, 4), (1, 3, 4)),
        ((3, 4), (2, 3, 4), (1, 3, 4)),
        ((1,), (2, 3), (1, 1)),
    ],
)
def test_values_fit_their_input_as_torch_fits_them(own, shape, as_seen):
    (input,) = distinct(5, shape)
    times, plus = torch7.CMul(*own), torch7.CAdd(*own)
    check(times, input, lambda x: x * numbers(times.weight).reshape(as_seen))
    check(plus, input, lambda x: x + numbers(plus.bias).reshape(as_seen))


def test_values_that_do_not_fit_are_said_with_both_sizes():
    with pytest.raises(ValueError, match=r"nn.CMul has 5 values; it got an input of 2x3"):
        torch7.CMul(5)(torch.zeros(2, 3))


def test_sizes_may_come_in_one_table_and_must_come():
    assert torch7.CAdd([2, 3]).bias.shape == (2, 3)
    with pytest.raises(BadArgument, match=r"nn.CMul needs the sizes of its values, as in nn.CMul\(1, 16, 1, 1\)"):
        torch7.CMul()


def test_values_are_drawn_by_how_many_they_are():
    module = torch7.CMul(10_000)
    assert 0.0099 < module.weight.abs().max() <= 0.01
    module.reset(0.5)
    assert module.weight.std().item() == pytest.approx(0.5, rel=0.05)


@few
@given(seed=seeds, batch=batches, inputs=sizes, outputs=sizes)
def test_cosine_is_that_of_the_angle(seed, batch, inputs, outputs):
    module = torch7.Cosine(inputs, outputs)
    (input,) = distinct(seed, (*batch, inputs))

    def formula(x):
        weight = numbers(module.weight)
        return x @ weight.T / np.linalg.norm(weight, axis=1) / np.linalg.norm(x, axis=-1, keepdims=True)

    check(module, input, formula)


@few
@given(seed=seeds, batch=batches, inputs=sizes, outputs=sizes)
def test_euclidean_is_the_distance_to_each_column(seed, batch, inputs, outputs):
    (input,) = distinct(seed, (*batch, inputs))
    plain, weighted = torch7.Euclidean(inputs, outputs), torch7.WeightedEuclidean(inputs, outputs)
    assert plain.weight.shape == (inputs, outputs)
    check(plain, input, lambda x: np.sqrt(((x[..., None] - numbers(plain.weight)) ** 2).sum(-2)))
    with torch.no_grad():
        weighted.diagCov.uniform_(0.5, 2)

    def formula(x):
        return np.sqrt((((x[..., None] - numbers(weighted.weight)) * numbers(weighted.diagCov)) ** 2).sum(-2))

    check(weighted, input, formula)


def test_a_distance_of_zero_has_a_gradient():
    module = torch7.Euclidean(2, 1)
    input = module.weight.detach().reshape(1, 2).clone().requires_grad_()
    module(input).sum().backward()
    assert torch.equal(input.grad, torch.zeros(1, 2))


def test_reset_of_weighted_euclidean_begins_with_factors_of_one():
    module = torch7.WeightedEuclidean(3, 2)
    with torch.no_grad():
        module.diagCov.fill_(7)
    module.reset()
    assert (module.diagCov == 1).all()


def test_a_partial_linear_computes_the_outputs_of_its_partition():
    layer = torch7.PartialLinear(3, 4)
    input = torch.rand(2, 3)
    whole = layer(input)
    layer.set_partition(torch.tensor([4.0, 2.0]))
    torch.testing.assert_close(layer(input), whole[:, [3, 1]])
    layer(input).sum().backward()
    assert layer.weight.grad.abs().sum(1).gt(0).tolist() == [False, True, False, True]
    layer.reset_partition()
    assert torch.equal(layer(input), whole)
    with pytest.raises(BadArgument, match=r"setPartition takes numbers of outputs, from 1 to 4"):
        layer.set_partition([5])
