"""The mean image of a dataset: Caffe's mean.binaryproto and the picture of it."""

import math
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from jobs.errors import BadDatabase
from jobs.folder import write_whole
from jobs.storage.datum import BlobProto, in_words
from jobs.storage.images import as_image, encode

Mean = NDArray[np.float32]


def read_mean_file(path: Path) -> Mean:
    """The mean (C, H, W) of a .binaryproto file, RGB when C is 3, which files of Caffe and DIGITS keep as BGR."""
    try:
        blob = BlobProto.FromString(path.read_bytes())
    except OSError as error:
        raise BadDatabase(f"The mean image {path} cannot be read: {error.strerror}.") from error
    except DecodeError as error:
        raise BadDatabase(f"The mean image {path} is no BlobProto of Caffe: its bytes cannot be parsed.") from error
    values = np.array(blob.data or blob.double_data, np.float32)
    # Newer files have a shape of any number of sides, older ones exactly four numbers.
    sides = list(blob.shape.dim) or [blob.num, blob.channels, blob.height, blob.width]
    shape = tuple(sides[-3:])
    if len(shape) != 3 or math.prod(sides) != len(values) or math.prod(shape) != len(values) or not len(values):
        raise BadDatabase(
            f"The mean image {path} is no single image: its shape is {'×'.join(map(str, sides))} "
            f"and it holds {len(values):,} values."
        )
    mean = values.reshape(shape)
    if not np.isfinite(mean).all():
        raise BadDatabase(f"The mean image {path} holds values that are no numbers.")
    return np.ascontiguousarray(mean[::-1]) if len(mean) == 3 else mean


def write_mean_file(path: Path, mean: NDArray[np.float64] | Mean) -> None:
    """Write a mean (C, H, W; RGB) as DIGITS did: BGR, four legacy numbers."""
    channels, height, width = mean.shape
    stored = mean[::-1] if channels == 3 else mean
    blob = BlobProto(num=1, channels=channels, height=height, width=width, data=stored.ravel().tolist())
    write_whole(path, blob.SerializeToString())


def write_mean_picture(path: Path, mean: NDArray[np.float64] | Mean) -> bool:
    """Write the mean as a JPEG; False, and no file, when it is no grey or colour picture."""
    if len(mean) not in (1, 3):
        return False
    write_whole(path, encode(as_image(np.rint(mean.clip(0, 255)).astype(np.uint8)), "jpg"))
    return True


def check_mean_shape(path: Path, mean: Mean, image_shape: tuple[int, ...]) -> None:
    if mean.shape != image_shape:
        raise BadDatabase(
            f"The mean image {path} is {in_words(mean.shape)} and the images are {in_words(image_shape)} "
            "(width x height x channels). Give the mean file that belongs to these images, or none."
        )
