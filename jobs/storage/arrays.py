"""The decoded images and labels of a generic dataset, as arrays on disk that training maps into memory."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from jobs.errors import BadDatabase
from jobs.folder import JobFolder, publish


@dataclass(frozen=True)
class SplitArrays:
    """One split: images (N, C, H, W), uint8 or float32, RGB; a label for each, of `label_shape`, () for integers."""

    images: np.memmap[Any, np.dtype[Any]]
    labels: NDArray[Any]
    label_shape: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.images)


def open_split(folder: JobFolder, split: str) -> SplitArrays:
    """Images and labels of "train" or "val", mapped and read only; BadDatabase when the dataset has no such split."""
    splits = folder.read_dataset()["splits"]
    if split not in splits:
        raise BadDatabase(f"This dataset has no images for {split!r}; it has: {', '.join(splits)}.")
    facts = splits[split]
    try:
        images = np.load(folder.path / facts["images"], mmap_mode="r", allow_pickle=False)
        labels = np.load(folder.path / facts["labels"], mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise BadDatabase(
            f"The decoded images of this dataset cannot be read: {error}. Clone the dataset to make them again."
        ) from error
    if not len(images) == len(labels) == facts["entries"]:
        raise BadDatabase(
            f"This dataset says that it has {facts['entries']:,} images for {split!r}, and its files hold "
            f"{len(images):,} images and {len(labels):,} labels. Clone the dataset to make them again."
        )
    return SplitArrays(images, labels, tuple(facts["label_shape"]))


def read_mean(folder: JobFolder) -> NDArray[np.float32] | None:
    """The mean image (C, H, W) of a generic dataset; None when it has none."""
    name = folder.read_dataset().get("mean")
    if name is None:
        return None
    return cast(NDArray[np.float32], np.load(folder.path / name, allow_pickle=False))


@contextmanager
def new_array(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Iterator[Path]:
    """A file for an array of this shape, to fill by its temporary name; published at the end, or gone after an error.

    Its blocks are reserved at once: a full disk is then an OSError here, not a SIGBUS in who fills the array.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        open_memmap(temporary, mode="w+", dtype=dtype, shape=shape)
        with temporary.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
            yield temporary
            os.fsync(file.fileno())
        publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
