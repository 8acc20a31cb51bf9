"""Arrays as pictures: DIGITS's mosaics of tiles, coloured, as PNG with one pixel a value."""

import base64
import io
import math
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.floating[Any]]
Bytes = NDArray[np.uint8]
Colormap = Literal["jet", "viridis"]

WIDEST = 1200
MOST_VALUES_GIVEN = 4096
OPAQUE = 255


@dataclass(frozen=True)
class Picture:
    """A picture as pages and JSON get it. `values` are there for small ones of one value a pixel; None is padding."""

    png: str
    width: int
    height: int
    minimum: float | None
    maximum: float | None
    colormap: Literal["jet", "viridis", "gray", "rgb"]
    values: list[list[float | None]] | None


@dataclass(frozen=True)
class Tiles:
    """What an array is read as: grey tiles (N, H, W), or colour tiles (N, H, W, 3)."""

    pixels: Floats

    @property
    def are_colour(self) -> bool:
        return self.pixels.ndim == 4


def tiles_of(array: Floats) -> Tiles:
    """The array's tiles by DIGITS's rules for its shape, less those that would make the picture too large.

    A flat array is values of one pixel each. Three channels are a colour image, and so are three planes of filters.
    More than four dimensions are read as four, the first ones flattened.
    """
    if array.ndim <= 2:
        return Tiles(_kept(array.reshape(-1, 1, 1)))
    if array.ndim > 4:
        array = array.reshape(-1, *array.shape[-3:])
    if array.ndim == 3 and array.shape[0] == 3:
        return Tiles(_kept(array.transpose(1, 2, 0)[None]))
    if array.ndim == 4 and array.shape[1] == 3:
        return Tiles(_kept(array.transpose(0, 2, 3, 1)))
    if array.ndim == 4 and array.shape[0] == 3:
        return Tiles(_kept(array.transpose(1, 2, 3, 0)))
    return Tiles(_kept(array.reshape(-1, *array.shape[-2:])))


def _kept(tiles: Floats) -> Floats:
    count, height, width = tiles.shape[:3]
    if max(height, width) > WIDEST:
        return tiles[:1, :WIDEST, :WIDEST]
    padding = _padding(width)
    across, down = max(WIDEST // (width + padding), 1), max(WIDEST // (height + padding), 1)
    return tiles[: min(across, down) ** 2] if count > min(across, down) ** 2 else tiles


def _padding(width: int) -> int:
    return 1 if width > 1 else 0


def grid_of(count: int) -> tuple[int, int]:
    """Columns and rows of a mosaic of `count` tiles: as square as can be, higher than wide. 50 are 7 by 8."""
    side = math.isqrt(max(count - 1, 0)) + 1
    return (side - 1 if side * (side - 1) >= count and side > 1 else side), side


def draw(array: Floats, colormap: Colormap, limits: tuple[float, float] | None = None) -> Picture:
    """The mosaic of an array. The colours span its own finite values, or `limits` when pictures are to be compared."""
    tiles = tiles_of(np.asarray(array))
    low, high = limits or finite_limits(tiles.pixels)
    canvas = _mosaic(tiles.pixels.astype(np.float64))
    scaled = _to_bytes(canvas, low, high)
    is_padding = _padding_mask(tiles.pixels)
    pixels = scaled if tiles.are_colour else _colours(colormap)[scaled]
    if is_padding.any():
        # Where DIGITS drew white, the page shows through: it may be dark.
        pixels = np.dstack([pixels, np.where(is_padding, 0, OPAQUE).astype(np.uint8)])
    height, width = canvas.shape[:2]
    values = None
    if not tiles.are_colour and width * height <= MOST_VALUES_GIVEN:
        values = _values(canvas)
    drawn: Literal["jet", "viridis", "rgb"] = "rgb" if tiles.are_colour else colormap
    return Picture(_png(pixels), width, height, _number(low), _number(high), drawn, values)


def draw_image(image: Bytes) -> Picture:
    """An image of C×H×W bytes as it is: grey or colour, not stretched to its own range."""
    channels, height, width = image.shape
    if channels == 3:
        return Picture(_png(image.transpose(1, 2, 0)), width, height, 0.0, 255.0, "rgb", None)
    if channels != 1:
        return draw(image.astype(np.float64), "viridis", (0.0, 255.0))
    values = _values(image[0].astype(np.float64)) if width * height <= MOST_VALUES_GIVEN else None
    return Picture(_png(image[0]), width, height, 0.0, 255.0, "gray", values)


def finite_limits(array: Floats) -> tuple[float, float]:
    finite = array[np.isfinite(array)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def _mosaic(tiles: Floats) -> Floats:
    """The tiles in their grid; cells and gaps that hold no value are NaN."""
    count, height, width = tiles.shape[:3]
    columns, rows = grid_of(count)
    gap = _padding(width) if count > 1 else 0
    cells = np.full((rows * columns, height + gap, width + gap, *tiles.shape[3:]), np.nan)
    cells[:count, :height, :width] = tiles
    cells = cells.reshape(rows, columns, *cells.shape[1:]).swapaxes(1, 2)
    canvas = cells.reshape(rows * (height + gap), columns * (width + gap), *tiles.shape[3:])
    # No gap after the last tile.
    return canvas[: canvas.shape[0] - gap, : canvas.shape[1] - gap]


def _padding_mask(tiles: Floats) -> NDArray[np.bool_]:
    return np.isnan(_mosaic(np.zeros(tiles.shape[:3])))


def _to_bytes(values: Floats, low: float, high: float) -> Bytes:
    span = high - low
    if span <= 0 or not math.isfinite(span):
        return np.zeros(values.shape, np.uint8)
    # NaN has no colour of its own: it is drawn as the lowest value, and its cell says null.
    scaled = np.nan_to_num((values - low) * (255 / span), nan=0.0, posinf=255.0, neginf=0.0)
    pixels: Bytes = np.clip(scaled + 0.5, 0, 255).astype(np.uint8)
    return pixels


@cache
def _colours(colormap: Colormap) -> Bytes:
    colours: Bytes = matplotlib.colormaps[colormap](np.arange(256), bytes=True)[:, :3]
    return colours


def _values(canvas: Floats) -> list[list[float | None]]:
    """Rows of values with six digits; padding is NaN already, and said as None like any value that is no number."""
    return [[float(f"{value:.6g}") if math.isfinite(value) else None for value in row] for row in canvas.tolist()]


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _png(pixels: Bytes) -> str:
    out = io.BytesIO()
    # The time goes into compression, and these are small.
    Image.fromarray(np.ascontiguousarray(pixels)).save(out, "PNG", compress_level=1)
    return base64.b64encode(out.getvalue()).decode()
