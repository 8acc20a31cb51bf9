"""Arrays as pictures: DIGITS's mosaics of tiles, coloured, as PNG with one pixel a value."""

import base64
import io
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from jobs.storage.images import as_image

Floats = NDArray[np.floating[Any]]
Bytes = NDArray[np.uint8]
Number = TypeVar("Number", bound=np.number[Any])
Colormap = Literal["jet", "viridis"]

WIDEST = 1200
MOST_VALUES_GIVEN = 4096
OPAQUE = 255
# A grey picture's pixels are places in the colormap, and one place means that the page shows through.
TRANSPARENT = 255
LEVELS = 255


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
class Pen:
    """How the pictures of one table of layers are drawn; not at all with `widest` 0."""

    colormap: Colormap
    widest: int = WIDEST
    with_values: bool = True

    def draw(self, array: Floats, limits: tuple[float, float] | None = None) -> Picture | None:
        return draw(array, self.colormap, limits, self.widest, self.with_values) if self.widest else None


@dataclass(frozen=True)
class Tiles:
    """What an array is read as: grey tiles (N, H, W), or colour tiles (N, H, W, 3)."""

    pixels: Floats

    @property
    def are_colour(self) -> bool:
        return self.pixels.ndim == 4


def tiles_of(array: Floats, widest: int = WIDEST) -> Tiles:
    """The array's tiles by DIGITS's rules for its shape, less those that would make the picture wider or higher.

    A flat array is values of one pixel each. Three channels are a colour image, and so are three planes of filters.
    More than four dimensions are read as four, the first ones flattened.
    """
    if array.ndim <= 2:
        return Tiles(_kept(array.reshape(-1, 1, 1), widest))
    if array.ndim > 4:
        array = array.reshape(-1, *array.shape[-3:])
    if array.ndim == 3 and array.shape[0] == 3:
        return Tiles(_kept(array.transpose(1, 2, 0)[None], widest))
    if array.ndim == 4 and array.shape[1] == 3:
        return Tiles(_kept(array.transpose(0, 2, 3, 1), widest))
    if array.ndim == 4 and array.shape[0] == 3:
        return Tiles(_kept(array.transpose(1, 2, 3, 0), widest))
    return Tiles(_kept(array.reshape(-1, *array.shape[-2:]), widest))


def _kept(tiles: Floats, widest: int) -> Floats:
    count, height, width = tiles.shape[:3]
    if max(height, width) > widest:
        # One tile that is too large is seen whole, with pixels left out.
        step = math.ceil(max(height, width) / widest)
        return tiles[:1, ::step, ::step]
    padding = _padding(width)
    across, down = max(widest // (width + padding), 1), max(widest // (height + padding), 1)
    return tiles[: min(across, down) ** 2] if count > min(across, down) ** 2 else tiles


def pixels_of_mosaics(shapes: Iterable[tuple[int, ...]], widest: int) -> int:
    """How many pixels the pictures of arrays of these shapes have together."""
    return sum(_mosaic_pixels(tiles_of(np.broadcast_to(np.float32(0), shape), widest).pixels) for shape in shapes)


def _mosaic_pixels(tiles: Floats) -> int:
    count, height, width = tiles.shape[:3]
    columns, rows = grid_of(count)
    gap = _padding(width)
    return int(columns * (width + gap) * rows * (height + gap))


def _padding(width: int) -> int:
    return 1 if width > 1 else 0


def grid_of(count: int) -> tuple[int, int]:
    """Columns and rows of a mosaic of `count` tiles: as square as can be, higher than wide. 50 are 7 by 8."""
    side = math.isqrt(max(count - 1, 0)) + 1
    return (side - 1 if side * (side - 1) >= count and side > 1 else side), side


def draw(
    array: Floats,
    colormap: Colormap,
    limits: tuple[float, float] | None = None,
    widest: int = WIDEST,
    with_values: bool = True,
) -> Picture:
    """The mosaic of an array. The colours span its own finite values, or `limits` when pictures are to be compared."""
    tiles = tiles_of(np.asarray(array), widest)
    low, high = limits or finite_limits(tiles.pixels)
    if tiles.are_colour:
        colours = _mosaic(_to_levels(tiles.pixels, low, high, 256), 0)
        # Where DIGITS drew white, the page shows through: it may be dark.
        opacity = _mosaic(np.full(tiles.pixels.shape[:3], OPAQUE, np.uint8), 0)
        height, width = opacity.shape
        png = _png(Image.fromarray(colours if opacity.all() else np.dstack([colours, opacity])))
        return Picture(png, width, height, finite_or_none(low), finite_or_none(high), "rgb", None)
    # What is no number has no colour: the page shows through, and its cell says null.
    coloured = np.where(np.isnan(tiles.pixels), np.uint8(TRANSPARENT), _to_levels(tiles.pixels, low, high, LEVELS))
    levels = _mosaic(coloured, TRANSPARENT)
    height, width = levels.shape
    is_given = with_values and width * height <= MOST_VALUES_GIVEN
    values = _values(_mosaic(tiles.pixels.astype(np.float64), np.nan)) if is_given else None
    return Picture(
        _palette_png(levels, colormap), width, height, finite_or_none(low), finite_or_none(high), colormap, values
    )


def draw_image(image: Bytes) -> Picture:
    """An image of C×H×W bytes as it is: grey or colour, not stretched to its own range."""
    channels, height, width = image.shape
    if channels == 3:
        return Picture(_png(as_image(image)), width, height, 0.0, 255.0, "rgb", None)
    if channels != 1:
        return draw(image.astype(np.float64), "viridis", (0.0, 255.0))
    values = _values(image[0].astype(np.float64)) if width * height <= MOST_VALUES_GIVEN else None
    return Picture(_png(as_image(image)), width, height, 0.0, 255.0, "gray", values)


def finite_limits(array: Floats) -> tuple[float, float]:
    """The lowest and the highest finite value; NaN where there is none."""
    finite = array[np.isfinite(array)]
    return (float(finite.min()), float(finite.max())) if finite.size else (math.nan, math.nan)


def finite_or_none(value: float) -> float | None:
    """The value as strict JSON can hold it."""
    return value if math.isfinite(value) else None


def _mosaic(tiles: NDArray[Number], gap_value: float) -> NDArray[Number]:
    """The tiles in their grid; cells and gaps that hold no value are `gap_value`."""
    count, height, width = tiles.shape[:3]
    columns, rows = grid_of(count)
    gap = _padding(width) if count > 1 else 0
    cells = np.full((rows * columns, height + gap, width + gap, *tiles.shape[3:]), gap_value, tiles.dtype)
    cells[:count, :height, :width] = tiles
    cells = cells.reshape(rows, columns, *cells.shape[1:]).swapaxes(1, 2)
    canvas = cells.reshape(rows * (height + gap), columns * (width + gap), *tiles.shape[3:])
    # No gap after the last tile.
    return canvas[: canvas.shape[0] - gap, : canvas.shape[1] - gap]


def _to_levels(values: Floats, low: float, high: float, levels: int) -> Bytes:
    span = high - low
    if span <= 0 or not math.isfinite(span):
        return np.zeros(values.shape, np.uint8)
    with np.errstate(over="ignore"):
        scaled = np.nan_to_num((values.astype(np.float64) - low) * ((levels - 1) / span), nan=0.0)
    pixels: Bytes = np.clip(scaled + 0.5, 0, levels - 1).astype(np.uint8)
    return pixels


# Where each colour of jet turns, and how bright it is there.
JET = (
    ((0, 0.35, 0.66, 0.89, 1), (0, 0, 1, 1, 0.5)),
    ((0, 0.125, 0.375, 0.64, 0.91, 1), (0, 0, 1, 1, 0, 0)),
    ((0, 0.11, 0.34, 0.65, 1), (0.5, 1, 1, 0, 0)),
)


def _jet() -> Floats:
    places = np.linspace(0, 1, LEVELS)
    return np.stack([np.interp(places, turns, brightness) for turns, brightness in JET], 1)


def _viridis() -> Floats:
    # Not at the top: a training draws with jet, and need not wait for this import.
    import matplotlib  # noqa: PLC0415

    colours: Floats = matplotlib.colormaps["viridis"](np.linspace(0, 1, LEVELS))[:, :3]
    return colours


COLOURS: dict[Colormap, Callable[[], Floats]] = {"jet": _jet, "viridis": _viridis}


@cache
def _palette(colormap: Colormap) -> bytes:
    """Red, green and blue of each level, and of TRANSPARENT."""
    return (COLOURS[colormap]() * 255).astype(np.uint8).tobytes() + bytes(3)


def _values(canvas: Floats) -> list[list[float | None]]:
    """Rows of values with six digits; padding is NaN already, and said as None like any value that is no number."""
    is_finite = np.isfinite(canvas)
    shown: NDArray[Any] = _with_six_digits(np.where(is_finite, canvas, 0.0))
    if not is_finite.all():
        shown = shown.astype(object)
        shown[~is_finite] = None
    values: list[list[float | None]] = shown.tolist()
    return values


def _with_six_digits(values: Floats) -> Floats:
    # Each value as a whole number times or over a power of ten: both are exact, so that the result's text is short.
    digits = 5 - np.floor(np.log10(np.abs(values, where=values != 0, out=np.ones_like(values))))
    up, down = 10.0 ** np.clip(digits, 0, 300), 10.0 ** np.clip(-digits, 0, 300)
    rounded: Floats = np.rint(values * up / down) / up * down
    return rounded


def _palette_png(levels: Bytes, colormap: Colormap) -> str:
    image = Image.fromarray(levels)
    # A palette of these bytes makes a grey image one of places in it.
    image.putpalette(_palette(colormap))
    return _png(image, transparency=TRANSPARENT) if (levels == TRANSPARENT).any() else _png(image)


def _png(image: Image.Image, **options: Any) -> str:
    out = io.BytesIO()
    # The time goes into compression, and these are small.
    image.save(out, "PNG", compress_level=1, **options)
    return base64.b64encode(out.getvalue()).decode()
