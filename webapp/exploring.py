"""Looks into a dataset's databases for its explore pages."""

from pathlib import Path
from typing import Any

import numpy as np
from flask import url_for
from numpy.typing import NDArray

from jobs.errors import UserError
from jobs.storage.database import open_database
from jobs.storage.datum import image_of
from jobs.storage.images import as_image, encode
from webapp.job_view import JobView

PAGE_SIZES = (10, 25, 50, 100)
# What browsers show as it is stored.
BROWSER_TYPES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg"}


def split_databases(job: JobView) -> dict[str, Path]:
    """The folders of a finished dataset's image databases, by split."""
    splits = job.folder.read_dataset()["splits"]
    return {
        split: job.folder.path / facts["db"] if "db" in facts else job.folder.source(facts["images_db"])
        for split, facts in splits.items()
    }


def labels_of(job: JobView) -> dict[int, str]:
    """Class names by number; a generic dataset knows none."""
    return dict(enumerate(job.folder.read_dataset().get("labels", [])))


def count_labels(job: JobView, split: str) -> dict[int, int]:
    """How many pictures of the split have each label; nothing where labels are no classes."""
    facts = job.folder.read_dataset()["splits"][split]
    distribution = facts["distribution"]
    if distribution is None:
        return {}
    if isinstance(distribution, list):
        return dict(enumerate(distribution))
    return {int(label): count for label, count in distribution.items()}


def explore_page(job: JobView, *, split: str, page: int, size: int, label: int | None) -> dict[str, Any]:
    """One page of a split's pictures, all of them or those of one label, and what leads to the other pages.

    Raises UserError for a split that the dataset has not; a page past the end is the last one.
    """
    databases = split_databases(job)
    if split not in databases:
        raise UserError(f"This dataset has no database {split!r}. It has: {', '.join(databases)}.")
    size = min(max(1, size), max(PAGE_SIZES))
    names, counts = labels_of(job), count_labels(job, split)
    entries = job.folder.read_dataset()["splits"][split]["entries"]
    total = entries if label is None else counts.get(label, 0)
    pages = max(1, -(-total // size))
    page = min(max(0, page), pages - 1)
    with open_database(databases[split]) as opened:
        records = list(opened.records(page * size, size, label))
    images = [
        {
            "index": record.index,
            "key": record.key,
            "label_name": (names.get(record.label) or str(record.label)) if counts else "",
            "url": url_for("datasets.image", job_id=job.id, split=split, index=record.index),
        }
        for record in records
    ]
    return {
        "db": split,
        "dbs": list(databases),
        "page": page,
        "size": size,
        "pages": pages,
        "total": total,
        "label": label,
        "labels": [
            {"value": value, "name": names.get(value, str(value)), "count": counts[value]} for value in sorted(counts)
        ],
        "images": images,
    }


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
