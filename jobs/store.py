"""What the server knows of its jobs, in SQLite. The job folders are the truth; the server is the only writer."""

import json
import logging
import sqlite3
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from jobs.database import Database
from jobs.errors import DamagedDatabase, NoSuchJob
from jobs.listing import ELAPSED, ELAPSED_SINCE_END, READABLE, READERS, Listing, install_functions
from jobs.statuses import ACTIVE, Status, Wish

log = logging.getLogger(__name__)

SCHEMA = """
CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    family TEXT NOT NULL,
    name TEXT NOT NULL,
    group_name TEXT NOT NULL DEFAULT '',
    notes TEXT NOT NULL DEFAULT '',
    status TEXT NOT NULL,
    cause TEXT,
    cause_line INTEGER,
    created REAL NOT NULL,
    parent_id TEXT,                 -- the dataset that this job reads
    device TEXT,                    -- what the scheduler gave it while it runs: "cpu", "gpu 0"
    event_offset INTEGER NOT NULL DEFAULT 0,
    summary TEXT NOT NULL DEFAULT '{}'
);
CREATE INDEX jobs_by_status ON jobs (status);
CREATE INDEX jobs_by_parent ON jobs (parent_id);
CREATE TABLE status_changes (
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    status TEXT NOT NULL,
    time REAL NOT NULL
);
CREATE INDEX status_changes_by_job ON status_changes (job_id);
"""
# What brings a database of an older version to the next one, from version 1 on. A new database takes the same steps.
MIGRATIONS = (
    # Lists, newest first, and their counts, without reading the rows themselves.
    "CREATE INDEX jobs_by_family ON jobs (family, created, id, status);",
    # In whose language the network of a model is written; there was one. NULL for datasets.
    "ALTER TABLE jobs ADD COLUMN framework TEXT; UPDATE jobs SET framework = 'pytorch' WHERE family = 'model';",
    # How often the worker of a training crashed with its newest snapshot of one step, and which.
    "ALTER TABLE jobs ADD COLUMN crashes INTEGER NOT NULL DEFAULT 0; "
    "ALTER TABLE jobs ADD COLUMN crashed_after_step INTEGER NOT NULL DEFAULT 0;",
    # Which process is at work on it, as jobs.worker_identity knows it.
    "ALTER TABLE jobs ADD COLUMN worker TEXT;",
    # What a person wishes of a running job: that it stops, and why.
    "ALTER TABLE jobs ADD COLUMN wish TEXT;",
    # The SHA-256 of spec.json, which lies where pasted code may write; NULL for jobs of before, which are taken as they are.
    # And what protected the machine from the worker that was at it last, as JSON.
    "ALTER TABLE jobs ADD COLUMN spec_sha256 TEXT; ALTER TABLE jobs ADD COLUMN protections TEXT;",
    # Who made it, and whether only they may see it. NULL: nobody who said a name.
    "ALTER TABLE jobs ADD COLUMN owner TEXT; ALTER TABLE jobs ADD COLUMN private INTEGER NOT NULL DEFAULT 0; "
    "DROP INDEX jobs_by_family; "
    "CREATE INDEX jobs_by_family ON jobs (family, created, id, status, private, owner);",
    # For how many hours it may run, as its form said when its worker was started; NULL: for ever.
    "ALTER TABLE jobs ADD COLUMN time_limit REAL;",
)

# Rows that are good for SQLite and not for us.
_STATUSES, _WISHES = (", ".join(f"'{word}'" for word in words) for words in (Status, Wish))
UNSOUND = (
    f"SELECT count(*) FROM jobs WHERE status NOT IN ({_STATUSES}) OR wish NOT IN ({_WISHES}) "  # noqa: S608
    "OR family NOT IN ('dataset', 'model') OR NOT json_valid(summary) OR json_type(summary) != 'object'",
    f"SELECT count(*) FROM status_changes WHERE status NOT IN ({_STATUSES})",  # noqa: S608
)

# What is kept free in the database for a disk that is full, and the size of its pages.
ROOM_BYTES = 1 << 20
PAGE_BYTES = 4096

_READABLE = READABLE.format(jobs="jobs")
NOT_FOUND = "Job not found. It may have been deleted, or be private; the home page lists the jobs that there are."


@dataclass(frozen=True)
class JobRecord:
    """One row. `summary` is what the events said so far, as `jobs.summaries` folds them."""

    id: str
    kind: str
    family: str
    name: str
    group_name: str
    notes: str
    status: Status
    cause: str | None
    cause_line: int | None
    created: float
    parent_id: str | None
    device: str | None
    event_offset: int
    summary: dict[str, Any]
    framework: str | None
    crashes: int
    crashed_after_step: int
    worker: str | None
    wish: Wish | None
    spec_sha256: str | None
    protections: str | None
    owner: str | None
    private: bool
    time_limit: float | None

    def words_for(self, other: "JobRecord") -> str:
        """This job in a sentence about `other`: by its name only where all who may see that may see this."""
        if not self.private or (other.private and other.owner == self.owner):
            return f'"{self.name}"'
        return f"a private job of {self.owner}"


@dataclass(frozen=True)
class ListedJob:
    """A job with what a list says of it beside its row."""

    record: JobRecord
    elapsed: float | None  # seconds in which a worker was at it, all runs together
    readers: int  # how many jobs read it


@dataclass(frozen=True)
class JobName:
    """As much of a job as a list of everything needs."""

    id: str
    name: str
    family: str
    status: Status
    parent_id: str | None


@dataclass(frozen=True)
class StatusChange:
    status: Status
    time: float


@dataclass(frozen=True)
class Past:
    """What a job has behind it that is entered late. The last of `changes` is its status; `wish` is of one that runs."""

    changes: Sequence[StatusChange]
    summary: dict[str, Any]
    event_offset: int
    notes: str = ""
    wish: Wish | None = None


@dataclass(frozen=True)
class Standing:
    """As much of a job as says whether its folder has more to say."""

    id: str
    status: Status
    event_offset: int


def _record(values: dict[str, Any]) -> JobRecord:
    wish = values["wish"] and Wish(values["wish"])
    read = {"status": Status(values["status"]), "summary": json.loads(values["summary"]), "wish": wish}
    return JobRecord(**values | read | {"private": bool(values["private"])})


def _listed(values: dict[str, Any]) -> ListedJob:
    elapsed, readers = values.pop("elapsed"), values.pop("readers")
    return ListedJob(_record(values), elapsed, readers)


class Store(Database):
    """Thread-safe. Every look-up of a job that is not there raises NoSuchJob.

    A `reader` is who asks for a list, and gets no private jobs but their own; None sees everything.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, (SCHEMA, *MIGRATIONS), "jobs")

    def _prepare(self) -> None:
        install_functions(self._connection)
        self._look_through()
        self._keep_room()

    def _look_through(self) -> None:
        """Find rows that could not be read, before somebody needs one."""
        for query in UNSOUND:
            (count,) = self._connection.execute(query).fetchone()
            if count:
                raise DamagedDatabase(f"{count} rows in it are none of ours")
        for table, record in (("status_changes", StatusChange), ("jobs", JobRecord)):
            rows = self._connection.execute(f"SELECT * FROM {table}")  # noqa: S608
            columns = {column[0] for column in rows.description}
            if missing := {field.name for field in fields(record)} - columns:
                raise DamagedDatabase(f"there is no {', '.join(sorted(missing))} in it")
            # A damaged word may be bytes to SQLite, which sorts and finds them as it does words.
            kinds = ", ".join(f"typeof({field.name})" for field in fields(record))
            (count,) = self._connection.execute(f"SELECT count(*) FROM {table} WHERE 'blob' IN ({kinds})").fetchone()  # noqa: S608
            if count:
                raise DamagedDatabase(f"{count} rows of {table} hold bytes in the place of words")
            # Each row is made and let go: what is no UTF-8 is found by that.
            deque(rows, maxlen=0)

    def _keep_room(self) -> None:
        """See to it that the file and its log are so large that what becomes of jobs can be written on a full disk: pages
        that are free, and a log that is written over from its beginning.
        """
        self._connection.execute(f"PRAGMA wal_autocheckpoint={ROOM_BYTES // PAGE_BYTES // 4}")
        try:
            # Left where the disk was full the time before.
            self._connection.execute("DROP TABLE IF EXISTS room")
            self._connection.execute("CREATE TABLE room (content BLOB)")
            self._connection.execute("INSERT INTO room VALUES (zeroblob(?))", (ROOM_BYTES,))
            self._connection.execute("DROP TABLE room")
            self._connection.execute("PRAGMA wal_checkpoint(RESTART)")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                raise
            log.warning("The disk of the data directory is full: no room could be kept for the list of jobs.")

    def add(self, job_id: str, kind: str, family: str, name: str, group_name: str, created: float,
            parent_id: str | None, framework: str | None = None, past: Past | None = None,
            spec_sha256: str | None = None, owner: str | None = None, private: bool = False) -> None:  # fmt: skip
        """Enter a new job as Initialized, or one with a past. Its folder must be complete already."""
        past = past or Past([StatusChange(Status.INITIALIZED, created)], {}, 0)
        status = past.changes[-1].status
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO jobs (id, kind, family, name, group_name, status, created, parent_id, framework, notes, "
                "cause, cause_line, event_offset, summary, spec_sha256, owner, private, wish) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (job_id, kind, family, name, group_name, status, created, parent_id, framework, past.notes,
                 past.summary.get("cause"), past.summary.get("line"), past.event_offset, json.dumps(past.summary),
                 spec_sha256, owner, private, past.wish),
            )  # fmt: skip
            connection.executemany(
                "INSERT INTO status_changes VALUES (?, ?, ?)",
                [(job_id, change.status, change.time) for change in past.changes],
            )

    def get(self, job_id: str) -> JobRecord:
        with self._lock:
            row = self._connection.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()
        if row is None:
            raise NoSuchJob(NOT_FOUND)
        return _record(dict(row))

    def is_private(self, job_id: str) -> bool:
        """Whether there is such a job and it is private."""
        with self._lock:
            row = self._connection.execute("SELECT private FROM jobs WHERE id = ?", (job_id,)).fetchone()
        return row is not None and bool(row["private"])

    def names(self, reader: str | None) -> list[JobName]:
        """Every job, newest first."""
        with self._lock:
            rows = self._connection.execute(
                f"SELECT id, name, family, status, parent_id FROM jobs WHERE {_READABLE} ORDER BY created DESC, id DESC",  # noqa: S608
                {"reader": reader},
            ).fetchall()
        return [JobName(row[0], row[1], row[2], Status(row[3]), row[4]) for row in rows]

    def standings(self) -> list[Standing]:
        """How every job stands, without what costs most to read."""
        with self._lock:
            rows = self._connection.execute("SELECT id, status, event_offset FROM jobs").fetchall()
        return [Standing(row[0], Status(row[1]), row[2]) for row in rows]

    def all(self) -> list[JobRecord]:
        """Every job with all that is known of it."""
        return self._select("")

    def of_kinds(self, kinds: Collection[str], reader: str | None) -> list[JobRecord]:
        """Every job of one of these kinds, newest first."""
        return self._select(
            f"WHERE kind IN (SELECT value FROM json_each(:kinds)) AND {_READABLE} ORDER BY created DESC, id DESC",  # noqa: S608
            {"kinds": json.dumps(list(kinds)), "reader": reader},
        )

    def not_of_kinds(self, kinds: Collection[str]) -> list[JobRecord]:
        """Every job of any other kind."""
        return self._select(
            "WHERE kind NOT IN (SELECT value FROM json_each(:kinds))", {"kinds": json.dumps(list(kinds))}
        )

    def newest_first(self, job_ids: Collection[str]) -> list[str]:
        """Those of the ids that belong to a job, newest first."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT id FROM jobs WHERE id IN (SELECT value FROM json_each(?)) ORDER BY created DESC, id DESC",
                (json.dumps(list(job_ids)),),
            ).fetchall()
        return [row[0] for row in rows]

    # Lists

    def counts(self, listing: Listing) -> tuple[int, int]:
        """How many jobs the table has, and how many of them match."""
        with self._lock:
            (total,) = self._connection.execute(listing.total(), listing.values).fetchone()
            (matching,) = self._connection.execute(listing.matching(), listing.values).fetchone()
        return total, matching

    def listed_names(self, listing: Listing, limit: int = -1, offset: int = 0) -> list[tuple[str, str]]:
        """The ids and names of the jobs that match, in order: all of them, or `limit` from the `offset`th on."""
        values = {**listing.values, "limit": limit, "offset": offset}
        with self._lock:
            rows = self._connection.execute(f"{listing.ordered()} LIMIT :limit OFFSET :offset", values).fetchall()
        return [(row[0], row[1]) for row in rows]

    def listed(self, job_ids: Sequence[str], reader: str | None) -> list[ListedJob]:
        """What a list says of these jobs, in the order of the ids. A job that is gone is left out."""
        query = (
            f"SELECT *, {ELAPSED} AS elapsed, {READERS} AS readers FROM jobs "  # noqa: S608
            f"WHERE id IN (SELECT value FROM json_each(:ids)) AND {_READABLE}"
        )
        with self._lock:
            rows = self._connection.execute(query, {"ids": json.dumps(list(job_ids)), "reader": reader}).fetchall()
        found = {row["id"]: _listed(dict(row)) for row in rows}
        return [found[job_id] for job_id in job_ids if job_id in found]

    def listed_job(self, job_id: str, reader: str | None) -> ListedJob:
        found = self.listed([job_id], reader)
        if not found:
            raise NoSuchJob(NOT_FOUND)
        return found[0]

    def elapsed(self, job_id: str) -> float | None:
        """Seconds in which a worker was at this job, all runs together; None where none was."""
        return self._seconds(ELAPSED, job_id)

    def elapsed_since_end(self, job_id: str) -> float:
        """Seconds of these since the job was last done, was aborted or failed."""
        return self._seconds(ELAPSED_SINCE_END, job_id) or 0.0

    def _seconds(self, which: str, job_id: str) -> float | None:
        with self._lock:
            (seconds,) = self._connection.execute(f"SELECT {which} FROM jobs WHERE id = ?", (job_id,)).fetchone()  # noqa: S608
        return None if seconds is None else float(seconds)

    def active(self) -> list[JobRecord]:
        """Jobs that still have something before them, oldest first: the order of the queue."""
        marks = ", ".join("?" * len(ACTIVE))
        return self._select(f"WHERE status IN ({marks}) ORDER BY created, id", ACTIVE)

    def running(self) -> list[JobRecord]:
        """Jobs that a worker is at, oldest first."""
        return self._select("WHERE status = ? ORDER BY created, id", (Status.RUNNING,))

    def children(self, job_id: str, reader: str | None) -> list[JobRecord]:
        """Jobs that read this dataset, newest first."""
        return self._select(
            f"WHERE parent_id = :id AND {_READABLE} ORDER BY created DESC, id DESC", {"id": job_id, "reader": reader}
        )

    def _select(self, condition: str, values: Sequence[str] | Mapping[str, str | None] = ()) -> list[JobRecord]:
        with self._lock:
            rows = self._connection.execute(f"SELECT * FROM jobs {condition}", values).fetchall()  # noqa: S608
        return [_record(dict(row)) for row in rows]

    def status_changes(self, job_id: str) -> list[StatusChange]:
        with self._lock:
            rows = self._connection.execute(
                "SELECT status, time FROM status_changes WHERE job_id = ? ORDER BY rowid", (job_id,)
            ).fetchall()
        return [StatusChange(Status(row["status"]), row["time"]) for row in rows]

    def move(self, job_id: str, before: Status, after: Status, now: float, *, cause: str | None = None,
             line: int | None = None, device: str | None = None) -> bool:  # fmt: skip
        """Change the status if it still is `before`; whether it was.

        What was wished of the job was wished of it in its status before."""
        with self._transaction() as connection:
            changed = connection.execute(
                "UPDATE jobs SET status = ?, cause = ?, cause_line = ?, device = ?, worker = NULL, wish = NULL "
                "WHERE id = ? AND status = ?",
                (after, cause, line, device, job_id, before),
            ).rowcount
            if changed:
                connection.execute("INSERT INTO status_changes VALUES (?, ?, ?)", (job_id, after, now))
        return bool(changed)

    def take_back_start(self, job_id: str, cause: str | None) -> bool:
        """Let a job that runs wait as before it was to be started, of which nothing is left to be told; whether it ran."""
        with self._transaction() as connection:
            changed = connection.execute(
                "UPDATE jobs SET status = ?, cause = ?, device = NULL, worker = NULL, wish = NULL "
                "WHERE id = ? AND status = ?",
                (Status.WAITING, cause, job_id, Status.RUNNING),
            ).rowcount
            if changed:
                connection.execute(
                    "DELETE FROM status_changes WHERE rowid = (SELECT max(rowid) FROM status_changes WHERE job_id = ?)",
                    (job_id,),
                )
        return bool(changed)

    def note_worker(self, job_id: str, worker: str) -> None:
        """Which process does a job that runs."""
        with self._transaction() as connection:
            connection.execute("UPDATE jobs SET worker = ? WHERE id = ? AND status = ?",
                               (worker, job_id, Status.RUNNING))  # fmt: skip

    def queue_again(self, job_id: str, before: Status, now: float, summary: dict[str, Any], *, cause: str | None = None,
                    crashes: int = 0, crashed_after_step: int = 0) -> bool:  # fmt: skip
        """Let a job that was begun wait once more, if its status still is `before`; whether it was. At once with its new
        summary: what the old one says of its end must not be taken for the next one's."""
        with self._transaction() as connection:
            changed = connection.execute(
                "UPDATE jobs SET status = ?, cause = ?, cause_line = NULL, device = NULL, worker = NULL, wish = NULL, "
                "summary = ?, "
                "crashes = ?, crashed_after_step = ? WHERE id = ? AND status = ?",
                (Status.WAITING, cause, json.dumps(summary), crashes, crashed_after_step, job_id, before),
            ).rowcount
            if changed:
                connection.execute("INSERT INTO status_changes VALUES (?, ?, ?)", (job_id, Status.WAITING, now))
        return bool(changed)

    def catch_up(self, job: JobRecord, past: Past, worker: str | None) -> bool:
        """Let a job be what its past says, which begins with what is known of it; whether it still was as its record says.
        For a list that is older than the job folders, before anything is started."""
        status = past.changes[-1].status
        device = job.device if status is Status.RUNNING else None
        with self._transaction() as connection:
            changed = connection.execute(
                "UPDATE jobs SET status = ?, cause = ?, cause_line = ?, device = ?, worker = ?, wish = ?, summary = ?, "
                "event_offset = ? WHERE id = ? AND status = ? AND event_offset = ?",
                (status, past.summary.get("cause"), past.summary.get("line"), device, worker, past.wish,
                 json.dumps(past.summary), past.event_offset, job.id, job.status, job.event_offset),
            ).rowcount  # fmt: skip
            if changed:
                (known,) = connection.execute(
                    "SELECT count(*) FROM status_changes WHERE job_id = ?", (job.id,)
                ).fetchone()
                connection.executemany(
                    "INSERT INTO status_changes VALUES (?, ?, ?)",
                    [(job.id, change.status, change.time) for change in past.changes[known:]],
                )
        return bool(changed)

    def wish(self, job_id: str, wish: Wish) -> bool:
        """Note what a person wishes of a running job; whether it runs. An abort stands, whatever is wished after it."""
        with self._transaction() as connection:
            noted = connection.execute(
                "UPDATE jobs SET wish = CASE wish WHEN ? THEN wish ELSE ? END WHERE id = ? AND status = ?",
                (Wish.ABORT, wish, job_id, Status.RUNNING),
            ).rowcount
        return bool(noted)

    def note_time_limit(self, job_id: str, hours: float | None) -> None:
        """Keep for how long a job may run. Its spec lies where its own code could change it."""
        with self._transaction() as connection:
            connection.execute("UPDATE jobs SET time_limit = ? WHERE id = ?", (hours, job_id))

    def note_protections(self, job_id: str, protections: str) -> None:
        """Keep what protects the machine from the job's worker."""
        with self._transaction() as connection:
            connection.execute("UPDATE jobs SET protections = ? WHERE id = ?", (protections, job_id))

    def record_events(self, job_id: str, since: int, offset: int, summary: dict[str, Any]) -> None:
        """Note that the events from `since` up to `offset` are in `summary`."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE jobs SET event_offset = ?, summary = ? WHERE id = ? AND event_offset = ?",
                (offset, json.dumps(summary), job_id, since),
            )

    def edit(self, job_id: str, name: str, notes: str, private: bool) -> None:
        with self._transaction() as connection:
            connection.execute(
                "UPDATE jobs SET name = ?, notes = ?, private = ? WHERE id = ?", (name, notes, private, job_id)
            )

    def delete(self, job_id: str) -> bool:
        """Forget a job that does not run any more and that no other job reads; whether it was so."""
        marks = ", ".join("?" * len(ACTIVE))
        with self._transaction() as connection:
            deleted = connection.execute(
                f"DELETE FROM jobs WHERE id = ? AND status NOT IN ({marks}) "  # noqa: S608
                "AND NOT EXISTS (SELECT 1 FROM jobs AS child WHERE child.parent_id = jobs.id)",
                (job_id, *ACTIVE),
            ).rowcount
        return bool(deleted)
