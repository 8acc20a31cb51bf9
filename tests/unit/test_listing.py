"""Which jobs a table shows, and in which order: asked of a store, because it is SQL."""

from pathlib import Path

import pytest

from jobs.listing import SORTS, TABLES, Listing
from jobs.statuses import Status
from jobs.store import Store

SECONDS = {"d1": 0.5, "d2": 0.5, "m2": 0.2, "m10": 0.1, "m9": 0.3}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two datasets, one of them being made; three models that are over, and one that waits."""
    store = Store(tmp_path / "store.sqlite")
    add(store, "d1", "Digits", Status.DONE, created=1.0)
    add(store, "d2", "Faces", Status.RUNNING, created=2.0)
    add(store, "m2", "run 2", Status.DONE, created=5.0, parent="d1", summary={"loss (train)": {"last": 0.5}})
    add(store, "m10", "Run 10", Status.DONE, created=4.0, parent="d1", summary={"loss (train)": {"last": 0.25}})
    add(store, "m9", "run 9", Status.ERROR, created=3.0, parent="d1", cause="The GRÖSSE of a layer is wrong.")
    add(store, "m11", "run 11", Status.WAITING, created=6.0, parent="d2")
    return store


def add(store: Store, job_id: str, name: str, status: Status, *, created: float, parent: str | None = None,
        summary: dict[str, dict[str, float]] | None = None, cause: str | None = None) -> None:  # fmt: skip
    family = "model" if parent else "dataset"
    store.add(job_id, f"generic-image-{family}", family, name, "sweep" if job_id == "m2" else "", created, parent)
    if status is Status.WAITING:
        store.move(job_id, Status.INITIALIZED, status, created)
        return
    # The longer it waits, the shorter it runs.
    began = created + 1 - SECONDS[job_id]
    store.move(job_id, Status.INITIALIZED, Status.RUNNING, began)
    store.record_events(job_id, 0, 10, summary or {})
    if status is not Status.RUNNING:
        store.move(job_id, Status.RUNNING, status, began + SECONDS[job_id], cause=cause)


def ids(store: Store, listing: Listing) -> list[str]:
    return [job_id for job_id, _ in store.listed_names(listing)]


def test_every_job_is_in_one_table_newest_first(store: Store) -> None:
    assert ids(store, Listing("running", reader=None)) == ["m11", "d2"]
    assert ids(store, Listing("models", reader=None)) == ["m2", "m10", "m9"]
    assert ids(store, Listing("datasets", reader=None)) == ["d1"]


@pytest.mark.parametrize(
    ("sort", "ascending"),
    [
        ("name", ["m2", "m9", "m10"]),
        ("submitted", ["m9", "m10", "m2"]),
        ("elapsed", ["m10", "m2", "m9"]),
        ("status", ["m2", "m10", "m9"]),
        ("refs", ["m2", "m10", "m9"]),
    ],
)
def test_columns_sort_by_what_they_show(store: Store, sort: str, ascending: list[str]) -> None:
    assert ids(store, Listing("models", sort=sort, descending=False, reader=None)) == ascending


def test_datasets_sort_by_how_many_read_them(store: Store) -> None:
    store.move("d2", Status.RUNNING, Status.DONE, 50.0)
    assert ids(store, Listing("datasets", sort="refs", descending=True, reader=None)) == ["d1", "d2"]
    assert ids(store, Listing("datasets", sort="refs", descending=False, reader=None)) == ["d2", "d1"]


@pytest.mark.parametrize(("descending", "order"), [(True, ["m2", "m10", "m9"]), (False, ["m10", "m2", "m9"])])
def test_what_has_no_value_comes_last_both_ways(store: Store, descending: bool, order: list[str]) -> None:
    assert ids(store, Listing("models", sort="loss (train) last", descending=descending, reader=None)) == order


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("RUN 9", ["m9"]),
        ("größe", ["m9"]),
        ("wrong  run", ["m9"]),
        ("sweep", ["m2"]),
        ("done", ["m2", "m10"]),
        ("generic image model", ["m2", "m10", "m9"]),
        ("run digits", []),
        ("%", []),
        ("'", []),
    ],
)
def test_all_words_must_be_somewhere_in_a_row(store: Store, words: str, found: list[str]) -> None:
    listing = Listing("models", words, reader=None)
    assert ids(store, listing) == found
    assert store.counts(listing) == (3, len(found))


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("sort", SORTS)
def test_every_order_of_every_table_is_good_sql_and_loses_no_job(store: Store, table, sort) -> None:
    for descending in (True, False):
        assert set(ids(store, Listing(table, sort=sort, descending=descending, reader=None))) == set(
            ids(store, Listing(table, reader=None))
        )
