"""Picture files of every kind become grey or RGB pictures of one size."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jobs.errors import BadImage
from jobs.storage.images import decode, encode, load_image, resize_image, resized
from tests.unit.storage_jobs import picture


def content_of(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


RGB = Image.fromarray(picture(5, 8, 9, 3).transpose(1, 2, 0))


@pytest.mark.parametrize(
    ("content", "mode"),
    [
        (content_of(RGB), "RGB"),
        (content_of(RGB.convert("L")), "L"),
        (content_of(RGB.convert("1")), "L"),
        (content_of(RGB.convert("LA")), "L"),
        (content_of(RGB.convert("P")), "RGB"),
        (content_of(RGB.convert("RGBA")), "RGB"),
        (content_of(RGB.convert("CMYK"), "JPEG"), "RGB"),
        (content_of(RGB.convert("YCbCr"), "TIFF"), "RGB"),
        (content_of(RGB, "GIF"), "RGB"),
        (content_of(RGB, "WEBP"), "RGB"),
        (content_of(RGB, "BMP"), "RGB"),
        (content_of(RGB, "PPM"), "RGB"),
    ],
)
def test_every_mode_becomes_grey_or_rgb(content: bytes, mode: str) -> None:
    assert decode(content).mode == mode
    assert load_image(content, 1).mode == "L"
    assert load_image(content, 3).mode == "RGB"


def test_what_is_transparent_becomes_white() -> None:
    clear = Image.new("RGBA", (2, 2), (10, 20, 30, 0))
    assert load_image(content_of(clear), 3).getpixel((0, 0)) == (255, 255, 255)
    assert load_image(content_of(clear.convert("LA")), 1).getpixel((0, 0)) == 255


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_to_eight(kind: str) -> None:
    deep = Image.fromarray(np.array([[0, 257, 128 * 257, 65535]], np.uint16))
    assert np.asarray(load_image(content_of(deep, kind), 1)).tolist() == [[0, 1, 128, 255]]
    wide = Image.fromarray(np.array([[0, 257, 65535, 70_000]], np.int32))
    assert np.asarray(load_image(content_of(wide, "TIFF"), 1)).tolist() == [[0, 1, 255, 255]]


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be huge."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"not a picture", "no picture"),
        (b"", "no picture"),
        (content_of(RGB)[:60], "damaged"),
        (content_of(RGB, "JPEG")[:400], "damaged"),
        (bomb(9450, 9450), "too large"),
        (bomb(100_000, 100_000), "damaged|too large"),
        (content_of(RGB.convert("F"), "TIFF"), '"F" are not supported'),
    ],
)
def test_what_cannot_be_read_says_why(content: bytes, words: str) -> None:
    with pytest.raises(BadImage, match=words):
        load_image(content, 3)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadImage, match="cannot be read: No such file"):
        load_image(tmp_path / "none.png", 1)


def test_a_picture_of_the_right_size_is_left_alone() -> None:
    image = decode(content_of(RGB))
    assert resized(image, 8, 9, "fill") is image
    assert image.format == "PNG"


# A wide picture: its left half is black, its right half white.
WIDE = Image.fromarray(np.repeat(np.array([[0, 255]], np.uint8), 20, axis=1).repeat(20, axis=0))


def test_squash_keeps_all_of_the_picture() -> None:
    pixels = resize_image(WIDE, 10, 10, "squash")[0]
    assert pixels.shape == (10, 10)
    assert pixels[:, 0].max() < 50
    assert pixels[:, -1].min() > 200


def test_crop_keeps_the_centre() -> None:
    picture = Image.new("L", (40, 20), 255)
    picture.paste(0, (10, 0, 30, 20))
    assert resize_image(picture, 20, 20, "crop").max() == 0


def test_fill_adds_bars_of_the_mean_colour_always_the_same() -> None:
    pixels = resize_image(WIDE, 20, 20, "fill")[0]
    assert np.unique(pixels[:5]).tolist() in ([127], [128])
    assert np.unique(pixels[15:]).tolist() in ([127], [128])
    assert pixels[10, 0] == 0
    assert pixels[10, 19] == 255
    np.testing.assert_array_equal(pixels, resize_image(WIDE, 20, 20, "fill")[0])


def test_half_crop_cuts_half_and_fills_half() -> None:
    pixels = resize_image(WIDE, 20, 20, "half_crop")[0]
    filled = [row for row in range(20) if len(np.unique(pixels[row])) == 1]
    # Scaled by the mean of 2 and 1 to 27×13: 3 rows above, 4 below.
    assert len(filled) == 7


@pytest.mark.parametrize("mode", ["squash", "crop", "fill", "half_crop"])
@pytest.mark.parametrize("size", [(1, 500), (500, 1), (3, 2)])
def test_every_shape_becomes_the_size(mode: Any, size: tuple[int, int]) -> None:
    pixels = resize_image(Image.new("RGB", size, "red"), 7, 11, mode)
    assert pixels.shape == (3, 7, 11)
    assert pixels.flags.writeable
    assert np.unique(pixels[0]).tolist() == [255]


def test_png_loses_nothing_and_jpeg_little() -> None:
    assert np.array_equal(np.asarray(decode(encode(RGB, "png"))), np.asarray(RGB))
    assert decode(encode(RGB, "jpg")).format == "JPEG"
