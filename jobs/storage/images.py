"""Picture files as grey or RGB images of one size."""

import io
import math
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from jobs.errors import BadImage
from jobs.specs import EVERYWHERE, ServerPaths

Bytes = NDArray[np.uint8]
ResizeMode = Literal["squash", "crop", "fill", "half_crop"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm", ".gif", ".tif", ".tiff", ".webp")
# No other decoder of Pillow is tried: some start programs or are hardly ever used, and so hardly ever tested.
FORMATS = ("PNG", "JPEG", "BMP", "PPM", "GIF", "TIFF", "WEBP")
# A small file can claim to be a picture that fills the memory. Pillow itself only warns at this size.
LARGEST_PIXELS = 89_000_000
# More than so many pixels take in any format.
MOST_FILE_BYTES = 2**30
# What Pillow's decoders raise for damaged files.
DAMAGE = (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, AttributeError, ArithmeticError,
          RuntimeError, struct.error, zlib.error)  # fmt: skip
MODE_OF_CHANNELS = {1: "L", 3: "RGB"}

Scale = Callable[[float, float], float]

# How much smaller an image becomes, from how much wider and how much higher it is than it has to be.
SCALES: dict[str, Scale] = {
    "crop": min,
    "fill": max,
    "half_crop": lambda wider, higher: (wider + higher) / 2,
}


def half_up(value: float) -> int:
    """The nearest integer, halves upwards as DIGITS rounded; Python rounds halves to the even side."""
    return math.floor(value + 0.5)


def load_image(source: Path | bytes, channels: int) -> Image.Image:
    """The picture of a file as grey (1 channel) or RGB (3), decoded; BadImage says why that cannot be."""
    if channels not in MODE_OF_CHANNELS:
        raise BadImage(f"A picture has 1 or 3 channels, and this dataset has {channels}.")
    image = decode(source)
    mode = MODE_OF_CHANNELS[channels]
    return image if image.mode == mode else image.convert(mode)


def read_content(paths: ServerPaths, path: Path | str) -> bytes:
    """What a picture's file holds; BadImage says why that cannot be had."""
    try:
        with paths.open(path) as file:
            if os.fstat(file.fileno()).st_size > MOST_FILE_BYTES:
                raise BadImage(f"The file is too large for a picture: more than {MOST_FILE_BYTES >> 20:,} MiB.")
            return file.read()
    except OSError as error:
        raise BadImage(f"The file cannot be read: {error.strerror or error}.") from error


def decode(source: Path | bytes) -> Image.Image:
    """The picture of a file or its content, as grey or RGB by what it holds."""
    content = source if isinstance(source, bytes) else read_content(EVERYWHERE, source)
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        if image.width * image.height > LARGEST_PIXELS:
            raise BadImage(
                f"The picture is too large: {image.width}×{image.height} pixels; "
                f"at most {LARGEST_PIXELS:,} pixels are decoded."
            )
        image.load()
        return _grey_or_rgb(image)
    except Image.DecompressionBombError as error:
        # Pillow's own limit is higher, and comes first.
        raise BadImage(f"The picture is too large; at most {LARGEST_PIXELS:,} pixels are decoded.") from error
    except UnidentifiedImageError as error:
        raise BadImage("The file is no picture of a kind that can be read (PNG, JPEG, BMP, PPM, PGM, GIF, TIFF, WebP)."
                       ) from error  # fmt: skip
    except DAMAGE as error:
        raise BadImage(f"The picture is damaged: {error}.") from error


def _grey_or_rgb(image: Image.Image) -> Image.Image:
    """Every mode of Pillow as L or RGB; what is transparent becomes white."""
    match image.mode:
        case "L" | "RGB":
            return image
        case "1":
            return image.convert("L")
        case "LA" | "La" | "RGBA" | "RGBa" | "P" | "PA":
            # Palettes may have a transparent colour, so they go through RGBA.
            opaque = "L" if image.mode in ("LA", "La") else "RGB"
            layer = image.convert("LA" if opaque == "L" else "RGBA")
            flat = Image.new(opaque, image.size, "white")
            flat.paste(layer.convert(opaque), mask=layer.getchannel("A"))
            return flat
        case "CMYK" | "YCbCr" | "LAB" | "HSV" | "RGBX":
            return image.convert("RGB")
        case "I" | "I;16" | "I;16B" | "I;16L" | "I;16N":
            return _eight_bits(image)
        case mode:
            raise BadImage(f'Pictures of the kind "{mode}" are not supported. Save it with 8 or 16 bits a channel.')


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey, 0…65535, as 0…255."""
    values = np.asarray(image).astype(np.float64)
    return Image.fromarray(np.rint(values.clip(0, 65535) / 257).astype(np.uint8))


def resize_image(image: Image.Image, height: int, width: int, mode: ResizeMode = "squash") -> Bytes:
    """The picture as an array (C, H, W) of this size."""
    return as_array(resized(image, height, width, mode))


def resized(image: Image.Image, height: int, width: int, mode: ResizeMode = "squash") -> Image.Image:
    """The picture in this size; the very same object when it has it already.

    squash changes its proportions, crop cuts its centre, fill adds bars of its mean colour, half_crop does half of each.
    """
    if image.size == (width, height):
        return image
    wider, higher = image.width / width, image.height / height
    if mode == "squash" or wider == higher:
        return image.resize((width, height), Image.Resampling.BILINEAR)
    ratio = SCALES[mode](wider, higher)
    size = (max(1, half_up(image.width / ratio)), max(1, half_up(image.height / ratio)))
    scaled = image.resize(size, Image.Resampling.BILINEAR)
    canvas = Image.new(image.mode, (width, height), image.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0)))
    canvas.paste(scaled, (-half_up((scaled.width - width) / 2), -half_up((scaled.height - height) / 2)))
    return canvas


def as_array(image: Image.Image) -> Bytes:
    """A grey or RGB image as a writable array (C, H, W)."""
    # Half the time of np.array(image), which asks for the same bytes in a longer way.
    pixels = np.frombuffer(bytearray(image.tobytes()), np.uint8).reshape(image.height, image.width, -1)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def as_image(pixels: Bytes) -> Image.Image:
    """An array (1 or 3, H, W) as a picture."""
    return Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def encode(image: Image.Image, encoding: Literal["png", "jpg"]) -> bytes:
    """The content of a PNG or JPEG file."""
    out = io.BytesIO()
    if encoding == "png":
        # Run-length coding of the filtered rows: for photographs a third of the time of the default, and as small.
        image.save(out, "PNG", compress_level=1, compress_type=zlib.Z_RLE)
    else:
        image.save(out, "JPEG", quality=90)
    return out.getvalue()
