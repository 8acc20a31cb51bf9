"""Well-known datasets from files that are there already; nothing here goes over the network."""

import gzip
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from jobs.errors import UserError
from jobs.storage.class_folders import parse_folders
from jobs.storage.handwritten import write_digit_folders
from tests.unit.storage_jobs import classification_spec
from webapp.cli import main
from webapp.downloads import download_data

MNIST = Path(__file__).parents[3] / "shared" / "data" / "mnist"


def idx(array: NDArray[np.uint8]) -> bytes:
    """The file format of MNIST."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def small_mnist(tmp_path: Path) -> Path:
    """MNIST's four files with 40 and 10 of scikit-learn's digits in them."""
    digits = load_digits()
    images, labels = (digits.images * 15).astype(np.uint8), digits.target.astype(np.uint8)
    folder = tmp_path / "files"
    folder.mkdir()
    for name, part in [("train", slice(40)), ("t10k", slice(40, 50))]:
        (folder / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images[part])))
        (folder / f"{name}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels[part])))
    return folder


def test_the_files_of_mnist_become_class_folders(tmp_path: Path, small_mnist: Path) -> None:
    told: list[tuple[int, int]] = []
    destination = tmp_path / "made" / "mnist"
    download_data("mnist", destination, small_mnist, lambda done, total: told.append((done, total)))
    digits = load_digits()
    lines = (destination / "train.txt").read_text().splitlines()
    assert len(lines) == 40
    for number, line in enumerate(lines):
        path, label = line.rsplit(" ", 1)
        assert Path(path) == destination / "train" / str(digits.target[number]) / f"{number:05d}.png"
        assert int(label) == digits.target[number]
        with Image.open(path) as image:
            # Not inverted, as DIGITS's were: white ink on black, as MNIST has it.
            np.testing.assert_array_equal(np.asarray(image), (digits.images[number] * 15).astype(np.uint8))
    assert len(list((destination / "test").rglob("*.png"))) == 10
    assert (destination / "labels.txt").read_text().split() == [str(label) for label in range(10)]
    assert told[-1] == (50, 50)
    assert [path.name for path in destination.parent.iterdir()] == ["mnist"]


def test_the_command_line_does_it(tmp_path: Path, small_mnist: Path) -> None:
    command = ["download-data", "mnist", str(tmp_path / "mnist"), "--from", str(small_mnist)]
    result = CliRunner().invoke(main, command, catch_exceptions=False)
    assert result.exit_code == 0
    assert (tmp_path / "mnist" / "train").is_dir()


def test_files_that_are_not_all_there_are_told(tmp_path: Path, small_mnist: Path) -> None:
    (small_mnist / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(UserError, match="not whole, or are not all there"):
        download_data("mnist", tmp_path / "mnist", small_mnist)
    assert [path.name for path in tmp_path.iterdir()] == ["files"]


def test_a_cut_off_file_is_told(tmp_path: Path, small_mnist: Path) -> None:
    path = small_mnist / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match="cannot be unpacked"):
        download_data("mnist", tmp_path / "mnist", small_mnist)


def test_an_empty_folder_of_cifar_is_told(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    with pytest.raises(UserError, match="not all there"):
        download_data("cifar10", tmp_path / "cifar", tmp_path / "files")


def test_what_is_there_is_not_overwritten(tmp_path: Path, small_mnist: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious").write_text("keep")
    with pytest.raises(UserError, match="is not empty"):
        download_data("mnist", tmp_path / "mine", small_mnist)
    assert (tmp_path / "mine" / "precious").read_text() == "keep"


@pytest.mark.skipif(not MNIST.is_dir(), reason="MNIST's files are not beside this checkout")
def test_the_real_mnist_is_split_as_digits_split_it(tmp_path: Path) -> None:
    download_data("mnist", tmp_path / "mnist", MNIST)
    spec = classification_spec(tmp_path / "mnist" / "train")
    splits = parse_folders(spec, seed=1, check_stop=lambda: None).splits
    assert {name: len(pictures) for name, pictures in splits.items()} == {"train": 45002, "val": 14998}
    assert len((tmp_path / "mnist" / "test.txt").read_text().splitlines()) == 10_000
    # pytest keeps the folders of the last runs: not 70,000 files each.
    shutil.rmtree(tmp_path / "mnist")


def test_handwritten_digits_are_written_once_and_whole(tmp_path: Path) -> None:
    assert write_digit_folders(tmp_path / "digits") == 1797
    assert write_digit_folders(tmp_path / "digits") == 1797
    assert sorted(path.name for path in (tmp_path / "digits").iterdir()) == [str(label) for label in range(10)]
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]
    paths = list((tmp_path / "digits").rglob("*.png"))
    assert len(paths) == 1797
    with Image.open(paths[0]) as image:
        assert (image.size, image.mode) == ((28, 28), "L")
        assert np.asarray(image).max() > 200
