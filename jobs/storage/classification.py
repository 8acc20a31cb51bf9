"""A classification dataset: class folders of pictures become LMDBs of Caffe Datum, as DIGITS made them."""

import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from jobs.datasets.image_classification import ImageClassificationDatasetSpec
from jobs.errors import BadImage, UserError
from jobs.folder import write_json, write_whole
from jobs.specs import ServerPaths
from jobs.storage.class_folders import Labelled, Parsed, parse_folders
from jobs.storage.cores import on_all_cores
from jobs.storage.database import DatabaseWriter, Item
from jobs.storage.datum import array_datum, encoded_datum
from jobs.storage.images import as_array, encode, load_image, read_content, resized
from jobs.storage.mean import write_mean_file, write_mean_picture
from jobs.storage.progress import Progress
from jobs.worker import WorkerJob

Sum = NDArray[np.int64]

CHUNK_PICTURES = 128
CHUNK_BYTES = 8 << 20
TRANSACTION_RECORDS = 2000
TRANSACTION_BYTES = 32 << 20
SECONDS_BETWEEN_REPORTS = 1.0
MOST_SKIPPED_LISTED = 1000
FORMAT_OF_ENCODING = {"png": "PNG", "jpg": "JPEG"}


@dataclass(frozen=True)
class Chunk:
    """Consecutive pictures of a list, and what to make of them."""

    spec: ImageClassificationDatasetSpec
    paths: ServerPaths
    start: int
    pictures: list[Labelled]


@dataclass(frozen=True)
class ChunkAnswer:
    """The records of a chunk, the sum of their pixels, and the pictures that could not be read, with reasons."""

    count: int
    items: list[Item]
    labels: list[int]
    pixel_sum: Sum
    skipped: list[tuple[str, str]]


def create(job: WorkerJob) -> None:
    """Make the databases of the spec's folders, their mean image and their lists."""
    spec = cast(ImageClassificationDatasetSpec, job.spec)
    parsed = parse_folders(spec, seed_of(job.folder.id), job.check_stop, job.paths)
    _keep_lists(job, parsed)
    _announce_parsed(job, parsed)
    progress = Progress(job.events, sum(map(len, parsed.splits.values())))
    splits: dict[str, dict[str, Any]] = {}
    # One list of a thousand files at most, over all splits.
    listed = 0
    for name, pictures in parsed.splits.items():
        tally = Tally(job, f"{name}_db", len(parsed.labels), listed)
        progress.begin(f"Create {name}_db", len(pictures))
        _create_database(job, spec, pictures, tally, progress)
        if name == "train":
            _keep_mean(job, tally.pixel_sum / tally.entries)
        splits[name] = {
            "db": tally.db,
            "entries": tally.entries,
            "distribution": tally.counts,
            "skipped": tally.skipped,
        }
        listed = tally.listed
    write_json(
        job.folder.dataset,
        {
            "image_shape": [spec.resize_channels, spec.resize_height, spec.resize_width],
            "labels": [readable(label) for label in parsed.labels],
            "splits": splits,
            "mean_file": "mean.binaryproto",
            "mean_picture": "mean.jpg",
            "encoding": spec.encoding,
            "resize_mode": spec.resize_mode,
        },
    )


def seed_of(job_id: str) -> int:
    """A number that depends on the job's id only: to do a job again gives the same databases."""
    return int.from_bytes(hashlib.sha256(job_id.encode()).digest()[:8])


def _keep_lists(job: WorkerJob, parsed: Parsed) -> None:
    """labels.txt, and for each split its list of pictures; the number in a record's key is its line, from 0."""
    write_whole(job.folder.path / "labels.txt", os.fsencode("".join(f"{label}\n" for label in parsed.labels)))
    for name, pictures in parsed.splits.items():
        lines = "".join([f"{path} {label}\n" for path, label in pictures])
        write_whole(job.folder.path / f"{name}.txt", os.fsencode(lines))


def _announce_parsed(job: WorkerJob, parsed: Parsed) -> None:
    for text in parsed.warnings:
        job.events.write("message", level="warning", text=readable(text))
        print(readable(text))
    counts = {f"{name}_count": len(parsed.splits.get(name, [])) for name in ("train", "val", "test")}
    job.events.write("parsed", labels=[readable(label) for label in parsed.labels], **counts)
    print(f"{len(parsed.labels):,} classes: {counts}")


def readable(text: str) -> str:
    """Names of files that are no UTF-8 as text that can be shown and printed."""
    return os.fsencode(text).decode(errors="replace")


@dataclass
class Tally:
    """What went into a database so far, told to the person about once a second."""

    job: WorkerJob
    db: str
    classes: int
    listed: int
    counts: list[int] = field(init=False)
    pixel_sum: Any = 0
    skipped: int = 0
    _new_skipped: list[dict[str, str]] = field(default_factory=list)
    _told_skipped: int = 0
    _last: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * self.classes

    @property
    def entries(self) -> int:
        return sum(self.counts)

    def add(self, answer: ChunkAnswer) -> None:
        for label in answer.labels:
            self.counts[label] += 1
        self.pixel_sum = self.pixel_sum + answer.pixel_sum
        self.skipped += len(answer.skipped)
        for path, reason in answer.skipped:
            print(f"Skipped {readable(path)}: {reason}")
            if self.listed < MOST_SKIPPED_LISTED:
                self.listed += 1
                self._new_skipped.append({"path": readable(path), "reason": reason})
        if time.monotonic() - self._last > SECONDS_BETWEEN_REPORTS:
            self.report()

    def report(self) -> None:
        self._last = time.monotonic()
        self.job.events.write("distribution", db=self.db, counts=self.counts)
        if self.skipped > self._told_skipped:
            self._told_skipped = self.skipped
            self.job.events.write("skipped", db=self.db, count=self.skipped, files=self._new_skipped)
            self._new_skipped = []


def _create_database(
    job: WorkerJob, spec: ImageClassificationDatasetSpec, pictures: list[Labelled], tally: Tally, progress: Progress
) -> None:
    """Read the pictures on all cores and publish their database; after a stop or an error there is none."""
    answers = on_all_cores(_read_chunk, _chunks(spec, job.paths, pictures), job.check_stop)
    with closing(answers), DatabaseWriter(job.folder.path / tally.db) as writer:
        for items in _transactions(answers, tally, progress):
            writer.put(items)
        tally.report()
        if not tally.entries:
            raise UserError(
                f"None of the {len(pictures):,} pictures for {tally.db} could be read. "
                "The list of skipped files says why; the first are the ones to look at."
            )
    job.events.write(
        "database",
        db=tally.db,
        entries=tally.entries,
        width=spec.resize_width,
        height=spec.resize_height,
        channels=spec.resize_channels,
        encoding=spec.encoding,
        skipped=tally.skipped,
    )
    print(f"{tally.db}: {tally.entries:,} entries, {tally.skipped:,} skipped")


def _chunks(spec: ImageClassificationDatasetSpec, paths: ServerPaths, pictures: list[Labelled]) -> Iterator[Chunk]:
    picture_bytes = spec.resize_channels * spec.resize_height * spec.resize_width
    size = max(1, min(CHUNK_PICTURES, CHUNK_BYTES // picture_bytes))
    for start in range(0, len(pictures), size):
        yield Chunk(spec, paths, start, pictures[start : start + size])


def _transactions(answers: Iterable[ChunkAnswer], tally: Tally, progress: Progress) -> Iterator[list[Item]]:
    """The records of the answers, so many at a time as are written at once; all is counted on the way."""
    waiting: list[Item] = []
    waiting_bytes = 0
    for answer in answers:
        tally.add(answer)
        progress.advance(answer.count)
        waiting += answer.items
        waiting_bytes += sum(len(value) for _, value in answer.items)
        if len(waiting) >= TRANSACTION_RECORDS or waiting_bytes >= TRANSACTION_BYTES:
            yield waiting
            waiting, waiting_bytes = [], 0
    yield waiting


def _read_chunk(chunk: Chunk) -> ChunkAnswer:
    """In a child: read, resize and encode a chunk's pictures."""
    spec = chunk.spec
    rows: list[bytes] = []
    items: list[Item] = []
    labels: list[int] = []
    skipped: list[tuple[str, str]] = []
    for place, (path, label) in enumerate(chunk.pictures, chunk.start):
        try:
            value, pixels = _record(chunk, path, label)
        except BadImage as error:
            skipped.append((path, str(error)))
            continue
        rows.append(pixels)
        items.append((b"%08d_%d" % (place, label), value))
        labels.append(label)
    # One sum a chunk: for small pictures a sum each would take as long as their reading.
    pixels_of_all = np.frombuffer(b"".join(rows), np.uint8).reshape(
        -1, spec.resize_height, spec.resize_width, spec.resize_channels
    )
    pixel_sum = pixels_of_all.sum(axis=0, dtype=np.int64).transpose(2, 0, 1)
    return ChunkAnswer(len(chunk.pictures), items, labels, pixel_sum, skipped)


def _record(chunk: Chunk, path: str, label: int) -> tuple[bytes, bytes]:
    """A picture file as the bytes of a Datum, and its pixels row by row."""
    spec, content = chunk.spec, read_content(chunk.paths, path)
    image = resized(load_image(content, spec.resize_channels), spec.resize_height, spec.resize_width, spec.resize_mode)
    if spec.encoding == "none":
        return array_datum(as_array(image), label), image.tobytes()
    # Pillow forgets the format of a picture as soon as it is changed: this one is right as it is, bytes and all.
    if image.format != FORMAT_OF_ENCODING[spec.encoding]:
        content = encode(image, spec.encoding)
    shape = (spec.resize_channels, spec.resize_height, spec.resize_width)
    return encoded_datum(content, shape, label), image.tobytes()


def _keep_mean(job: WorkerJob, mean: NDArray[np.float64]) -> None:
    # DIGITS kept the mean of bytes as bytes, and who reads its files expects whole numbers.
    rounded = np.rint(mean)
    write_mean_file(job.folder.path / "mean.binaryproto", rounded)
    write_mean_picture(job.folder.path / "mean.jpg", rounded)
    job.events.write("mean", file="mean.jpg")
