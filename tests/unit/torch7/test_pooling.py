"""Torch7's pooling: defaults of steps, ceil and floor, what padding counts, and back from where the maxima were."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from jobs.torch7 import pooling as torch7
from jobs.torch7.module import BadArgument
from tests.unit.torch7.exactly import check, distinct, few, seeds
from tests.unit.torch7.windows import windows

side, step = st.integers(1, 3), st.integers(1, 2)
batches = st.sampled_from([(), (1,), (2,)])


@few
@given(
    seed=seeds,
    batch=batches,
    window=st.tuples(side, side, step, step),
    dilation=st.tuples(step, step),
    pads=st.booleans(),
)
def test_maxima_of_images(seed, batch, window, dilation, pads):
    width, height, across, down = window
    beside, above = (width // 2, height // 2) if pads else (0, 0)
    module = torch7.SpatialDilatedMaxPooling(*window, beside, above, *dilation)
    (input,) = distinct(seed, (*batch, 2, 2 * height, 2 * width + 1))

    def formula(x):
        where = (height, width), (down, across), (above, beside), dilation[::-1]
        return windows(x, *where, fill=-np.inf).max((-1, -2))

    check(module, input, formula)


@few
@given(seed=seeds, batch=batches, window=st.tuples(side, side, step, step), pads=st.booleans(), counts=st.booleans())
def test_averages_of_images(seed, batch, window, pads, counts):
    width, height, across, down = window
    beside, above = (width // 2, height // 2) if pads else (0, 0)
    module = torch7.SpatialAveragePooling(*window, beside, above)
    if not counts:
        module.leave_padding_out()
    (input,) = distinct(seed, (*batch, 2, height + 1, width + 2))

    def formula(x):
        where = (height, width), (down, across), (above, beside)
        inside = windows(np.ones_like(x), *where).sum((-1, -2))
        return windows(x, *where).sum((-1, -2)) / (width * height if counts else inside)

    check(module, input, formula)


@few
@given(seed=seeds, batch=batches, window=st.tuples(step, side, side, step, step, step), pads=st.booleans())
def test_maxima_and_averages_of_volumes(seed, batch, window, pads):
    time, width, height, later, across, down = window
    before, beside, above = (time // 2, width // 2, height // 2) if pads else (0, 0, 0)
    (input,) = distinct(seed, (*batch, 1, time + 1, height, width + 2))
    where = (time, height, width), (later, down, across), (before, above, beside)
    check(
        torch7.VolumetricMaxPooling(*window, before, beside, above),
        input,
        lambda x: windows(x, *where, fill=-np.inf).max((-1, -2, -3)),
    )
    check(
        torch7.VolumetricAveragePooling(*window, before, beside, above),
        input,
        lambda x: windows(x, *where).mean((-1, -2, -3)),
    )


def size_after(module, *shape):
    return tuple(module(torch.rand(shape)).shape)


def test_maxima_step_by_their_window_and_averages_of_images_by_one():
    assert size_after(torch7.SpatialMaxPooling(3, 2), 1, 1, 12, 12) == (1, 1, 6, 4)
    assert size_after(torch7.SpatialMaxPooling(3, 2, 1), 1, 1, 12, 12) == (1, 1, 6, 10)
    assert size_after(torch7.SpatialAveragePooling(3, 2), 1, 1, 12, 12) == (1, 1, 11, 10)
    assert size_after(torch7.SpatialLPPooling(1, 2, 3, 2), 1, 1, 12, 12) == (1, 1, 6, 4)
    assert size_after(torch7.VolumetricMaxPooling(2, 3, 4), 1, 1, 12, 12, 12) == (1, 1, 6, 3, 4)
    assert size_after(torch7.VolumetricAveragePooling(2, 3, 4), 1, 1, 12, 12, 12) == (1, 1, 6, 3, 4)


WINDOW = ("kW", "kH", "dW", "dH", "padW", "padH")
VOLUME = ("kT", "kW", "kH", "dT", "dW", "dH", "padT", "padW", "padH")


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (torch7.SpatialMaxPooling, WINDOW),
        (torch7.SpatialAveragePooling, WINDOW),
        (torch7.SpatialDilatedMaxPooling, (*WINDOW, "dilationW", "dilationH")),
        (torch7.VolumetricMaxPooling, VOLUME),
        (torch7.VolumetricAveragePooling, VOLUME),
        (torch7.VolumetricDilatedMaxPooling, (*VOLUME, "dilationT", "dilationW", "dilationH")),
    ],
)
def test_every_size_has_its_name_in_lua(kind, names):
    sizes = {name: 30 - place if name[0] == "k" else 15 - place for place, name in enumerate(names)}
    module = kind(*sizes.values())
    assert {name: getattr(module, module.lua_fields[name]) for name in names} == sizes


def test_height_is_not_padded_because_width_is():
    assert size_after(torch7.SpatialMaxPooling(3, 3, 1, 1, 1), 1, 1, 5, 5) == (1, 1, 3, 5)


def test_ceil_counts_a_window_that_lies_half_outside_until_floor_is_called():
    module = torch7.SpatialMaxPooling(3, 3, 2, 2)
    assert size_after(module, 1, 1, 112, 112) == (1, 1, 55, 55)
    # None gives Lua the layer itself: nn.SpatialMaxPooling(3, 3, 2, 2):ceil().
    assert module.round_up() is None
    assert size_after(module, 1, 1, 112, 112) == (1, 1, 56, 56)
    module.round_down()
    assert size_after(module, 1, 1, 112, 112) == (1, 1, 55, 55)
    assert torch7.SpatialMaxPooling.lua_methods()["ceil"] == "round_up"
    averages = torch7.SpatialAveragePooling(2, 2, 2, 2)
    averages.round_up()
    # A window that hangs out is divided by what of it is inside, as in Torch.
    assert averages(torch.ones(1, 3, 3)).tolist() == [[[1, 1], [1, 1]]]


def test_padding_counts_as_zeros_unless_it_is_left_out():
    module = torch7.SpatialAveragePooling(2, 2, 2, 2, 1, 1)
    assert module(torch.ones(1, 2, 2)).tolist() == [[[0.25, 0.25], [0.25, 0.25]]]
    module.leave_padding_out()
    assert module(torch.ones(1, 2, 2)).tolist() == [[[1, 1], [1, 1]]]
    module.count_padding()
    assert module(torch.ones(1, 2, 2)).tolist() == [[[0.25, 0.25], [0.25, 0.25]]]


def test_averages_of_old_files_are_sums():
    module = torch7.SpatialAveragePooling(2, 2)
    setattr(module, module.lua_fields["divide"], False)
    assert module(torch.ones(1, 2, 2)).tolist() == [[[4]]]


@few
@given(seed=seeds, batch=batches, power=st.sampled_from([1, 2, 3]), window=st.tuples(side, side, step, step))
def test_power_pooling_takes_averages_and_no_sums(seed, batch, power, window):
    width, height, across, down = window
    module = torch7.SpatialLPPooling(2, power, *window)
    (values,) = distinct(seed, (*batch, 2, height + 1, width))
    input = values.detach().abs().requires_grad_()

    def formula(x):
        return (windows(x, (height, width), (down, across)) ** power).mean((-1, -2)) ** (1 / power)

    check(module, input, formula)


def test_power_pooling_of_a_blank_image_has_gradients():
    image = torch.zeros(1, 4, 4, requires_grad=True)
    torch7.SpatialLPPooling(1, 2, 2, 2)(image).sum().backward()
    assert (image.grad == 0).all()


@few
@given(seed=seeds, batch=batches, width=side, height=side)
def test_unpooling_puts_values_where_the_maxima_were(seed, batch, width, height):
    pooling = torch7.SpatialMaxPooling(width, height)
    module = torch7.SpatialMaxUnpooling(pooling)
    # One column more than the windows cover.
    (image,) = distinct(seed, (*batch, 2, 2 * height, 2 * width + 1))
    pooled = pooling(image)
    (input,) = distinct(seed, pooled.shape)

    def formula(x):
        output = np.zeros(image.shape)
        seen = image.detach().numpy()
        for place in np.ndindex(*pooled.shape):
            at = np.argwhere(seen == pooled.detach().numpy()[place])[0]
            output[tuple(at)] = x[place]
        return output

    check(module, input, formula)


def test_unpooling_of_volumes_is_the_way_back():
    pooling = torch7.VolumetricMaxPooling(2, 2, 2)
    module = torch7.VolumetricMaxUnpooling(pooling)
    volume = torch.rand(1, 1, 4, 4, 4)
    pooled = pooling(volume)
    back = module(pooled)
    assert back.shape == volume.shape
    assert torch.equal(pooling(back), pooled)
    assert (back != 0).sum() == 8


def test_unpooling_says_what_pooling_it_needs():
    pooling = torch7.SpatialMaxPooling(2, 2)
    module = torch7.SpatialMaxUnpooling(pooling)
    assert module.described() == "nn.SpatialMaxUnpooling associated to nn.SpatialMaxPooling(2x2, 2,2)"
    # The pooling has its own place in the network.
    assert list(module.modules()) == [module]
    with pytest.raises(ValueError, match=r"got 1x1x2x2, and nn.SpatialMaxPooling\(2x2, 2,2\) has not run"):
        module(torch.zeros(1, 1, 2, 2))
    pooling(torch.rand(1, 1, 4, 4))
    with pytest.raises(ValueError, match=r"got 1x1x3x3, and nn.SpatialMaxPooling\(2x2, 2,2\) gave 1x1x2x2"):
        module(torch.zeros(1, 1, 3, 3))
    with pytest.raises(
        BadArgument, match=r"nn.SpatialMaxPooling\(3x3, 2,2\), whose step must be as large as its window"
    ):
        torch7.SpatialMaxUnpooling(torch7.SpatialMaxPooling(3, 3, 2, 2))
    with pytest.raises(BadArgument, match=r"nn.SpatialMaxUnpooling needs the nn.SpatialMaxPooling that it undoes"):
        torch7.SpatialMaxUnpooling(torch7.SpatialAveragePooling(2, 2, 2, 2))


@pytest.mark.parametrize(
    ("module", "printed"),
    [
        (torch7.SpatialMaxPooling(2, 2), "nn.SpatialMaxPooling(2x2, 2,2)"),
        (torch7.SpatialMaxPooling(3, 2, 1, 4, 1, 0), "nn.SpatialMaxPooling(3x2, 1,4, 1,0)"),
        (torch7.SpatialDilatedMaxPooling(3, 3, 1, 2), "nn.SpatialDilatedMaxPooling(3x3, 1,2, 1,1)"),
        (torch7.SpatialDilatedMaxPooling(3, 3, 1, 1, 0, 1, 2, 3), "nn.SpatialDilatedMaxPooling(3x3, 1,1, 0,1, 2,3)"),
        (torch7.SpatialAveragePooling(7, 6), "nn.SpatialAveragePooling(7x6, 1,1)"),
        (torch7.SpatialAveragePooling(7, 6, 3, 2, 1, 2), "nn.SpatialAveragePooling(7x6, 3,2, 1,2)"),
        (torch7.VolumetricMaxPooling(2, 3, 4), "nn.VolumetricMaxPooling(2x3x4, 2,3,4)"),
        (
            torch7.VolumetricAveragePooling(2, 3, 4, 1, 1, 1, 1, 0, 2),
            "nn.VolumetricAveragePooling(2x3x4, 1,1,1, 1,0,2)",
        ),
        (torch7.SpatialLPPooling(3, 2, 2, 2), "nn.SpatialLPPooling"),
    ],
)
def test_pooling_is_printed_as_torch_prints_it(module, printed):
    assert module.described() == printed


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: torch7.SpatialMaxPooling(2),
            "nn.SpatialMaxPooling got nil for kH; it takes a whole number from 1 on, as in nn.SpatialMaxPooling(2, 2, 2, 2)",
        ),
        (
            lambda: torch7.SpatialMaxPooling(2, 2, 2, 2, 2),
            "nn.SpatialMaxPooling got padding 2,0 for a window of 2x2; at most half of the window may be padding",
        ),
        (
            lambda: torch7.VolumetricMaxPooling(2, 2),
            "nn.VolumetricMaxPooling got nil for kH; it takes a whole number from 1 on, "
            "as in nn.VolumetricMaxPooling(2, 2, 2)",
        ),
    ],
)
def test_pooling_says_which_argument_does_not_fit(make, sentence):
    with pytest.raises(BadArgument) as caught:
        make()
    assert str(caught.value) == sentence


def test_pooling_takes_no_flat_input():
    with pytest.raises(ValueError, match=r"nn.SpatialMaxPooling takes an input of 3 or 4 dimensions; it got 2: 16x784"):
        torch7.SpatialMaxPooling(2, 2)(torch.zeros(16, 784))
