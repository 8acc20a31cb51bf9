"""Layers that put something around images, or make them larger."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from jobs.torch7 import padding as torch7
from jobs.torch7.module import BadArgument
from tests.unit.torch7.exactly import check, distinct, few, seeds

batches = st.sampled_from([(), (1,), (2,)])
pads = st.integers(0, 2)
MODES = [
    (torch7.SpatialZeroPadding, "constant"),
    (torch7.SpatialReflectionPadding, "reflect"),
    (torch7.SpatialReplicationPadding, "edge"),
]


@pytest.mark.parametrize(("kind", "mode"), MODES)
@few
@given(seed=seeds, batch=batches, sides=st.tuples(pads, pads, pads, pads))
def test_images_are_padded_left_right_top_bottom(kind, mode, seed, batch, sides):
    left, right, top, bottom = sides
    (input,) = distinct(seed, (*batch, 2, 3, 4))

    def formula(x):
        return np.pad(x, [(0, 0)] * (x.ndim - 2) + [(top, bottom), (left, right)], mode=mode)

    check(kind(*sides), input, formula)


@few
@given(seed=seeds, batch=batches, sides=st.tuples(pads, pads, pads, pads, pads, pads))
def test_volumes_are_padded_left_right_top_bottom_front_back(seed, batch, sides):
    left, right, top, bottom, front, back = sides
    (input,) = distinct(seed, (*batch, 1, 2, 1, 2))

    def formula(x):
        return np.pad(x, [(0, 0)] * (x.ndim - 3) + [(front, back), (top, bottom), (left, right)], mode="edge")

    check(torch7.VolumetricReplicationPadding(*sides), input, formula)


def test_negative_padding_cuts_off():
    image = torch.arange(12.0).reshape(1, 3, 4)
    assert torch7.SpatialZeroPadding(-1, 1, -2, 0)(image).tolist() == [[[9, 10, 11, 0]]]
    with pytest.raises(ValueError, match=r"nn.SpatialZeroPadding cuts off more than there is of 1x3x4"):
        torch7.SpatialZeroPadding(-2, -2)(image)


def test_sides_left_out_are_as_the_left_one():
    assert torch7.SpatialZeroPadding(2).described() == "nn.SpatialZeroPadding(l=2,r=2,t=2,b=2)"
    assert torch7.SpatialReflectionPadding(1, 2, 3).described() == "nn.SpatialReflectionPadding(l=1,r=2,t=3,b=1)"
    assert torch7.VolumetricReplicationPadding(1, 2).described() == (
        "nn.VolumetricReplicationPadding(left=1, right=2, top=1, bottom=1, front=1, back=1)"
    )


@pytest.mark.parametrize(
    ("arguments", "shape", "expected"),
    [
        ((1, 2), (3,), [1, 2, 3, 0, 0]),
        ((1, -2), (3,), [0, 0, 1, 2, 3]),
        ((1, 1, None, 9), (3,), [1, 2, 3, 9]),
        # Counted from the end at which it pads.
        ((1, 1, None, 9, 2), (3,), [1, 2, 9, 3]),
        ((1, -1, None, 9, 2), (3,), [1, 9, 2, 3]),
        ((1, -1, None, 9, 4), (3,), [1, 2, 3, 9]),
        # A dimension more than nInputDim is the batch.
        ((1, 1, 1), (2, 2), [[1, 2, 0], [3, 4, 0]]),
        ((1, 1, 2), (2, 2), [[1, 2], [3, 4], [0, 0]]),
        ((1, 1), (2, 2), [[1, 2], [3, 4], [0, 0]]),
    ],
)
def test_padding_puts_values_into_a_dimension(arguments, shape, expected):
    input = torch.arange(1.0, np.prod(shape) + 1).reshape(shape)
    assert torch7.Padding(*arguments)(input).tolist() == expected


@few
@given(seed=seeds, pad=st.integers(-2, 2), index=st.integers(1, 3))
def test_padding_is_its_formula(seed, pad, index):
    (input,) = distinct(seed, (2, 2, 3))
    # The places count from 0 in NumPy.
    place = 2 - index + 1 if pad > 0 else index - 1

    def formula(x):
        return np.insert(x, [place] * abs(pad), 0.5, 1)

    check(torch7.Padding(2, pad, 3, 0.5, index), input, formula)


def test_padding_says_where_it_cannot_pad():
    with pytest.raises(ValueError, match=r"nn.Padding cannot pad at index 5 of a dimension of 3"):
        torch7.Padding(1, 1, None, 0, 5)(torch.zeros(3))


@few
@given(seed=seeds, batch=batches, times=st.integers(1, 3))
def test_nearest_repeats_each_value(seed, batch, times):
    image, volume = distinct(seed, (*batch, 2, 2, 3), (*batch, 1, 2, 1, 2))

    def larger(sides):
        def formula(x):
            for axis in range(-sides, 0):
                x = x.repeat(times, axis)
            return x

        return formula

    check(torch7.SpatialUpSamplingNearest(times), image, larger(2))
    check(torch7.VolumetricUpSamplingNearest(times), volume, larger(3))


def along(x, axis, count):
    """Between the first and the last value of a dimension, in equal steps."""
    length = x.shape[axis]
    places = np.linspace(0, length - 1, count) if count > 1 else np.zeros(1)
    low = np.minimum(np.floor(places).astype(int), length - 1)
    high = np.minimum(low + 1, length - 1)
    share = (places - low).reshape([-1 if side == axis % x.ndim else 1 for side in range(x.ndim)])
    return x.take(low, axis) * (1 - share) + x.take(high, axis) * share


@few
@given(seed=seeds, batch=batches, times=st.integers(1, 3))
def test_bilinear_keeps_the_corners(seed, batch, times):
    (input,) = distinct(seed, (*batch, 2, 2, 3))
    check(torch7.SpatialUpSamplingBilinear(times), input, lambda x: along(along(x, -1, 3 * times), -2, 2 * times))
    sized = torch7.SpatialUpSamplingBilinear({"oheight": 5, "owidth": 4})
    check(sized, input, lambda x: along(along(x, -1, 4), -2, 5))


@few
@given(seed=seeds, batch=batches, times=st.integers(1, 2))
def test_pixels_are_shuffled_from_planes(seed, batch, times):
    (input,) = distinct(seed, (*batch, 2 * times * times, 2, 1))

    def formula(x):
        output = np.zeros((*x.shape[:-3], 2, 2 * times, times))
        for plane, row, column in np.ndindex(*output.shape[-3:]):
            origin = plane * times * times + row % times * times + column % times
            output[..., plane, row, column] = x[..., origin, row // times, column // times]
        return output

    check(torch7.PixelShuffle(times), input, formula)


def test_up_sampling_is_printed_as_torch_prints_it():
    assert torch7.SpatialUpSamplingNearest(2).described() == "nn.SpatialUpSamplingNearest(2)"
    assert torch7.SpatialUpSamplingBilinear(3).described() == "nn.SpatialUpSamplingBilinear(3)"
    sized = torch7.SpatialUpSamplingBilinear({"oheight": 5, "owidth": 4})
    assert sized.described() == "nn.SpatialUpSamplingBilinear(5, 4)"
    assert torch7.PixelShuffle(2).described() == "nn.PixelShuffle"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            torch7.SpatialZeroPadding,
            "nn.SpatialZeroPadding got nil for pad_l; it takes a whole number, as in nn.SpatialZeroPadding(2, 2, 2, 2)",
        ),
        (
            lambda: torch7.SpatialUpSamplingBilinear({"owidth": 5}),
            "nn.SpatialUpSamplingBilinear got nil for oheight; it takes a whole number from 1 on, "
            "as in nn.SpatialUpSamplingBilinear({oheight = 64, owidth = 64})",
        ),
        (
            lambda: torch7.SpatialUpSamplingNearest(1.5),
            "nn.SpatialUpSamplingNearest got 1.5 for scale_factor; it takes a whole number from 1 on, "
            "as in nn.SpatialUpSamplingNearest(2)",
        ),
    ],
)
def test_a_layer_says_which_argument_does_not_fit(make, sentence):
    with pytest.raises(BadArgument) as caught:
        make()
    assert str(caught.value) == sentence
