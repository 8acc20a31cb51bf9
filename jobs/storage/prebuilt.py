"""A generic dataset: LMDBs that exist already, checked and decoded once into arrays."""

import io
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from jobs.datasets.generic_image import GenericImageDatasetSpec
from jobs.errors import BadDatabase, EnvironmentFault, ProcessKilled
from jobs.folder import JobFolder, write_json, write_whole
from jobs.specs import ServerPaths
from jobs.storage.arrays import new_array
from jobs.storage.cores import on_all_cores
from jobs.storage.database import Record, open_database
from jobs.storage.datum import Stored, in_words, stored_as
from jobs.storage.images import as_array, as_image, resized
from jobs.storage.mean import Mean, check_mean_shape, read_mean_file, write_mean_picture
from jobs.storage.progress import Progress
from jobs.worker import WorkerJob

SPLIT_NAMES = {"train": "training", "val": "validation"}
# What a chunk decodes to, at most: answers and stops come soon, and memory stays small.
CHUNK_BYTES = 8 << 20
CHUNK_RECORDS = 256
# More kinds of label than this are no classes.
MOST_CLASSES = 1000
CRASHES = {signal.SIGBUS, signal.SIGSEGV, signal.SIGABRT}


@dataclass(frozen=True)
class Source:
    """A database that the form named, and what its first record promises of all."""

    role: str
    folder: Path
    entries: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    stored: Stored

    @property
    def array_bytes(self) -> int:
        return self.entries * int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


@dataclass(frozen=True)
class Split:
    """Images of a split, and the database of their labels if it is one of its own."""

    name: str
    images: Source
    labels: Source | None

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self.labels.shape if self.labels else ()

    @property
    def label_dtype(self) -> np.dtype[Any]:
        return self.labels.dtype if self.labels else np.dtype(np.int64)

    @property
    def array_bytes(self) -> int:
        return self.images.array_bytes + (self.labels.array_bytes if self.labels else 8 * self.images.entries)

    @property
    def file_names(self) -> tuple[str, str]:
        return f"{self.name}_images.npy", f"{self.name}_labels.npy"


@dataclass(frozen=True)
class Chunk:
    """Consecutive records, and the files that their decoded values belong in."""

    split: Split
    start: int
    count: int
    first_key: bytes
    images_file: Path
    labels_file: Path
    force_same_shape: bool


@dataclass(frozen=True)
class ChunkAnswer:
    count: int
    resized: int


def analyse(job: WorkerJob) -> None:
    """Read every record of the databases that the spec names, and leave arrays that training can map."""
    spec = cast(GenericImageDatasetSpec, job.spec)
    _check_paths(spec, job.paths)
    splits = [_look_at(spec, "train")]
    if spec.prebuilt_val_images:
        splits.append(_look_at(spec, "val"))
        _check_same_shape(*splits)
    mean_file = Path(spec.prebuilt_mean_file) if spec.prebuilt_mean_file else None
    mean = read_mean_file(mean_file) if mean_file else None
    if mean_file and mean is not None:
        check_mean_shape(mean_file, mean, splits[0].images.shape)
    _check_free_space(job.folder.path, sum(split.array_bytes for split in splits))

    progress = Progress(job.events, sum(split.images.entries for split in splits))
    facts = {split.name: _decode_split(job, split, progress, spec.force_same_shape) for split in splits}
    picture = _keep_mean(job, mean) if mean is not None else None
    images = splits[0].images
    write_json(
        job.folder.dataset,
        {
            "image_shape": list(images.shape),
            "dtype": images.dtype.name,
            "resize_mode": _resize_mode(Path(spec.prebuilt_train_images)),
            "splits": facts,
            "mean": "mean.npy" if mean is not None else None,
            "mean_picture": picture,
            "mean_file": str(mean_file) if mean_file else None,
        },
    )


def _check_paths(spec: GenericImageDatasetSpec, paths: ServerPaths) -> None:
    """What the form named may have become a link to somewhere else since then."""
    databases = (spec.prebuilt_train_images, spec.prebuilt_train_labels, spec.prebuilt_val_images,
                 spec.prebuilt_val_labels)  # fmt: skip
    named = [Path(folder) / "data.mdb" for folder in databases if folder]
    if spec.prebuilt_mean_file:
        named.append(Path(spec.prebuilt_mean_file))
    for path in named:
        if not paths.allows(path):
            raise BadDatabase(f"{path} leads out of the folders that this server may read.")


def _resize_mode(images: Path) -> str:
    """How the database's pictures were brought to their size, for pictures that are tested later.

    A classification job of ours says so beside its databases; of others nothing is known, and DIGITS then squashed.
    """
    made = JobFolder(images.parent)
    return str(made.read_dataset().get("resize_mode", "squash")) if made.dataset.is_file() else "squash"


def _look_at(spec: GenericImageDatasetSpec, name: str) -> Split:
    """What the first records of a split's databases say."""
    labels_folder = getattr(spec, f"prebuilt_{name}_labels")
    images = _first_look(f"{name}_images", Path(getattr(spec, f"prebuilt_{name}_images")))
    labels = _first_look(f"{name}_labels", Path(labels_folder)) if labels_folder else None
    if labels and labels.entries != images.entries:
        raise BadDatabase(
            f"The label database {labels.folder} has {labels.entries:,} records and the image database "
            f"{images.folder} has {images.entries:,}. Every image needs one label, under the same key."
        )
    return Split(name, images, labels)


def _first_look(role: str, folder: Path) -> Source:
    with open_database(folder) as database:
        first = database.first()
        values = first.image() if role.endswith("images") else first.target()
        return Source(role, folder, len(database), values.shape, values.dtype, stored_as(first.datum))


def _check_same_shape(train: Split, val: Split) -> None:
    for one, other, what in [
        (train.images.shape, val.images.shape, "images"),
        (train.label_shape, val.label_shape, "labels"),
    ]:
        if one != other:
            raise BadDatabase(
                f"The training {what} are {in_words(one) or 'single numbers'} and the validation {what} are "
                f"{in_words(other) or 'single numbers'} (width x height x channels). One network takes one shape only."
            )


def _check_free_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise EnvironmentFault(
            f"The decoded images need {needed / 1e9:,.2f} GB and the disk of the data directory has "
            f"{free / 1e9:,.2f} GB free. Delete jobs that nobody needs, or move the data directory to a larger disk."
        )


def _warn_of_resized(job: WorkerJob, split: Split, count: int) -> None:
    images = split.images
    text = (
        f"{count:,} of {images.entries:,} {SPLIT_NAMES[split.name]} images had another shape than the first, "
        f"{in_words(images.shape)}, and were resized to it."
    )
    print(text)
    job.events.write("message", level="warning", text=text)


def _decode_split(job: WorkerJob, split: Split, progress: Progress, force_same_shape: bool) -> dict[str, Any]:
    """Decode a split into its arrays; what dataset.json says of it."""
    images, name = split.images, SPLIT_NAMES[split.name]
    print(f"{images.entries:,} {name} images of {in_words(images.shape)} in {images.folder}")
    progress.begin(f"Read {name} images", images.entries)
    images_path, labels_path = (job.folder.path / name for name in split.file_names)
    with ExitStack() as stack:
        images_file = stack.enter_context(new_array(images_path, images.dtype, (images.entries, *images.shape)))
        labels_file = stack.enter_context(
            new_array(labels_path, split.label_dtype, (images.entries, *split.label_shape))
        )
        resized_count = 0
        chunks = _chunks(split, images_file, labels_file, force_same_shape)
        answers = stack.enter_context(closing(on_all_cores(_decode_chunk, chunks, job.check_stop)))
        try:
            for answer in answers:
                resized_count += answer.resized
                progress.advance(answer.count)
        except ProcessKilled as error:
            raise _explained(error, split) from error
        distribution = None if split.labels else _distribution(labels_file)
    if resized_count:
        _warn_of_resized(job, split, resized_count)
    _announce(job, split, distribution)
    return {
        "images_db": str(images.folder),
        "labels_db": str(split.labels.folder) if split.labels else None,
        "entries": images.entries,
        "images": images_path.name,
        "labels": labels_path.name,
        "label_shape": list(split.label_shape),
        "distribution": distribution,
        "stored": images.stored,
    }


def _explained(error: ProcessKilled, split: Split) -> BadDatabase | ProcessKilled:
    """A crash while LMDB read its pages means that they are damaged."""
    if not error.signals & CRASHES:
        return error
    folders = " or ".join(str(source.folder) for source in (split.images, split.labels) if source)
    return BadDatabase(f"The database {folders} is damaged: reading it crashed a process. Copy or make it again.")


def _announce(job: WorkerJob, split: Split, distribution: dict[str, int] | None) -> None:
    for source, counts in [(split.images, distribution), (split.labels, None)]:
        if source:
            job.events.write(
                "analysed",
                role=source.role,
                path=str(source.folder),
                entries=source.entries,
                shape=list(source.shape),
                stored=source.stored,
                distribution=counts,
            )


def _distribution(labels_file: Path) -> dict[str, int] | None:
    """How many images carry each label; None when there are too many labels to be classes."""
    labels, counts = np.unique(np.load(labels_file, mmap_mode="r"), return_counts=True)
    if len(labels) > MOST_CLASSES:
        return None
    return {str(label): count for label, count in zip(labels.tolist(), counts.tolist(), strict=True)}


def _keep_mean(job: WorkerJob, mean: Mean) -> str | None:
    """Keep the mean as an array, and as a picture if it is one; the picture's name."""
    content = io.BytesIO()
    np.save(content, mean)
    write_whole(job.folder.path / "mean.npy", content.getvalue())
    if not write_mean_picture(job.folder.path / "mean.jpg", mean):
        return None
    job.events.write("mean", file="mean.jpg")
    return "mean.jpg"


def _chunks(split: Split, images_file: Path, labels_file: Path, force_same_shape: bool) -> Iterator[Chunk]:
    record_bytes = max(1, split.array_bytes // split.images.entries)
    size = max(1, min(CHUNK_RECORDS, CHUNK_BYTES // record_bytes))
    with open_database(split.images.folder) as database:
        starts = list(enumerate(islice(database.keys(), 0, None, size)))
    for place, key in starts:
        start = place * size
        count = min(size, split.images.entries - start)
        yield Chunk(split, start, count, key, images_file, labels_file, force_same_shape)


def _decode_chunk(chunk: Chunk) -> ChunkAnswer:
    """In a child: decode a chunk's records into its slice of the arrays."""
    images, labels = _arrays(chunk.images_file, chunk.labels_file)
    split = chunk.split
    resized_count = 0
    with ExitStack() as stack:
        image_db = stack.enter_context(open_database(split.images.folder))
        label_records = None
        if split.labels:
            label_db = stack.enter_context(open_database(split.labels.folder))
            label_records = label_db.records_from(chunk.first_key, chunk.start, chunk.count)
        for record in image_db.records_from(chunk.first_key, chunk.start, chunk.count):
            pixels = record.image()
            if pixels.shape != split.images.shape:
                pixels = _resized(split.images, record, pixels, chunk.force_same_shape)
                resized_count += 1
            if pixels.dtype != images.dtype and images.dtype == np.uint8:
                raise BadDatabase(
                    f'Record "{record.key}" of {split.images.folder} holds floats and the first record holds bytes. '
                    "All records must be stored in one way."
                )
            images[record.index] = pixels
            labels[record.index] = record.label if label_records is None else _next_label(split, record, label_records)
    return ChunkAnswer(chunk.count, resized_count)


@lru_cache(maxsize=1)
def _arrays(images_file: Path, labels_file: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """The arrays to fill, mapped once a process."""
    return np.load(images_file, mmap_mode="r+"), np.load(labels_file, mmap_mode="r+")


def _resized(first: Source, record: Record, pixels: NDArray[Any], force_same_shape: bool) -> NDArray[np.uint8]:
    """A record of another shape than the first, brought to it if the form allows that."""
    if force_same_shape:
        raise BadDatabase(
            f"Images with different shapes found: {in_words(first.shape)} and {in_words(pixels.shape)} "
            f'(width x height x channels; record "{record.key}" of {first.folder}). '
            'Make the database again with one size, or switch "Enforce same shape" off to resize them.'
        )
    channels, height, width = first.shape
    if pixels.dtype != np.uint8 or channels not in (1, 3) or len(pixels) not in (1, 3):
        raise BadDatabase(
            f'Record "{record.key}" of {first.folder} is {in_words(pixels.shape)} and the first record is '
            f"{in_words(first.shape)}; only grey and colour pictures of bytes can be resized."
        )
    picture = as_image(pixels).convert("L" if channels == 1 else "RGB")
    return as_array(resized(picture, height, width, "squash"))


def _next_label(split: Split, record: Record, label_records: Iterator[Record]) -> NDArray[Any]:
    """The label of an image from the database of labels, whose keys must be the same."""
    assert split.labels is not None
    label_record = next(label_records, None)
    if label_record is None or label_record.key != record.key:
        found = f'"{label_record.key}"' if label_record else "none"
        raise BadDatabase(
            f"The label database {split.labels.folder} has not the keys of the image database: after the same number "
            f"of records the image's key is \"{record.key}\" and the label's is {found}."
        )
    label = label_record.target()
    if label.shape != split.labels.shape or label.dtype != split.labels.dtype:
        raise BadDatabase(
            f"Labels with different shapes found: {_kind(split.labels.shape, split.labels.dtype)} and "
            f'{_kind(label.shape, label.dtype)} (record "{record.key}" of {split.labels.folder}).'
        )
    return label


def _kind(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    return f"{in_words(shape) or 'a number'} of {dtype.name}"
