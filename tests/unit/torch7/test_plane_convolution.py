"""Convolutions of single planes and places."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from jobs.torch7 import plane_convolution as torch7
from jobs.torch7.module import BadArgument
from tests.unit.torch7.exactly import check, distinct, few, seeds
from tests.unit.torch7.windows import convolved, numbers, windows

side, step, pad = st.integers(1, 3), st.integers(1, 2), st.integers(0, 2)
window_of = st.tuples(side, side, step, step, pad, pad)


@few
@given(seed=seeds, planes=side, times=step, window=window_of, bias=st.booleans())
def test_depth_wise_output_planes_of_one_input_plane_follow_each_other(seed, planes, times, window, bias):
    width, height, across, down, beside, above = window
    module = torch7.SpatialDepthWiseConvolution(planes, times, *window)
    if not bias:
        module.remove_bias()
    assert module.weight.shape == (times, planes, height, width)
    (input,) = distinct(seed, (2, planes, height + 1, width + 2))

    def formula(x):
        outputs = []
        for plane in range(planes):
            for number in range(times):
                weight = numbers(module.weight)[number, plane][None, None]
                own = numbers(module.bias)[number, plane].reshape(1) if bias else None
                outputs.append(convolved(x[:, [plane]], weight, own, (down, across), (above, beside)))
        return np.concatenate(outputs, 1)

    check(module, input, formula)


@few
@given(seed=seeds, window=window_of, batch=st.sampled_from([(), (1,), (2,)]), bias=st.booleans())
def test_a_local_convolution_has_weights_for_each_place(seed, window, batch, bias):
    width, height, across, down, beside, above = window
    module = torch7.SpatialConvolutionLocal(2, 3, width + 2, height + 1, *window)
    if not bias:
        module.remove_bias()
    (input,) = distinct(seed, (*batch, 2, height + 1, width + 2))

    def formula(x):
        seen = windows(x, (height, width), (down, across), (above, beside))
        output = np.einsum("...cijab,ijocab->...oij", seen, numbers(module.weight))
        return output + (numbers(module.bias) if bias else 0)

    check(module, input, formula)


@few
@given(seed=seeds, window=st.tuples(side, side, step, step))
def test_a_map_joins_the_planes_of_its_table(seed, window):
    width, height, across, down = window
    # The second pair is there twice: both count.
    pairs = [(1, 1), (3, 2), (3, 2), (2, 4)]
    module = torch7.SpatialConvolutionMap(torch.tensor(pairs, dtype=torch.float32), *window)
    (input,) = distinct(seed, (2, 3, height + 1, width + 2))

    def formula(x):
        dense = np.zeros((4, 3, height, width))
        for (origin, to), kernel in zip(pairs, numbers(module.weight), strict=True):
            dense[to - 1, origin - 1] += kernel
        return convolved(x, dense, numbers(module.bias), (down, across))

    check(module, input, formula)


def test_a_map_is_drawn_by_the_planes_that_lead_to_an_output():
    pairs = [(origin, 1) for origin in range(1, 5)] + [(1, 2)]
    module = torch7.SpatialConvolutionMap(torch.tensor(pairs), 20, 20)
    bounds = module.weight.detach().abs().amax((1, 2)) * 20
    assert torch.allclose(bounds, torch.tensor([0.5, 0.5, 0.5, 0.5, 1]), rtol=0.05)
    assert (module.weight.detach().abs().amax((1, 2)) <= torch.tensor([0.5, 0.5, 0.5, 0.5, 1]) / 20).all()


@few
@given(seed=seeds, planes=side, window=st.tuples(side, side, step, step), batch=st.sampled_from([(), (2,)]))
def test_sub_sampling_sums_windows_plane_by_plane(seed, planes, window, batch):
    width, height, across, down = window
    module = torch7.SpatialSubSampling(planes, *window)
    (input,) = distinct(seed, (*batch, planes, height + 2, width + 1))

    def formula(x):
        sums = windows(x, (height, width), (down, across)).sum((-1, -2))
        return sums * numbers(module.weight)[:, None, None] + numbers(module.bias)[:, None, None]

    check(module, input, formula)


@pytest.mark.parametrize(
    ("module", "printed"),
    [
        (torch7.SpatialDepthWiseConvolution(16, 2, 3, 5), "nn.SpatialDepthWiseConvolution(16 -> 2, 3x5)"),
        (
            torch7.SpatialDepthWiseConvolution(16, 2, 3, 5, 1, 2, 1),
            "nn.SpatialDepthWiseConvolution(16 -> 2, 3x5, 1,2, 1,1)",
        ),
        (torch7.SpatialConvolutionLocal(1, 2, 9, 8, 3, 5), "nn.SpatialConvolutionLocal(1 -> 2, 9x8, 3x5)"),
        (torch7.SpatialSubSampling(4, 2, 2), "nn.SpatialSubSampling"),
    ],
)
def test_layers_are_printed_as_torch_prints_them(module, printed):
    assert module.described() == printed


def test_sub_sampling_is_drawn_by_its_window_alone():
    module = torch7.SpatialSubSampling(10_000, 4, 4)
    bound = 1 / math.sqrt(16)
    assert 0.99 * bound < module.weight.abs().max() <= bound


@pytest.mark.parametrize(
    ("layer", "shape", "sentence"),
    [
        (
            torch7.SpatialConvolutionLocal(1, 1, 5, 4, 2, 2),
            (2, 1, 5, 4),
            "nn.SpatialConvolutionLocal takes images of 1x4x5; it got 2x1x5x4",
        ),
        (torch7.SpatialSubSampling(3, 2, 2), (2, 1, 5, 4), "nn.SpatialSubSampling takes 3 planes; it got 2x1x5x4"),
    ],
)
def test_a_layer_says_what_images_it_takes(layer, shape, sentence):
    with pytest.raises(ValueError, match=sentence):
        layer(torch.zeros(shape))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: torch7.SpatialConvolutionLocal(1, 1, 5, 4, 6, 2),
            r"nn.SpatialConvolutionLocal got images of 5x4, which are smaller than its window, 6x2",
        ),
        (
            lambda: torch7.SpatialConvolutionMap(3, 5, 5),
            r"nn.SpatialConvolutionMap got 3; it takes pairs of planes, as in "
            r"nn.SpatialConvolutionMap\(nn.tables.full\(3, 16\), 5, 5\)",
        ),
    ],
)
def test_a_layer_says_which_argument_does_not_fit(make, sentence):
    with pytest.raises(BadArgument, match=sentence):
        make()


def test_a_full_convolution_map_is_the_full_convolution_of_its_pairs():
    table = torch.tensor([[1, 1], [2, 1], [2, 3]])
    layer = torch7.SpatialFullConvolutionMap(table, 3, 2, 2, 2)
    images = torch.rand(2, 2, 4, 5)
    weight = torch.zeros(2, 3, 2, 3)
    for (origin, to), kernel in zip(table.tolist(), layer.weight.detach(), strict=True):
        weight[origin - 1, to - 1] = kernel
    expected = torch.nn.functional.conv_transpose2d(images, weight, layer.bias, stride=2)
    torch.testing.assert_close(layer(images), expected)
