"""Well-known datasets as class folders of PNG, for `layerscope download-data`."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from jobs.errors import EnvironmentFault, UserError
from jobs.folder import publish
from jobs.storage.cores import on_all_cores
from jobs.unpacking import copy_file, unpack

Progress = Callable[[int, int], None]

# Names of torchvision's classes, and where below their root they look for files that are there already.
CLASSES = {
    "mnist": ("MNIST", "MNIST/raw"),
    "fashion-mnist": ("FashionMNIST", "FashionMNIST/raw"),
    "cifar10": ("CIFAR10", "."),
    "cifar100": ("CIFAR100", "."),
}
ARCHIVES = (".gz", ".tgz", ".zip")
# Of one archive, or of one file that is in none: CIFAR's are the largest, with 186 million.
MOST_BYTES = 2**29
CHUNK_PICTURES = 500


@dataclass(frozen=True)
class Pictures:
    """Consecutive pictures of one split, (N, H, W) or (N, H, W, 3), and the files that they become."""

    paths: list[Path]
    pixels: NDArray[np.uint8]


@dataclass(frozen=True)
class KnownSplit:
    """ "train" or "test" of a well-known dataset."""

    name: str
    pixels: NDArray[np.uint8]
    targets: list[int]
    labels: list[str]

    def paths(self, folder: Path) -> list[Path]:
        """Where each picture belongs: a folder a class, numbered through the split."""
        names = [label.replace("/", "-") for label in self.labels]
        return [folder / self.name / names[target] / f"{number:05d}.png" for number, target in enumerate(self.targets)]


def download_data(name: str, destination: Path, source: Path | None = None, progress: Progress | None = None,
                  most_bytes: int = MOST_BYTES) -> None:  # fmt: skip
    """Make `destination` with train/LABEL/NNNNN.png, test/…, train.txt, test.txt and labels.txt; whole or not at all.

    With `source` nothing is downloaded: the folder holds the dataset's own files, such as train-images-idx3-ubyte.gz.
    An archive there is refused that holds what no honest one does, or more than `most_bytes`. `progress` gets how many of how
    many pictures are written.
    """
    destination = destination.resolve()
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise UserError(f"{destination} exists and is not empty. Name a new folder, or empty this one.")
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{destination.name}.", dir=destination.parent) as temporary:
        files = Path(temporary) / "files"
        reader = _reader(name)
        if source is not None:
            _bring(_file_names(reader), source.resolve(), files / CLASSES[name][1], most_bytes)
        splits = _load(name, reader, files, source)
        made = Path(temporary) / "pictures"
        _write_pictures(splits, made, progress or (lambda done, total: None))
        _write_lists(splits, made, destination)
        made.chmod(0o755)
        publish(made, destination)


def _load(name: str, reader: Any, root: Path, source: Path | None) -> list[KnownSplit]:
    """Both splits, by torchvision's own reader of the dataset."""
    try:
        return [_load_split(name, reader, root, split, download=source is None) for split in ("train", "test")]
    except URLError as error:
        raise EnvironmentFault(
            f"{name} could not be downloaded: {error.reason}. "
            "Fetch its files on another machine, and name their folder with --from."
        ) from error
    except (RuntimeError, EOFError, ValueError, TypeError, AssertionError) as error:
        where = f"in {source}" if source else "in what was downloaded"
        raise UserError(f"The files of {name} {where} are not whole, or are not all there: {error}.") from error


def _reader(name: str) -> Any:
    """torchvision's class. What of CIFAR is pickled it reads only where it has the MD5 that this class names."""
    from jobs.vision import import_torchvision  # noqa: PLC0415  imports torch: four seconds, which only this command pays

    import_torchvision()
    from torchvision import datasets  # noqa: PLC0415  can only be imported from here on

    return getattr(datasets, CLASSES[name][0])


def _file_names(reader: Any) -> list[str]:
    """What the reader reads, below where it looks."""
    if hasattr(reader, "resources"):
        return [archive.removesuffix(".gz") for archive, _ in reader.resources]
    files = [file for file, _ in (*reader.train_list, *reader.test_list)]
    return [f"{reader.base_folder}/{file}" for file in (*files, reader.meta["filename"])]


def _load_split(name: str, reader: Any, root: Path, split: str, download: bool) -> KnownSplit:
    dataset: Any = reader(root, train=split == "train", download=download)
    # MNIST's classes are called "0 - zero"; DIGITS's folders "0".
    labels = [label.split(" - ")[0] if name == "mnist" else label for label in dataset.classes]
    pixels, targets = np.asarray(dataset.data, np.uint8), [int(target) for target in dataset.targets]
    if len(pixels) != len(targets) or not pixels.size or not all(target < len(labels) for target in targets):
        raise ValueError(f"its {len(pixels):,} pictures and {len(targets):,} labels do not belong together")
    return KnownSplit(split, pixels, targets, labels)


def _bring(names: list[str], source: Path, folder: Path, most_bytes: int) -> None:
    """Put those files of the dataset that are in `source`, or in an archive there, where torchvision looks for them: copies,
    which nobody changes after they were looked at."""
    wanted = {name: folder / name for name in names}
    for name, target in wanted.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        if (source / name).is_file():
            copy_file(source / name, target, most_bytes)
    refused = None
    for path in sorted(source.iterdir()):
        missing = [target for target in wanted.values() if not target.exists()]
        if missing and path.suffix in ARCHIVES and path.is_file():
            try:
                unpack(path, wanted, most_bytes)
            except UserError as error:
                # It may be a stranger's that lies there by chance. Of one that is refused nothing stays.
                refused = refused or error
                for target in missing:
                    target.unlink(missing_ok=True)
    if refused is not None and not all(target.exists() for target in wanted.values()):
        raise refused


def _write_pictures(splits: list[KnownSplit], folder: Path, progress: Progress) -> None:
    total = sum(len(split.targets) for split in splits)
    done = 0
    for path in {path.parent for split in splits for path in split.paths(folder)}:
        path.mkdir(parents=True)
    with closing(on_all_cores(_write_chunk, _chunks(splits, folder))) as answers:
        for count in answers:
            done += count
            progress(done, total)


def _chunks(splits: list[KnownSplit], folder: Path) -> Iterator[Pictures]:
    for split in splits:
        paths = split.paths(folder)
        for start in range(0, len(paths), CHUNK_PICTURES):
            end = start + CHUNK_PICTURES
            yield Pictures(paths[start:end], split.pixels[start:end])


def _write_chunk(chunk: Pictures) -> int:
    """In a child: write a chunk's files."""
    for path, pixels in zip(chunk.paths, chunk.pixels, strict=True):
        Image.fromarray(pixels).save(path, "PNG", compress_level=1)
    return len(chunk.paths)


def _write_lists(splits: list[KnownSplit], folder: Path, destination: Path) -> None:
    """labels.txt, and for each split its paths, as they will be, with numbers of labels."""
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in splits[0].labels))
    for split in splits:
        pairs = zip(split.paths(destination), split.targets, strict=True)
        (folder / f"{split.name}.txt").write_text("".join(f"{os.fspath(path)} {target}\n" for path, target in pairs))
