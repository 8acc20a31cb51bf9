"""Pooling to a given size."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from jobs.torch7 import sized_pooling as torch7
from jobs.torch7.module import BadArgument
from tests.unit.torch7.exactly import check, distinct, few, seeds

sizes = st.integers(1, 5)
batches = st.sampled_from([(), (1,), (2,)])


@few
@given(seed=seeds, batch=batches, sides=st.tuples(sizes, sizes), wanted=st.tuples(sizes, sizes))
def test_adaptive_windows_cover_the_image_evenly(seed, batch, sides, wanted):
    columns, rows = wanted
    (input,) = distinct(seed, (*batch, 2, *sides))

    def pooled(of_window):
        def formula(x):
            output = np.zeros((*x.shape[:-2], rows, columns))
            for row, column in np.ndindex(rows, columns):
                down = slice(sides[0] * row // rows, math.ceil(sides[0] * (row + 1) / rows))
                across = slice(sides[1] * column // columns, math.ceil(sides[1] * (column + 1) / columns))
                output[..., row, column] = of_window(x[..., down, across], (-1, -2))
            return output

        return formula

    check(torch7.SpatialAdaptiveMaxPooling(columns, rows), input, pooled(np.max))
    check(torch7.SpatialAdaptiveAveragePooling(columns, rows), input, pooled(np.mean))


def test_adaptive_sizes_are_width_before_height_and_can_be_written():
    module = torch7.SpatialAdaptiveMaxPooling(2, 3)
    assert module(torch.rand(1, 7, 7)).shape == (1, 3, 2)
    module.W = 4
    assert module(torch.rand(1, 7, 7)).shape == (1, 3, 4)


@pytest.mark.parametrize("shape", [(2, 3, 9, 12), (3, 9, 12)])
def test_fractional_windows_give_the_wanted_size_or_share(shape):
    assert torch7.SpatialFractionalMaxPooling(2, 2, 8, 4)(torch.rand(shape)).shape[-2:] == (4, 8)
    assert torch7.SpatialFractionalMaxPooling(2, 2, 0.5, 0.7)(torch.rand(shape)).shape[-2:] == (6, 6)


def test_fractional_maxima_are_values_of_their_plane():
    image = torch.arange(96.0).reshape(1, 1, 8, 12)
    pooled = torch7.SpatialFractionalMaxPooling(2, 3, 6, 4)(image)
    # Windows follow each other: rows and columns grow, and the last window ends at the last value.
    assert (pooled.diff(dim=2) > 0).all()
    assert (pooled.diff(dim=3) > 0).all()
    assert pooled[0, 0, -1, -1] == 95


def test_fractional_windows_are_drawn_anew_until_they_are_fixed():
    module = torch7.SpatialFractionalMaxPooling(2, 2, 10, 10)
    image = torch.rand(2, 3, 17, 17)
    assert not torch.equal(module(image), module(image))
    assert module.fix_regions() is None
    first = module(image)
    assert torch.equal(first, module(image))
    # Another batch size needs other windows.
    assert module(image[:1]).shape == (1, 3, 10, 10)
    module.fix_regions(False)
    assert not torch.equal(module(image), module(image))


def test_fractional_pooling_is_printed_as_torch_prints_it():
    assert torch7.SpatialFractionalMaxPooling(2, 3, 10, 8).described() == "nn.SpatialFractionalMaxPooling(10x8, 2,3)"
    assert (
        torch7.SpatialFractionalMaxPooling(2, 2, 0.5, 0.7).described() == "nn.SpatialFractionalMaxPooling(0.5x0.7, 2,2)"
    )


def test_fractional_volumes_have_their_time_last():
    module = torch7.VolumetricFractionalMaxPooling(2, 3, 4, 5, 6, 7)
    volume = torch.arange(12.0 * 11 * 10).reshape(1, 1, 12, 11, 10)
    pooled = module(volume)
    assert pooled.shape == (1, 1, 7, 6, 5)
    assert all((pooled.diff(dim=side) > 0).all() for side in (2, 3, 4))
    assert pooled.flatten()[-1] == volume.max()
    assert module(volume[0]).shape == (1, 7, 6, 5)
    assert module.described() == "nn.VolumetricFractionalMaxPooling(5x6x7, 2,3,4)"
    shares = torch7.VolumetricFractionalMaxPooling(2, 2, 2, 0.5, 0.6, 0.7)
    assert shares(volume).shape == (1, 1, 8, 6, 5)
    shares.fix_regions()
    assert torch.equal(shares(volume), shares(volume))


def test_a_share_needs_a_share_beside_it():
    with pytest.raises(BadArgument, match=r"nn.SpatialFractionalMaxPooling got 0.5 for outH"):
        torch7.SpatialFractionalMaxPooling(2, 2, 4, 0.5)
