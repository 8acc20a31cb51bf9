"""Torch7's activations: what they give, their gradients, and where they look for classes."""

import numpy as np
import pytest
import torch
from hypothesis import given

from jobs.torch7 import activations as torch7
from jobs.torch7.module import BadArgument
from tests.unit.torch7.exactly import check, distinct, few, seeds, shapes


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x, axis):
    raised = np.exp(x - x.max(axis, keepdims=True))
    return raised / raised.sum(axis, keepdims=True)


FUNCTIONS = [
    (torch7.ReLU(), lambda x: np.maximum(x, 0)),
    (torch7.ReLU(True), lambda x: np.maximum(x, 0)),
    (torch7.ReLU6(), lambda x: np.clip(x, 0, 6)),
    (torch7.Threshold(), lambda x: np.where(x > 1e-6, x, 0)),
    (torch7.Threshold(0, 1e-6), lambda x: np.where(x > 0, x, 1e-6)),
    (torch7.Threshold(0.5, -2, True), lambda x: np.where(x > 0.5, x, -2)),
    (torch7.LeakyReLU(), lambda x: np.where(x > 0, x, 0.01 * x)),
    (torch7.LeakyReLU(0.2, True), lambda x: np.where(x > 0, x, 0.2 * x)),
    (torch7.LeakyReLU(True), lambda x: np.where(x > 0, x, 0.01 * x)),
    (torch7.RReLU().eval(), lambda x: np.where(x > 0, x, (1 / 8 + 1 / 3) / 2 * x)),
    (torch7.PReLU(), lambda x: np.where(x > 0, x, 0.25 * x)),
    (torch7.ELU(), lambda x: np.where(x > 0, x, np.exp(x) - 1)),
    (torch7.ELU(0.3), lambda x: np.where(x > 0, x, 0.3 * (np.exp(x) - 1))),
    (torch7.HardTanh(), lambda x: np.clip(x, -1, 1)),
    (torch7.HardTanh(-0.5, 2), lambda x: np.clip(x, -0.5, 2)),
    (torch7.Clamp(-0.2, 0.4), lambda x: np.clip(x, -0.2, 0.4)),
    (torch7.ClippedReLU(0.3), lambda x: np.clip(x, 0, 0.3)),
    (torch7.Tanh(), np.tanh),
    (torch7.TanhShrink(), lambda x: x - np.tanh(x)),
    (torch7.Sigmoid(), sigmoid),
    (torch7.LogSigmoid(), lambda x: np.log(sigmoid(x))),
    (torch7.SoftSign(), lambda x: x / (1 + np.abs(x))),
    (torch7.SoftPlus(), lambda x: np.log1p(np.exp(x))),
    (torch7.SoftPlus(3), lambda x: np.log1p(np.exp(3 * x)) / 3),
    (torch7.SoftShrink(), lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0)),
    (torch7.HardShrink(0.8), lambda x: np.where(np.abs(x) > 0.8, x, 0)),
    (torch7.Abs(), np.abs),
]


@pytest.mark.parametrize(("module", "formula"), FUNCTIONS, ids=lambda part: getattr(part, "torch_name", ""))
@few
@given(seed=seeds, shape=shapes)
def test_a_function_of_single_values_is_its_formula(module, formula, seed, shape):
    (input,) = distinct(seed, shape)
    check(module, input, formula)


@pytest.mark.parametrize(
    "module", [torch7.ReLU(True), torch7.ReLU6(True), torch7.Threshold(0, 5, True), torch7.ELU(1, True)]
)
def test_in_place_leaves_the_input_as_it_was_for_the_label_hook(module):
    input = torch.tensor([-1.0, 2.0])
    module(input)
    assert input.tolist() == [-1, 2]
    assert module.in_place is True


# Where Torch looks for classes, by the number of dimensions of its input: PyTorch's habit is the last or the second.
@pytest.mark.parametrize(("dimensions", "axis"), [(1, 0), (2, 1), (3, 0), (4, 1)])
@few
@given(seed=seeds)
def test_soft_maxima_are_over_the_planes_of_images_and_the_classes_of_vectors(dimensions, axis, seed):
    (input,) = distinct(seed, (2, 3, 4, 2)[:dimensions])
    check(torch7.SoftMax(), input, lambda x: softmax(x, axis))
    check(torch7.SpatialSoftMax(), input, lambda x: softmax(x, axis))
    check(torch7.SoftMin(), input, lambda x: softmax(-x, axis))
    check(torch7.LogSoftMax(), input, lambda x: np.log(softmax(x, axis)))
    check(torch7.SpatialLogSoftMax(), input, lambda x: np.log(softmax(x, axis)))


def test_soft_maxima_refuse_five_dimensions():
    for batch in ((), (2,)):
        (volumes,) = distinct(1, (*batch, 3, 2, 1, 2))
        check(torch7.VolumetricSoftMax(), volumes, lambda x: softmax(x, -4))
        check(torch7.VolumetricLogSoftMax(), volumes, lambda x: np.log(softmax(x, -4)))
    with pytest.raises(ValueError, match=r"nn\.LogSoftMax takes one to four dimensions; the input has 5"):
        torch7.LogSoftMax()(torch.zeros(1, 1, 1, 1, 1))


@pytest.mark.parametrize(("shape", "axis"), [((3,), 0), ((2, 3), 1), ((3, 2, 2), 0), ((2, 3, 2, 2), 1)])
def test_the_planes_of_a_learnt_slope_come_first_in_an_image_without_its_batch(shape, axis):
    (input,) = distinct(0, shape)
    module = torch7.PReLU(3)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([0.1, 0.2, 0.3]))
    slopes = np.array([0.1, 0.2, 0.3], np.float32).astype(np.float64)
    slopes = slopes.reshape([3 if place == axis else 1 for place in range(len(shape))])
    check(module, input, lambda x: np.where(x > 0, x, slopes * x))


def test_random_slopes_stay_between_their_limits_and_differ():
    input = -torch.ones(1000)
    output = torch7.RReLU(0.1, 0.3)(input)
    assert -0.3 <= output.min() < output.max() <= -0.1


@pytest.mark.parametrize(("shape", "axis"), [((2, 3, 2), 0), ((2, 2, 3, 2), 1)])
def test_crelu_doubles_the_planes(shape, axis):
    (input,) = distinct(1, shape)
    check(torch7.CReLU(3), input, lambda x: np.concatenate([np.maximum(x, 0), np.maximum(-x, 0)], axis))


@few
@given(seed=seeds)
def test_gated_linear_units_halve_the_last_dimension_or_the_given_one(seed):
    (input,) = distinct(seed, (4, 6))
    check(torch7.GatedLinearUnit(), input, lambda x: x[:, :3] * sigmoid(x[:, 3:]))
    check(torch7.GatedLinearUnit(1), input, lambda x: x[:2] * sigmoid(x[2:]))


def test_gradient_reversal_gives_its_input_and_the_gradient_back_with_another_sign():
    (input,) = distinct(2, (2, 3))
    module = torch7.GradientReversal(0.5)
    assert torch.equal(module(input), input)
    module(input).sum().backward()
    assert input.grad.tolist() == [[-0.5] * 3] * 2
    module.set_factor(2)
    (gradient,) = torch.autograd.grad(module(input).sum(), input)
    assert gradient.tolist() == [[-2] * 3] * 2


@pytest.mark.parametrize(("size_average", "pull"), [(False, 0.5), (True, 0.125)])
def test_an_l1_penalty_is_in_the_gradient_and_not_in_the_output(size_average, pull):
    input = torch.tensor([[1.0, -2.0], [3.0, 0.0]], requires_grad=True)
    output = torch7.L1Penalty(0.5, size_average)(input)
    assert torch.equal(output, input)
    output.sum().backward()
    assert input.grad.tolist() == [[1 + pull, 1 - pull], [1 + pull, 1]]


@pytest.mark.parametrize(
    ("module", "printed"),
    [
        (torch7.ReLU(True), "nn.ReLU"),
        (torch7.Threshold(0, 1e-6), "nn.Threshold"),
        (torch7.LeakyReLU(0.2), "nn.LeakyReLU(0.2)"),
        (torch7.ELU(), "nn.ELU (alpha:1.000000)"),
        (torch7.RReLU(), "nn.RReLU (l:0.125000, u:0.333333)"),
        (torch7.LogSoftMax(), "nn.LogSoftMax"),
        (torch7.HardTanh(), "nn.HardTanh"),
    ],
)
def test_activations_print_as_in_torch(module, printed):
    assert module.described() == printed


def test_the_gradient_of_a_size_is_one_at_zero():
    input = torch.tensor([-2.0, 0.0, 3.0], requires_grad=True)
    output = torch7.Abs()(input)
    output.sum().backward()
    assert output.tolist() == [2, 0, 3]
    assert input.grad.tolist() == [-1, 1, 1]


def test_limits_in_the_wrong_order_are_refused():
    with pytest.raises(BadArgument, match="the second must be larger"):
        torch7.HardTanh(1, -1)
    with pytest.raises(BadArgument, match="it takes 0 ≤ lower ≤ upper"):
        torch7.RReLU(0.5, 0.1)
