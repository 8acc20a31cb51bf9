"""Torch7's normalizations: first weights, batches, windows of planes and neighbours, and gradients of blank images."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from jobs.torch7 import normalization as torch7
from jobs.torch7.module import BadArgument
from tests.unit.torch7.exactly import check, distinct, few, seeds
from tests.unit.torch7.windows import numbers, windows

BATCH = [
    (torch7.BatchNormalization, (4, 3)),
    (torch7.SpatialBatchNormalization, (2, 3, 2, 3)),
    (torch7.VolumetricBatchNormalization, (2, 3, 2, 1, 2)),
]
batches = st.sampled_from([(), (1,), (2,)])


def by_plane(values, dimensions):
    return values.reshape(1, -1, *[1] * (dimensions - 2))


@pytest.mark.parametrize(("kind", "shape"), BATCH)
@few
@given(seed=seeds, eps=st.sampled_from([None, 0.5]))
def test_a_batch_is_normalized_plane_by_plane(kind, shape, seed, eps):
    module = kind(3, eps)
    (input,) = distinct(seed, shape)
    axes = (0, *range(2, len(shape)))

    def learning(x):
        mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
        normal = (x - mean) / np.sqrt(variance + (eps or 1e-5))
        return normal * by_plane(numbers(module.weight), x.ndim) + by_plane(numbers(module.bias), x.ndim)

    check(module, input, learning)
    mean, variance = numbers(module.running_mean), numbers(module.running_var)

    def tested(x):
        normal = (x - by_plane(mean, x.ndim)) / np.sqrt(by_plane(variance, x.ndim) + (eps or 1e-5))
        return normal * by_plane(numbers(module.weight), x.ndim) + by_plane(numbers(module.bias), x.ndim)

    check(module.eval(), input, tested)


def test_running_values_move_by_the_momentum():
    module = torch7.BatchNormalization(1, None, 0.25)
    module(torch.tensor([[1.0], [3.0]]))
    # The variance kept is that of a sample, 2; the batch is divided by 1.
    assert module.running_mean.item() == pytest.approx(0.25 * 2)
    assert module.running_var.item() == pytest.approx(0.75 + 0.25 * 2)
    module.reset()
    assert (module.running_mean.item(), module.running_var.item()) == (0, 1)


def test_first_factors_are_drawn_between_0_and_1():
    module = torch7.SpatialBatchNormalization(10_000)
    assert 0 <= module.weight.min() < 0.01
    assert 0.99 < module.weight.max() <= 1
    assert (module.bias == 0).all()
    module.reset(0.01)
    assert module.weight.max() > 0.99


def test_without_affine_there_are_no_weights():
    module = torch7.SpatialBatchNormalization(3, None, None, False)
    assert list(module.parameters()) == []
    assert module(torch.rand(2, 3, 2, 2)).std(unbiased=False).item() == pytest.approx(1, rel=0.01)


@pytest.mark.parametrize(("kind", "shape"), BATCH)
def test_one_image_without_a_batch_is_taken_in_tests_only(kind, shape):
    module = kind(3)
    image = torch.rand(shape[1:])
    with pytest.raises(ValueError, match=rf"only mini-batch supported \({len(shape)}D tensor\), got {len(shape) - 1}D"):
        module(image)
    module.eval()
    assert torch.equal(module(image), module(image.unsqueeze(0))[0])


def test_a_batch_of_sequences_is_not_taken_for_one_of_vectors():
    # PyTorch's BatchNorm1d takes it.
    with pytest.raises(
        ValueError, match=r"nn.BatchNormalization: only mini-batch supported \(2D tensor\), got 3D tensor"
    ):
        torch7.BatchNormalization(3)(torch.rand(2, 3, 4))


def neighbouring_planes(x, size):
    """Sums over the planes from (size - 1) // 2 before one."""
    planes = x.shape[-3]
    before = (size - 1) // 2
    sums = [x[..., max(0, plane - before) : plane - before + size, :, :].sum(-3) for plane in range(planes)]
    return np.stack(sums, -3)


@few
@given(seed=seeds, batch=batches, planes=st.integers(1, 5), size=st.integers(1, 5))
def test_local_response_looks_at_the_planes_beside(seed, batch, planes, size):
    module = torch7.SpatialCrossMapLRN(size, 0.3, 0.6, 2)
    (input,) = distinct(seed, (*batch, planes, 2, 1))
    check(module, input, lambda x: x / (2 + 0.3 / size * neighbouring_planes(x**2, size)) ** 0.6)


def test_local_response_of_an_even_size_looks_further_ahead():
    module = torch7.SpatialCrossMapLRN(2, 2, 1, 0)
    image = torch.tensor([1.0, 2.0, 4.0]).reshape(3, 1, 1)
    assert module(image).flatten().tolist() == pytest.approx([1 / 5, 2 / 20, 4 / 16])


def neighbourhood(x, kernel):
    """The weighed sum over all planes and the neighbourhood, and the weights of what of it is inside."""
    height, width = kernel.shape
    where = (height, width), (1, 1), (height // 2, width // 2)
    sums = np.einsum("...cijab,ab->...ij", windows(x, *where), kernel)
    inside = np.einsum("...cijab,ab->...ij", windows(np.ones_like(x), *where), kernel)
    return sums[..., None, :, :], inside[..., None, :, :]


def less_the_mean(x, kernel):
    sums, inside = neighbourhood(x, kernel)
    return x - sums / inside


def by_the_deviation(x, kernel, threshold, instead):
    total = kernel.sum() * x.shape[-3]
    sums, inside = neighbourhood(x**2, kernel)
    deviation = np.sqrt(sums / total) / (inside / total)
    return x / np.where(deviation > threshold, deviation, instead)


@few
@given(seed=seeds, batch=batches, planes=st.integers(1, 2), is_flat=st.booleans())
def test_neighbourhoods_are_subtracted_and_divided(seed, batch, planes, is_flat):
    (input,) = distinct(seed, (*batch, planes, 4, 3))
    # Sums are powers of two: divided by them, float32 loses nothing.
    line = torch.tensor([1.0, 5.0, 2.0])
    kernel = line if is_flat else torch.tensor([*range(1, 15), 23.0]).reshape(3, 5)
    seen = np.outer(line, line) if is_flat else kernel.numpy().astype(float)
    check(torch7.SpatialSubtractiveNormalization(planes, kernel), input, lambda x: less_the_mean(x, seen))
    check(
        torch7.SpatialDivisiveNormalization(planes, kernel, 0.2, 0.7),
        input,
        lambda x: by_the_deviation(x, seen, 0.2, 0.7),
    )
    check(
        torch7.SpatialContrastiveNormalization(planes, kernel),
        input,
        lambda x: by_the_deviation(less_the_mean(x, seen), seen, 1e-4, 1e-4),
    )


@pytest.mark.parametrize("kind", [torch7.SpatialDivisiveNormalization, torch7.SpatialContrastiveNormalization])
def test_a_blank_image_has_gradients(kind):
    image = torch.zeros(1, 12, 12, requires_grad=True)
    output = kind()(image)
    output.sum().backward()
    assert (output == 0).all()
    assert image.grad.isfinite().all()


@few
@given(seed=seeds, batch=batches, p=st.sampled_from([1, 2, 3, 2.5]))
def test_vectors_are_divided_by_their_norm(seed, batch, p):
    (input,) = distinct(seed, (*batch, 3))
    # A number that is no rounding error, to see where it is added: inside the root.
    tiny = 0.5
    check(torch7.Normalize(p, tiny), input, lambda x: x / ((np.abs(x) ** p).sum(-1, keepdims=True) + tiny) ** (1 / p))
    largest = torch7.Normalize(math.inf, tiny)
    check(largest, input, lambda x: x / (np.abs(x).max(-1, keepdims=True) + tiny))


@few
@given(seed=seeds, batch=batches)
def test_a_vector_is_normalized_by_its_own_values(seed, batch):
    (input,) = distinct(seed, (*batch, 3))
    # A number that is no rounding error, to see where it is added: to the sum, not to the mean.
    module = torch7.LayerNormalization(3, 0.5, 2)
    assert (module.weight.tolist(), module.bias.tolist()) == ([1] * 3, [0.5] * 3)

    def formula(x):
        centred = x - x.mean(-1, keepdims=True)
        normal = centred / np.sqrt((centred**2).sum(-1, keepdims=True) + 2) * np.sqrt(3)
        return normal * numbers(module.weight) + numbers(module.bias)

    check(module, input, formula)
    assert list(torch7.LayerNormalization(3, None, None, False).parameters()) == []


@pytest.mark.parametrize(
    ("module", "printed"),
    [
        (torch7.BatchNormalization(10), "nn.BatchNormalization (2D) (10)"),
        (torch7.SpatialBatchNormalization(64, 1e-3), "nn.SpatialBatchNormalization (4D) (64)"),
        (torch7.VolumetricBatchNormalization(8), "nn.VolumetricBatchNormalization (5D) (8)"),
        (torch7.Normalize(2), "nn.Normalize(2)"),
        (torch7.Normalize(1.5), "nn.Normalize(1.500000)"),
        (torch7.Normalize(math.inf), "nn.Normalize(inf)"),
        (torch7.SpatialCrossMapLRN(5), "nn.SpatialCrossMapLRN"),
    ],
)
def test_normalizations_are_printed_as_torch_prints_them(module, printed):
    assert module.described() == printed


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: torch7.SpatialBatchNormalization(0, None, None, False),
            "nn.SpatialBatchNormalization got 0 for nOutput; it takes a whole number from 1 on, "
            "as in nn.SpatialBatchNormalization(64)",
        ),
        (
            lambda: torch7.SpatialBatchNormalization(64, 1e-3, 0.1, 1),
            "nn.SpatialBatchNormalization got 1 for affine; it takes true or false",
        ),
        (
            lambda: torch7.SpatialBatchNormalization(64, "small"),
            "nn.SpatialBatchNormalization got 'small' for eps; it takes a number, as in nn.SpatialBatchNormalization(64)",
        ),
        (
            lambda: torch7.SpatialSubtractiveNormalization(1, torch.ones(4, 5)),
            "nn.SpatialSubtractiveNormalization got a kernel of 4x5; it takes one or two odd sides, "
            "as in nn.SpatialSubtractiveNormalization(3, torch.ones(9, 9))",
        ),
        (torch7.Normalize, "nn.Normalize got nil for p; it takes a number above 0, as in nn.Normalize(2)"),
    ],
)
def test_a_normalization_says_which_argument_does_not_fit(make, sentence):
    with pytest.raises(BadArgument) as caught:
        make()
    assert str(caught.value) == sentence
