"""The store: conditional moves, counts, and what survives a restart."""

import sqlite3
from pathlib import Path

import pytest

from jobs.database import MARK
from jobs.errors import DamagedDatabase, EnvironmentFault, NoSuchJob
from jobs.statuses import Status, Wish
from jobs.store import SCHEMA, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store.sqlite")
    store.add("a", "generic-image-dataset", "dataset", "Digits", "", 1.0, None)
    return store


def test_a_status_moves_only_from_the_status_that_was_named(store: Store) -> None:
    assert not store.move("a", Status.RUNNING, Status.DONE, 2.0)
    assert store.get("a").status is Status.INITIALIZED
    assert store.move("a", Status.INITIALIZED, Status.WAITING, 2.0)
    assert [change.status for change in store.status_changes("a")] == [Status.INITIALIZED, Status.WAITING]


def test_a_wish_is_of_a_job_that_runs_and_an_abort_stands(store: Store) -> None:
    assert not store.wish("a", Wish.PAUSE)
    store.move("a", Status.INITIALIZED, Status.RUNNING, 2.0)
    for wish, stands in ((Wish.PAUSE, Wish.PAUSE), (Wish.ABORT, Wish.ABORT), (Wish.PAUSE, Wish.ABORT)):
        assert store.wish("a", wish)
        assert store.get("a").wish is stands
    store.move("a", Status.RUNNING, Status.ABORTED, 3.0)
    assert store.get("a").wish is None


def test_all_times_at_work_count_and_those_between_do_not(store: Store) -> None:
    assert store.elapsed("a") is None
    store.move("a", Status.INITIALIZED, Status.RUNNING, 10.0)
    store.move("a", Status.RUNNING, Status.PAUSED, 15.0)
    store.queue_again("a", Status.PAUSED, 90.0, {})
    store.move("a", Status.WAITING, Status.RUNNING, 100.0)
    store.move("a", Status.RUNNING, Status.DONE, 103.0)
    assert store.elapsed("a") == store.listed_job("a", None).elapsed == 8.0


def test_events_are_counted_once(store: Store) -> None:
    store.record_events("a", 0, 100, {"progress": 0.5})
    store.record_events("a", 0, 100, {"progress": 0.1})
    assert store.get("a").summary == {"progress": 0.5}


def test_an_unknown_job_raises(store: Store) -> None:
    with pytest.raises(NoSuchJob, match="Job not found"):
        store.get("b")


def test_a_job_that_runs_or_is_read_cannot_be_deleted(store: Store) -> None:
    assert not store.delete("a")
    store.move("a", Status.INITIALIZED, Status.DONE, 2.0)
    store.add("m", "generic-image-model", "model", "Net", "", 3.0, "a")
    assert not store.delete("a")
    store.move("m", Status.INITIALIZED, Status.ERROR, 4.0, cause="why")
    assert store.delete("m")
    assert store.delete("a")
    assert store.names(None) == []


def test_everything_is_there_after_a_restart(tmp_path: Path, store: Store) -> None:
    store.move("a", Status.INITIALIZED, Status.ERROR, 2.0, cause="disk full", line=3)
    store.edit("a", "New name", "", private=False)
    store.close()
    job = Store(tmp_path / "store.sqlite").get("a")
    assert (job.name, job.status, job.cause, job.cause_line) == ("New name", Status.ERROR, "disk full", 3)


def test_a_database_of_the_first_version_is_brought_up_to_date(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "old.sqlite")
    old.executescript(f"{SCHEMA} PRAGMA user_version=1;")
    old.execute(
        "INSERT INTO jobs (id, kind, family, name, status, created) VALUES ('a', 'k', 'dataset', 'Old', 'Done', 1)"
    )
    old.execute(
        "INSERT INTO jobs (id, kind, family, name, status, created) VALUES ('m', 'k', 'model', 'Net', 'Done', 2)"
    )
    old.commit()
    old.close()
    for _ in range(2):
        store = Store(tmp_path / "old.sqlite")
        assert [job.name for job in store.names(None)] == ["Net", "Old"]
        assert (store.get("m").framework, store.get("a").framework) == ("pytorch", None)
        assert structure(store) == structure(Store(tmp_path / "new.sqlite"))
        store.close()


def structure(store: Store) -> set[tuple[str, ...]]:
    """Every table and index as SQLite keeps it, and the version."""
    rows = store._connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    version = store._connection.execute("PRAGMA user_version").fetchone()
    return {tuple(map(str, row)) for row in (*rows, version)}


def test_a_database_of_a_newer_version_is_refused(tmp_path: Path, store: Store) -> None:
    store._connection.executescript(f"PRAGMA user_version=99; PRAGMA application_id={MARK + 99}")
    store.close()
    with pytest.raises(EnvironmentFault, match="Update"):
        Store(tmp_path / "store.sqlite")


@pytest.mark.parametrize("version", [1, 99])
def test_a_version_that_is_said_in_one_place_alone_is_damage(tmp_path: Path, store: Store, version: int) -> None:
    store._connection.execute(f"PRAGMA user_version={version}")
    store.close()
    with pytest.raises(DamagedDatabase, match=f"its version is {version} in one place"):
        Store(tmp_path / "store.sqlite")


def test_a_list_that_another_program_keeps_locked_says_so(tmp_path: Path, store: Store) -> None:
    store._connection.execute("PRAGMA busy_timeout=0")
    other = sqlite3.connect(tmp_path / "store.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(EnvironmentFault, match="could not be written: database is locked"):
        store.edit("a", "New name", "", private=False)
    other.execute("ROLLBACK")
    other.close()
    store.edit("a", "New name", "", private=False)
