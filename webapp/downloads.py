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

Progress = Callable[[int, int], None]

# Names of torchvision's classes, and where below their root they look for files that are there already.
CLASSES = {
    "mnist": ("MNIST", "MNIST/raw"),
    "fashion-mnist": ("FashionMNIST", "FashionMNIST/raw"),
    "cifar10": ("CIFAR10", "."),
    "cifar100": ("CIFAR100", "."),
}
ARCHIVES = (".gz", ".tgz", ".zip")
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


def download_data(name: str, destination: Path, source: Path | None = None, progress: Progress | None = None) -> None:
    """Make `destination` with train/LABEL/NNNNN.png, test/…, train.txt, test.txt and labels.txt; whole or not at all.

    With `source` nothing is downloaded: the folder holds the dataset's own files, such as train-images-idx3-ubyte.gz.
    `progress` gets how many of how many pictures are written.
    """
    destination = destination.resolve()
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise UserError(f"{destination} exists and is not empty. Name a new folder, or empty this one.")
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{destination.name}.", dir=destination.parent) as temporary:
        splits = _load(name, Path(temporary) / "files", source)
        made = Path(temporary) / "pictures"
        _write_pictures(splits, made, progress or (lambda done, total: None))
        _write_lists(splits, made, destination)
        made.chmod(0o755)
        publish(made, destination)


def _load(name: str, root: Path, source: Path | None) -> list[KnownSplit]:
    """Both splits, by torchvision's own reader of the dataset."""
    if source is not None:
        _bring(source, root / CLASSES[name][1])
    try:
        return [_load_split(name, root, split, download=source is None) for split in ("train", "test")]
    except URLError as error:
        raise EnvironmentFault(
            f"{name} could not be downloaded: {error.reason}. "
            "Fetch its files on another machine, and name their folder with --from."
        ) from error
    except (RuntimeError, EOFError, ValueError) as error:
        where = f"in {source}" if source else "in what was downloaded"
        raise UserError(f"The files of {name} {where} are not whole, or are not all there: {error}.") from error


def _load_split(name: str, root: Path, split: str, download: bool) -> KnownSplit:
    from jobs.vision import import_torchvision  # noqa: PLC0415  imports torch: four seconds, which only this command pays

    import_torchvision()
    from torchvision import datasets  # noqa: PLC0415  can only be imported from here on

    dataset: Any = getattr(datasets, CLASSES[name][0])(root, train=split == "train", download=download)
    # MNIST's classes are called "0 - zero"; DIGITS's folders "0".
    labels = [label.split(" - ")[0] if name == "mnist" else label for label in dataset.classes]
    return KnownSplit(split, np.asarray(dataset.data, np.uint8), [int(target) for target in dataset.targets], labels)


def _bring(source: Path, folder: Path) -> None:
    """Put the files of `source` where torchvision looks for them, unpacked by torchvision."""
    from jobs.vision import import_torchvision  # noqa: PLC0415  as above

    import_torchvision()
    from torchvision.datasets.utils import extract_archive  # noqa: PLC0415

    folder.mkdir(parents=True)
    for path in source.resolve().iterdir():
        if path.suffix not in ARCHIVES:
            (folder / path.name).symlink_to(path)
            continue
        try:
            extract_archive(str(path), str(folder))
        except (OSError, EOFError, RuntimeError) as error:
            raise UserError(f"{path} cannot be unpacked: {error}. Perhaps its download was cut off.") from error


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
