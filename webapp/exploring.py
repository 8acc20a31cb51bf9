"""Looks into a dataset's databases for its explore pages."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.storage.database import Record, open_database
from jobs.storage.datum import image_of
from jobs.storage.images import as_image, encode
from webapp.job_view import JobView

# What browsers show as it is stored.
BROWSER_TYPES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg"}


def split_databases(job: JobView) -> dict[str, Path]:
    """The folders of a finished dataset's image databases, by split."""
    splits = job.folder.read_dataset()["splits"]
    return {
        split: job.folder.path / facts["db"] if "db" in facts else Path(facts["images_db"])
        for split, facts in splits.items()
    }


def labels_of(job: JobView) -> dict[int, str]:
    """Class names by number; a generic dataset knows none."""
    return dict(enumerate(job.folder.read_dataset().get("labels", [])))


def count_labels(job: JobView, split: str) -> dict[int, int]:
    """How many pictures of the split have each label; one entry for all where labels are no classes."""
    facts = job.folder.read_dataset()["splits"][split]
    distribution = facts["distribution"]
    if distribution is None:
        return {0: facts["entries"]}
    if isinstance(distribution, list):
        return dict(enumerate(distribution))
    return {int(label): count for label, count in distribution.items()}


def page_of_records(database: Path, start: int, count: int, label: int | None) -> list[Record]:
    with open_database(database) as opened:
        return list(opened.records(start, count, label))


def record_as_file(database: Path, index: int) -> tuple[bytes, str]:
    """One record's picture and its media type. IndexError past the last record."""
    with open_database(database) as opened:
        datum = opened.record(index).datum
    for signature, mimetype in BROWSER_TYPES.items():
        if datum.encoded and datum.data.startswith(signature):
            return datum.data, mimetype
    return encode(as_image(_as_bytes(image_of(datum))), "png"), "image/png"


def _as_bytes(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Something to look at: floats spread over the grey levels, and of an unusual number of channels the first."""
    pixels = pixels if len(pixels) in (1, 3) else pixels[:1]
    if pixels.dtype == np.uint8:
        return pixels
    low, high = float(pixels.min()), float(pixels.max())
    return ((pixels - low) * (255 / (high - low or 1))).astype(np.uint8)
