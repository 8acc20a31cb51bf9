"""Looks into a dataset's databases for its explore pages."""

from pathlib import Path
from typing import Any

from flask import url_for

from jobs.errors import BadDatabase, UserError
from webapp.job_view import JobView
from webapp.services import services

PAGE_SIZES = (10, 25, 50, 100)


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
    database = _database(job, split)
    size = min(max(1, size), max(PAGE_SIZES))
    names, counts = labels_of(job), count_labels(job, split)
    entries = job.folder.read_dataset()["splits"][split]["entries"]
    total = entries if label is None else counts.get(label, 0)
    pages = max(1, -(-total // size))
    page = min(max(0, page), pages - 1)
    records = services().explorations.records(job.folder, database, page * size, size, label)
    images = [
        {
            "index": record["index"],
            "key": record["key"],
            "label_name": (names.get(record["label"]) or str(record["label"])) if counts else "",
            "url": url_for("datasets.image", job_id=job.id, split=split, index=record["index"]),
        }
        for record in records
    ]
    return {
        "db": split,
        "dbs": list(split_databases(job)),
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


def record_as_file(job: JobView, split: str, index: int) -> tuple[bytes, str]:
    """One record's picture and its media type. IndexError past the last record."""
    return services().explorations.picture(job.folder, _database(job, split), index)


def _database(job: JobView, split: str) -> Path:
    """The folder of a split's database, which may have become a link to somewhere else."""
    databases = split_databases(job)
    if split not in databases:
        raise UserError(f"This dataset has no database {split!r}. It has: {', '.join(databases)}.")
    if not services().settings.paths.allows(databases[split] / "data.mdb"):
        raise BadDatabase(f"The database {databases[split]} leads out of the folders that this server may read.")
    return databases[split]
