"""Mean images of Caffe and DIGITS."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jobs.errors import BadDatabase
from jobs.storage.datum import BlobProto
from jobs.storage.mean import read_mean_file, write_mean_file, write_mean_picture
from tests.unit.storage_jobs import picture


@pytest.mark.parametrize("channels", [1, 3])
def test_a_mean_comes_back_as_it_was(tmp_path: Path, channels: int) -> None:
    mean = picture(3, 4, 5, channels).astype(np.float32)
    write_mean_file(tmp_path / "mean.binaryproto", mean)
    found = read_mean_file(tmp_path / "mean.binaryproto")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, mean)


def test_the_file_is_bgr_with_legacy_sizes(tmp_path: Path) -> None:
    write_mean_file(tmp_path / "mean.binaryproto", np.array([1, 2, 3], np.float32).reshape(3, 1, 1))
    blob = BlobProto.FromString((tmp_path / "mean.binaryproto").read_bytes())
    assert (blob.num, blob.channels, blob.height, blob.width) == (1, 3, 1, 1)
    assert list(blob.data) == [3, 2, 1]


@pytest.mark.parametrize("sides", [(3, 4, 5), (1, 3, 4, 5)])
def test_the_newer_shape_and_doubles_are_read(tmp_path: Path, sides: tuple[int, ...]) -> None:
    blob = BlobProto(double_data=np.arange(60).tolist())
    blob.shape.dim.extend(sides)
    (tmp_path / "m.binaryproto").write_bytes(blob.SerializeToString())
    np.testing.assert_array_equal(read_mean_file(tmp_path / "m.binaryproto"), np.arange(60).reshape(3, 4, 5)[::-1])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"garbage", "no BlobProto"),
        (b"", "no single image"),
        (BlobProto(num=2, channels=1, height=1, width=1, data=[1, 2]).SerializeToString(), "2×1×1×1"),
        (BlobProto(num=1, channels=1, height=2, width=2, data=[1, 2]).SerializeToString(), "holds 2 values"),
        (BlobProto(num=1, channels=1, height=1, width=1, data=[float("nan")]).SerializeToString(), "no numbers"),
    ],
)
def test_a_file_that_is_no_mean_says_why(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "m.binaryproto").write_bytes(content)
    with pytest.raises(BadDatabase, match=words):
        read_mean_file(tmp_path / "m.binaryproto")


def test_the_picture_has_the_size_of_the_images(tmp_path: Path) -> None:
    assert write_mean_picture(tmp_path / "mean.jpg", picture(1, 20, 30, 3).astype(np.float32))
    with Image.open(tmp_path / "mean.jpg") as image:
        assert (image.size, image.mode, image.format) == ((30, 20), "RGB", "JPEG")
    assert not write_mean_picture(tmp_path / "five.jpg", np.zeros((5, 2, 2), np.float32))
