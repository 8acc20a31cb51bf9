"""Well-known datasets from files that are there already, also from some that mean harm; nothing here goes over the network."""

import gzip
import os
import pickle
import re
import shutil
import struct
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from jobs.errors import UserError
from jobs.storage.class_folders import parse_folders
from jobs.storage.handwritten import write_digit_folders
from jobs.unpacking import MOST_ENTRIES
from tests.unit.evil_archives import NAMED, evil_archives, tar_entry, tar_of, zip_of
from tests.unit.storage_jobs import classification_spec
from webapp import downloads
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


@pytest.fixture
def unpacked(small_mnist: Path) -> dict[str, bytes]:
    """The same four files without an archive around them."""
    return {path.stem: gzip.decompress(path.read_bytes()) for path in small_mnist.iterdir()}


@pytest.mark.parametrize("kind", ["loose", ".tgz", ".tar.gz", ".zip"])
def test_the_files_may_lie_in_one_archive_or_in_none(tmp_path: Path, unpacked: dict[str, bytes], kind: str) -> None:
    source = tmp_path / "other"
    source.mkdir()
    if kind == "loose":
        for name, content in unpacked.items():
            (source / name).write_bytes(content)
    else:
        tar = tar_of(*(tar_entry(f"./{name}", content) for name, content in unpacked.items()), tar_entry("readme"))
        (source / f"all{kind}").write_bytes(tar if kind != ".zip" else zip_of(*unpacked.items(), ("readme", b"evil")))
    # What is not the dataset's is none of our business, whatever it is.
    os.mkfifo(source / "pipe.tgz")
    (source / "thesis.gz").write_bytes(b"no gzip")
    download_data("mnist", tmp_path / "mnist", source)
    assert len(list((tmp_path / "mnist").rglob("*.png"))) == 50
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files", "mnist", "other"]


@pytest.mark.parametrize("what", evil_archives(Path("/outside")))
def test_an_archive_that_means_harm_is_refused(tmp_path: Path, unpacked: dict[str, bytes], what: str) -> None:
    outside, source = tmp_path / "outside", tmp_path / "evil"
    outside.mkdir()
    source.mkdir()
    ending, make, sentence = evil_archives(outside)[what]
    (source / f"{NAMED}{ending}").write_bytes(make(unpacked))
    with pytest.raises(UserError, match=re.escape(str(source))) as refused:
        # A bomb of the real size would be more than a test should wait for.
        download_data("mnist", tmp_path / "mnist", source, most_bytes=2**25)
    assert sentence in str(refused.value)
    assert list(outside.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil", "files", "outside"], "nothing is left"


@pytest.mark.parametrize("name", ["a holiday.zip", "z holiday.zip"])
def test_an_archive_that_lies_there_by_chance_does_no_harm(tmp_path: Path, small_mnist: Path, name: str) -> None:
    with ZipFile(small_mnist / name, "w") as archive:
        for number in range(MOST_ENTRIES + 1):
            archive.writestr(f"{number}.jpg", b"")
    download_data("mnist", tmp_path / "mnist", small_mnist)
    assert (tmp_path / "mnist" / "train.txt").exists()
    (small_mnist / "train-images-idx3-ubyte.gz").unlink()
    with pytest.raises(UserError, match=f"{name} is refused"):
        download_data("mnist", tmp_path / "again", small_mnist)


def test_the_command_line_says_why(tmp_path: Path) -> None:
    source = tmp_path / "evil"
    source.mkdir()
    (source / "mnist.tgz").write_bytes(tar_of(tar_entry("../../\x1b[2Jwritten")))
    result = CliRunner().invoke(main, ["download-data", "mnist", str(tmp_path / "mnist"), "--from", str(source)])
    assert result.exit_code == 1
    assert r"mnist.tgz is refused: '../../\x1b[2Jwritten' in it leads elsewhere." in result.output


class Evil:
    """What a pickle can do to who reads it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_a_pickle_that_is_not_cifars_own_is_not_read(tmp_path: Path, name: str) -> None:
    """By the names of its files; torchvision compares their MD5 before it reads one."""
    files = downloads._file_names(downloads._reader(name))
    source = tmp_path / "evil"
    source.mkdir()
    evil = pickle.dumps(Evil(tmp_path / "was here"))
    (source / "cifar.tar.gz").write_bytes(tar_of(*(tar_entry(file, evil) for file in files)))
    with pytest.raises(UserError, match="not whole, or are not all there"):
        download_data(name, tmp_path / "cifar", source)
    pickle.loads(evil)
    assert (tmp_path / "was here").exists(), "it would have been read only now"


def test_a_link_that_lies_among_the_files_is_read_and_no_pipe(tmp_path: Path, unpacked: dict[str, bytes]) -> None:
    source = tmp_path / "evil"
    source.mkdir()
    (source / NAMED).symlink_to("/dev/zero")
    os.mkfifo(source / "train-labels-idx1-ubyte")
    with pytest.raises(UserError, match="not all there"):
        download_data("mnist", tmp_path / "mnist", source)


@pytest.mark.parametrize("content", [
    b"", b"\0\0\x08", b"\0\0\x08\x09" + bytes(40), b"\0\0\x08\x03" + b"\xff" * 12, b"\0\0\x0e\x03" + bytes(20),
    idx(np.zeros((40, 0, 0), np.uint8)), idx(np.zeros((39, 8, 8), np.uint8)), idx(np.zeros(40, np.uint8)),
])  # fmt: skip
def test_pictures_that_are_none_are_told(tmp_path: Path, small_mnist: Path, content: bytes) -> None:
    (small_mnist / f"{NAMED}.gz").write_bytes(gzip.compress(content))
    with pytest.raises(UserError, match="not whole, or are not all there"):
        download_data("mnist", tmp_path / "mnist", small_mnist)


def test_labels_of_no_class_are_told(tmp_path: Path, small_mnist: Path) -> None:
    (small_mnist / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.full(40, 200, np.uint8))))
    with pytest.raises(UserError, match="do not belong together"):
        download_data("mnist", tmp_path / "mnist", small_mnist)


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
