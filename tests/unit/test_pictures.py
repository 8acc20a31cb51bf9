"""Mosaics by DIGITS's rules, one pixel a value."""

import base64
import io

import matplotlib
import numpy as np
import pytest
from PIL import Image

from jobs.pictures import Pen, draw, draw_image, grid_of, pixels_of_mosaics


def pixels_of(picture) -> np.ndarray:
    """Red, green, blue and opacity of each pixel."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.png))).convert("RGBA"))


@pytest.mark.parametrize(
    ("count", "grid"),
    [(1, (1, 1)), (2, (1, 2)), (3, (2, 2)), (50, (7, 8)), (300, (17, 18)), (784, (28, 28)), (20, (4, 5))],
)
def test_grid_is_as_square_as_can_be(count, grid):
    assert grid_of(count) == grid


def test_fifty_values_are_seven_by_eight_and_nothing_is_drawn_in_the_rest():
    picture = draw(np.arange(50, dtype=np.float32), "jet")
    assert (picture.width, picture.height, picture.colormap) == (7, 8, "jet")
    assert (picture.minimum, picture.maximum) == (0, 49)
    assert picture.values[0] == [0, 1, 2, 3, 4, 5, 6]
    assert picture.values[7] == [49] + [None] * 6
    pixels = pixels_of(picture)
    assert pixels.shape == (8, 7, 4)
    assert (pixels[7, 1:, 3] == 0).all()
    assert pixels[0, 0].tolist() == [0, 0, 127, 255]
    assert pixels[7, 0].tolist() == [127, 0, 0, 255]


def test_filters_are_tiles_with_open_gaps():
    picture = draw(np.arange(20 * 25, dtype=np.float32).reshape(20, 1, 5, 5), "viridis")
    assert (picture.width, picture.height) == (4 * 6 - 1, 5 * 6 - 1)
    assert picture.values[0][:7] == [0, 1, 2, 3, 4, None, 25]
    assert (pixels_of(picture)[5, :, 3] == 0).all()
    assert (pixels_of(picture)[4, :5, 3] == 255).all()


@pytest.mark.parametrize(
    ("shape", "size", "colormap"),
    [
        ((1, 28, 28), (28, 28), "jet"),
        ((3, 8, 6), (6, 8), "rgb"),
        ((4, 3, 5, 5), (11, 11), "rgb"),
        ((3, 4, 5, 5), (11, 11), "rgb"),
        ((6, 5), (5, 6), "jet"),
        ((2, 2, 1, 5, 5), (11, 11), "jet"),
        ((), (1, 1), "jet"),
        ((2000, 2000), (1200, 1200), "jet"),
        ((1, 1300, 1300), (650, 650), "jet"),
    ],
)
def test_each_shape_is_read_by_its_rule(shape, size, colormap):
    picture = draw(np.random.default_rng(0).normal(size=shape), colormap="jet")
    assert (picture.width, picture.height) == size
    assert picture.colormap == colormap
    assert pixels_of(picture).shape == (size[1], size[0], 4)


@pytest.mark.parametrize("shape", [(50,), (2000, 2000), (64, 28, 28), (20, 1, 5, 5), (1, 500, 300), (3, 400, 400)])
def test_size_is_known_before_a_picture_is_drawn(shape):
    picture = Pen("jet", widest=320, with_values=False).draw(np.zeros(shape))
    assert max(picture.width, picture.height) <= 320
    assert picture.values is None
    pixels = picture.width * picture.height
    # The gap after the last tile is counted, and not drawn.
    assert pixels <= pixels_of_mosaics([shape], 320) <= 1.4 * pixels


def test_a_pen_of_no_width_draws_nothing():
    assert Pen("jet", widest=0).draw(np.zeros(4)) is None


@pytest.mark.parametrize("colormap", ["jet", "viridis"])
def test_colours_are_those_of_matplotlib(colormap):
    row = pixels_of(draw(np.arange(255).reshape(1, 1, 255), colormap))[0, :, :3].astype(int)
    theirs = matplotlib.colormaps[colormap](np.linspace(0, 1, 255), bytes=True)[:, :3].astype(int)
    # Theirs are taken from a table of 256.
    assert abs(row - theirs).max() <= 2


def test_what_is_no_number_is_null():
    picture = draw(np.array([1.0, np.nan, np.inf, 3.0]), "jet")
    assert (picture.minimum, picture.maximum) == (1, 3)
    assert picture.values == [[1, None], [None, 3]]
    # It has no colour either, which would look like a value: the page shows through.
    opacity = pixels_of(picture)[..., 3]
    assert opacity.tolist() == [[255, 0], [255, 255]]
    nothing = draw(np.full(4, np.nan), "jet")
    assert (nothing.minimum, nothing.maximum) == (None, None)
    assert not pixels_of(nothing)[..., 3].any()


def test_equal_values_have_one_colour():
    assert len(np.unique(pixels_of(draw(np.full((1, 4, 4), 7.0), "jet")).reshape(-1, 4), axis=0)) == 1


def test_large_pictures_carry_no_values():
    assert draw(np.zeros((1, 64, 64)), "jet").values is not None
    assert draw(np.zeros((1, 65, 64)), "jet").values is None


def test_image_is_drawn_as_it_is():
    grey = draw_image(np.full((1, 2, 2), 100, np.uint8))
    assert (grey.colormap, grey.minimum, grey.maximum) == ("gray", 0, 255)
    assert (pixels_of(grey) == [100, 100, 100, 255]).all()
    colour = draw_image(np.stack([np.full((2, 2), value, np.uint8) for value in (1, 2, 3)]))
    assert (pixels_of(colour) == [1, 2, 3, 255]).all()
