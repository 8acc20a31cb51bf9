"""What a Datum of Caffe or DIGITS says, byte for byte."""

import struct
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from jobs.errors import BadDatabase
from jobs.storage.datum import array_datum, encoded_datum, image_of, label_of, parse_datum, stored_as
from tests.unit.storage_jobs import picture, vector_datum


def varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def header(channels: int, height: int, width: int) -> bytes:
    return b"\x08" + varint(channels) + b"\x10" + varint(height) + b"\x18" + varint(width)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("encoding", ["png", "none"])
def test_an_array_comes_back_as_it_was(channels: int, encoding: Any) -> None:
    if (channels, encoding) == (4, "png"):
        pytest.skip("there is no such picture")
    pixels = picture(1, 4, 5, channels)
    datum = parse_datum(array_datum(pixels, 7, encoding))
    assert stored_as(datum) == ("raw" if encoding == "none" else "encoded")
    assert (datum.channels, datum.height, datum.width, datum.label) == (channels, 4, 5, 7)
    np.testing.assert_array_equal(image_of(datum), pixels)


def test_raw_colour_is_stored_as_bgr() -> None:
    red = np.array([255, 0, 0], np.uint8).reshape(3, 1, 1)
    assert parse_datum(array_datum(red)).data == bytes([0, 0, 255])


def test_floats_are_read_packed_and_unpacked() -> None:
    values = np.array([0.5, -2.0, 3.25, 1e6], np.float32)
    unpacked = header(1, 2, 2) + b"".join(b"\x35" + struct.pack("<f", value) for value in values)
    packed = header(1, 2, 2) + b"\x32\x10" + values.tobytes()
    for record in (unpacked, packed, array_datum(values.reshape(1, 2, 2))):
        image = image_of(parse_datum(record))
        assert image.dtype == np.float32
        np.testing.assert_array_equal(image, values.reshape(1, 2, 2))


def test_floats_are_written_one_by_one_as_caffe_does() -> None:
    assert array_datum(np.ones((1, 1, 2), np.float32)).count(b"\x35" + struct.pack("<f", 1.0)) == 2


@pytest.mark.parametrize(
    ("record", "label"),
    [
        (vector_datum(np.array([1, 2.5], np.float32)), np.array([1, 2.5], np.float32)),
        (parse_datum(b"\x28\x05").SerializeToString(), np.array(5)),
        (array_datum(picture(2, 3, 4)), picture(2, 3, 4)),
    ],
)
def test_a_record_of_labels_is_a_vector_or_a_number_or_a_picture(record: bytes, label: NDArray[Any]) -> None:
    found = label_of(parse_datum(record))
    assert (found.shape, found.dtype) == (label.shape, label.dtype)
    np.testing.assert_array_equal(found, label)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (b"no datum", "cannot be parsed"),
        (b"\x22\x02ab", "shape is not set"),
        (header(1, 2, 2) + b"\x22\x02ab", "2x2x1, which makes 4 values, and it holds 2"),
        (encoded_datum(b"no picture", (1, 2, 2), 0), "no picture"),
    ],
)
def test_a_record_that_makes_no_sense_says_why(record: bytes, words: str) -> None:
    with pytest.raises(BadDatabase, match=words):
        image_of(parse_datum(record))
