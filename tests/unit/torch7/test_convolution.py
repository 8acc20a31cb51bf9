"""Torch7's convolutions: width before height, defaults, first weights, and outputs against loops over windows."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from jobs.torch7 import convolution as torch7
from jobs.torch7.module import BadArgument
from tests.unit.torch7.exactly import check, distinct, few, seeds
from tests.unit.torch7.windows import convolved, numbers, spread_out

side, step, pad = st.integers(1, 3), st.integers(1, 2), st.integers(0, 2)


@few
@given(
    seed=seeds,
    batch=st.integers(1, 2),
    groups=st.integers(1, 2),
    window=st.tuples(side, side, step, step, pad, pad),
    bias=st.booleans(),
)
def test_a_convolution_takes_width_before_height(seed, batch, groups, window, bias):
    width, height, across, down, beside, above = window
    module = torch7.SpatialConvolution(2 * groups, groups, *window, groups)
    if not bias:
        module.remove_bias()
    (input,) = distinct(seed, (batch, 2 * groups, height + 1, width + 3))
    assert module.weight.shape == (groups, 2, height, width)

    def formula(x):
        where = (down, across), (above, beside), None
        return convolved(x, numbers(module.weight), numbers(module.bias), *where, groups)

    check(module, input, formula)


@few
@given(seed=seeds, window=st.tuples(side, side, step, step, pad, pad), dilation=st.tuples(step, step))
def test_a_dilated_convolution_leaves_gaps(seed, window, dilation):
    width, height, across, down, beside, above = window
    module = torch7.SpatialDilatedConvolution(2, 3, *window, *dilation)
    (input,) = distinct(seed, (2, 2, 2 * height + 1, 2 * width + 2))

    def formula(x):
        where = (down, across), (above, beside), dilation[::-1]
        return convolved(x, numbers(module.weight), numbers(module.bias), *where)

    check(module, input, formula)


@few
@given(
    seed=seeds,
    shape=st.tuples(st.integers(1, 2), st.just(2), side, side),
    window=st.tuples(side, side, step, step),
    pad=st.booleans(),
    adjusts=st.booleans(),
)
def test_a_full_convolution_spreads_each_value_over_a_window(seed, shape, window, pad, adjusts):
    width, height, across, down = window
    # The padding is cut off from what is spread out: something must be left.
    beside, above = (width // 2 if pad and shape[3] > 1 else 0), (height // 2 if pad and shape[2] > 1 else 0)
    right, below = (across - 1, down - 1) if adjusts else (0, 0)
    module = torch7.SpatialFullConvolution(2, 3, *window, beside, above, right, below)
    (input,) = distinct(seed, shape)
    assert module.weight.shape == (2, 3, height, width)

    def formula(x):
        return spread_out(
            x, numbers(module.weight), numbers(module.bias), (down, across), (above, beside), (below, right)
        )

    check(module, input, formula)


@pytest.mark.parametrize("target", [(1, 1, 8, 9), (1, 9, 8)])
def test_a_full_convolution_meets_the_size_of_a_second_tensor(target):
    module = torch7.SpatialFullConvolution(2, 3, 4, 4, 2, 2, 1, 1)
    images = torch.rand(1, 2, 4, 4) if len(target) == 4 else torch.rand(2, 4, 4)
    assert module([images, torch.zeros(target)]).shape[-2:] == target[-2:]
    assert module(images).shape[-2:] == (8, 8)


@few
@given(
    seed=seeds,
    window=st.tuples(step, side, side, step, step, step, pad, pad, pad),
    dilation=st.tuples(step, step, step),
)
def test_a_convolution_of_volumes_takes_time_width_height(seed, window, dilation):
    time, width, height, later, across, down, before, beside, above = window
    module = torch7.VolumetricDilatedConvolution(1, 2, *window, *dilation)
    (input,) = distinct(seed, (1, 1, 2 * time, 2 * height, 2 * width + 1))

    def formula(x):
        where = (later, down, across), (before, above, beside), (dilation[0], dilation[2], dilation[1])
        return convolved(x, numbers(module.weight), numbers(module.bias), *where)

    check(module, input, formula)


@few
@given(seed=seeds, window=st.tuples(step, side, side, step, step, step))
def test_a_full_convolution_of_volumes_spreads_each_value(seed, window):
    later, across, down = window[3:]
    module = torch7.VolumetricFullConvolution(2, 1, *window, 0, 0, 0, later - 1, across - 1, down - 1)
    (input,) = distinct(seed, (1, 2, 2, 1, 2))

    def formula(x):
        steps = (later, down, across)
        more = (later - 1, down - 1, across - 1)
        return spread_out(x, numbers(module.weight), numbers(module.bias), steps, (0, 0, 0), more)

    check(module, input, formula)


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (torch7.SpatialConvolution(2, 3, 2, 3), (2, 5, 5)),
        (torch7.SpatialFullConvolution(2, 3, 2, 3), (2, 5, 5)),
        (torch7.SpatialDilatedConvolution(2, 3, 2, 3), (2, 5, 5)),
        (torch7.VolumetricConvolution(2, 3, 2, 2, 3), (2, 4, 5, 5)),
        (torch7.VolumetricFullConvolution(2, 3, 2, 2, 3), (2, 4, 5, 5)),
    ],
)
def test_one_image_without_a_batch_is_taken(module, shape):
    image = torch.rand(shape)
    assert torch.allclose(module(image), module(image.unsqueeze(0))[0], atol=1e-6)


def padding_of(module):
    return module.padW, module.padH


def test_height_is_padded_as_width_is_but_not_in_full_convolutions():
    assert padding_of(torch7.SpatialConvolution(1, 1, 5, 5, 1, 1, 2)) == (2, 2)
    assert padding_of(torch7.SpatialConvolutionMM(1, 1, 5, 5, 1, 1, 2)) == (2, 2)
    assert padding_of(torch7.SpatialConvolution(1, 1, 5, 5, 1, 1, 2, 0)) == (2, 0)
    assert padding_of(torch7.SpatialFullConvolution(1, 1, 5, 5, 1, 1, 2)) == (2, 0)
    volume = torch7.VolumetricConvolution(1, 1, 3, 3, 3, 1, 1, 1, 1)
    assert (volume.padT, *padding_of(volume)) == (1, 1, 1)
    full = torch7.VolumetricFullConvolution(1, 1, 3, 3, 3, 1, 1, 1, 1)
    assert (full.padT, *padding_of(full)) == (1, 0, 0)


@pytest.mark.parametrize(
    ("module", "printed"),
    [
        (torch7.SpatialConvolution(1, 20, 5, 5), "nn.SpatialConvolution(1 -> 20, 5x5)"),
        (torch7.SpatialConvolution(1, 20, 5, 3), "nn.SpatialConvolution(1 -> 20, 5x3)"),
        (torch7.SpatialConvolution(3, 64, 11, 11, 4, 4, 2, 2), "nn.SpatialConvolution(3 -> 64, 11x11, 4,4, 2,2)"),
        (torch7.SpatialConvolution(3, 6, 3, 3, 2, 1), "nn.SpatialConvolution(3 -> 6, 3x3, 2,1)"),
        (torch7.SpatialConvolution(3, 6, 3, 3, 1, 1, 1, 0), "nn.SpatialConvolution(3 -> 6, 3x3, 1,1, 1,0)"),
        (torch7.SpatialConvolutionMM(3, 6, 3, 3), "nn.SpatialConvolutionMM(3 -> 6, 3x3)"),
        (torch7.SpatialDilatedConvolution(3, 6, 3, 3), "nn.SpatialDilatedConvolution(3 -> 6, 3x3, 1,1)"),
        (
            torch7.SpatialDilatedConvolution(3, 6, 3, 5, 1, 1, 2, 4, 2, 3),
            "nn.SpatialDilatedConvolution(3 -> 6, 3x5, 1,1, 2,4, 2,3)",
        ),
        (torch7.SpatialFullConvolution(8, 3, 16, 16, 16, 16), "nn.SpatialFullConvolution(8 -> 3, 16x16, 16,16)"),
        (
            torch7.SpatialFullConvolution(8, 3, 4, 4, 2, 2, 1, 1, 1, 0),
            "nn.SpatialFullConvolution(8 -> 3, 4x4, 2,2, 1,1, 1,0)",
        ),
        (torch7.VolumetricConvolution(3, 6, 2, 4, 5), "nn.VolumetricConvolution(3 -> 6, 2x4x5)"),
        (
            torch7.VolumetricConvolution(3, 6, 2, 4, 5, 1, 2, 3, 0, 1, 2),
            "nn.VolumetricConvolution(3 -> 6, 2x4x5, 1,2,3, 0,1,2)",
        ),
        (
            torch7.VolumetricFullConvolution(3, 6, 2, 4, 5, 2, 2, 3),
            "nn.VolumetricFullConvolution(3 -> 6, 2x4x5, 2,2,3)",
        ),
    ],
)
def test_convolutions_are_printed_as_torch_prints_them(module, printed):
    assert module.described() == printed
    module.remove_bias()
    assert module.described() == f"{printed} without bias"


def test_a_convolution_has_the_weights_of_its_python_twin():
    torch.manual_seed(3)
    twin = nn.Conv2d(3, 8, (5, 4))
    torch.manual_seed(3)
    module = torch7.SpatialConvolution(3, 8, 4, 5)
    assert torch.equal(module.weight, twin.weight)
    assert torch.equal(module.bias, twin.bias)


@pytest.mark.parametrize(
    ("module", "inputs"),
    [
        (torch7.SpatialConvolution(6, 60, 5, 5), 6 * 25),
        # PyTorch counts the planes of a group.
        (torch7.SpatialConvolution(6, 60, 5, 5, 1, 1, 0, 0, 3), 6 * 25),
        # PyTorch counts the output planes.
        (torch7.SpatialFullConvolution(6, 60, 5, 5), 6 * 25),
        (torch7.VolumetricConvolution(6, 60, 3, 5, 5), 6 * 75),
        (torch7.VolumetricFullConvolution(6, 60, 3, 5, 5), 6 * 75),
    ],
)
def test_first_weights_are_drawn_by_the_number_of_input_planes(module, inputs):
    bound = 1 / math.sqrt(inputs)
    assert 0.99 * bound < module.weight.abs().max() <= bound * (1 + 1e-6)
    assert 0.8 * bound < module.bias.abs().max() <= bound * (1 + 1e-6)


WINDOW = ("nInputPlane", "nOutputPlane", "kW", "kH", "dW", "dH", "padW", "padH")
VOLUME = ("nInputPlane", "nOutputPlane", "kT", "kW", "kH", "dT", "dW", "dH", "padT", "padW", "padH")


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (torch7.SpatialConvolution, WINDOW),
        (torch7.SpatialDilatedConvolution, (*WINDOW, "dilationW", "dilationH")),
        (torch7.SpatialFullConvolution, (*WINDOW, "adjW", "adjH")),
        (torch7.VolumetricConvolution, VOLUME),
        (torch7.VolumetricDilatedConvolution, (*VOLUME, "dilationT", "dilationW", "dilationH")),
        (torch7.VolumetricFullConvolution, (*VOLUME, "adjT", "adjW", "adjH")),
    ],
)
def test_every_size_has_its_name_in_lua(kind, names):
    # All different; adj must be smaller than the steps.
    sizes = {name: 30 - place if place < 11 and "adj" not in name else 17 - place for place, name in enumerate(names)}
    module = kind(*sizes.values())
    assert {name: getattr(module, module.lua_fields[name]) for name in names} == sizes


def test_sizes_of_a_window_can_be_written():
    module = torch7.SpatialConvolution(1, 1, 3, 3)
    module.padW = 1
    module.dH = 2
    assert module(torch.zeros(1, 1, 5, 5)).shape == (1, 1, 2, 5)
    assert module.described() == "nn.SpatialConvolution(1 -> 1, 3x3, 1,2, 1,0)"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: torch7.SpatialConvolution(3, 16, 5),
            "nn.SpatialConvolution got nil for kH; it takes a whole number from 1 on, as in nn.SpatialConvolution(3, 16, 5, 5)",
        ),
        (
            lambda: torch7.SpatialConvolutionMM(3, 16, 5, 5, 0),
            "nn.SpatialConvolutionMM got 0 for dW; it takes a whole number from 1 on, "
            "as in nn.SpatialConvolutionMM(3, 16, 5, 5)",
        ),
        (
            lambda: torch7.SpatialConvolution(3, 16, 5, 5, 1, 1, -1),
            "nn.SpatialConvolution got -1 for padW; it takes a whole number from 0 on, "
            "as in nn.SpatialConvolution(3, 16, 5, 5)",
        ),
        (
            lambda: torch7.SpatialConvolution(3, 16, 5, 5, 1, 1, 0, 0, 2),
            "nn.SpatialConvolution got 3 and 16 planes; both must be multiples of its 2 groups",
        ),
        (
            lambda: torch7.SpatialFullConvolution(3, 16, 4, 4, 2, 2, 1, 1, 2, 0),
            "nn.SpatialFullConvolution got adj 2,0; each must be smaller than its step, 2,2",
        ),
        (
            lambda: torch7.SpatialConvolution(2**16, 2**16, 5, 5),
            "nn.SpatialConvolution would have 107,374,182,400 weights; at most 2,147,483,648 are possible",
        ),
    ],
)
def test_a_convolution_says_which_argument_does_not_fit(make, sentence):
    with pytest.raises(BadArgument) as caught:
        make()
    assert str(caught.value) == sentence
