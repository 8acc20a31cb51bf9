"""The list of jobs from the job folders, which are the truth: what is not in it is entered, and all of it when its file
is damaged.
"""

import logging
import sqlite3
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from jobs.attributes import read_attributes
from jobs.events import Event, read_events, that_count
from jobs.folder import JOB_ID, JobFolder, lock_is_held, time_of_id
from jobs.registry import job_kind, parse_spec
from jobs.statuses import Status
from jobs.store import Past, StatusChange, Store
from jobs.summaries import Summary, summary_of

log = logging.getLogger(__name__)

# What the last event of a worker says of its job. Whether one that stopped was to be aborted or paused, only the list knew.
OUTCOMES = {"finished": Status.DONE, "stopped": Status.ABORTED, "failed": Status.ERROR}
DAMAGED = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)


def open_store(database: Path, jobs_dir: Path) -> Store:
    """The list of jobs, with every job that has a folder. A file that is damaged is set aside, and the list made anew.

    One server at a time may do this.
    """
    damage = damage_of(database)
    store = None if damage else Store(database)
    if store is not None and (damage := _unreadable(store)):
        store.close()
    if damage or store is None:
        aside = set_aside(database)
        log.error("The list of jobs is damaged (%s). It is made anew from the job folders; kept as %s.", damage, aside)
        store = Store(database)
    try:
        entered = enter_missing(store, jobs_dir)
    except BaseException:
        store.close()
        raise
    if entered:
        log.warning("%d jobs had a folder and were not in the list: entered.", entered)
    return store


def damage_of(database: Path) -> str | None:
    """What SQLite finds wrong in the file; None when it is good, or is not there yet."""
    if not database.exists():
        return None
    connection = sqlite3.connect(database)
    # What is damaged may be no UTF-8.
    connection.text_factory = lambda text: text.decode(errors="replace")
    try:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except UnicodeDecodeError as error:
        # SQLite's own sentence quotes what is damaged.
        return str(error)
    except sqlite3.DatabaseError as error:
        # Of the extended codes the low byte says the kind.
        if error.sqlite_errorcode & 0xFF in DAMAGED:
            return str(error)
        raise
    finally:
        connection.close()
    return None if found == "ok" else str(found)


def _unreadable(store: Store) -> str | None:
    """What cannot be read of the rows: SQLite itself looks at how they are stored, and not at what is in them."""
    try:
        store.all()
    except (sqlite3.DatabaseError, ValueError) as error:
        return str(error)
    return None


def set_aside(database: Path, why: str = "damaged") -> Path:
    """Take the file out of the way, with what belongs to it, and keep it for who wants to look; its new name."""
    aside = database.with_name(f"{database.name}.{why}-{datetime.now().astimezone():%Y%m%d-%H%M%S-%f}")
    for ending in ("-wal", "-shm", ""):
        part = database.with_name(database.name + ending)
        if part.exists():
            part.rename(aside.with_name(aside.name + ending))
    return aside


def damaged_lists(database: Path) -> list[Path]:
    """Files that were set aside and that nobody has removed since, oldest first."""
    found = database.parent.glob(f"{database.name}.damaged-*")
    return sorted(path for path in found if not path.name.endswith(("-wal", "-shm")))


def enter_missing(store: Store, jobs_dir: Path) -> int:
    """Enter every job that has a folder and no row; how many there were."""
    known = {job.id for job in store.names(None)}
    missing = sorted(path for path in jobs_dir.iterdir() if JOB_ID.fullmatch(path.name) and path.name not in known)
    entered = 0
    for path in missing:
        try:
            _enter(store, JobFolder(path))
        except (OSError, ValueError, KeyError, TypeError, RecursionError, ValidationError) as error:
            log.warning("The folder %s is no job that can be entered in the list: %s", path, error)
        else:
            entered += 1
    return entered


def _enter(store: Store, folder: JobFolder) -> None:
    spec = parse_spec(folder.read_spec())
    kind, written = job_kind(spec.kind), read_attributes(folder)
    told, end = _all_told(folder)
    summary = summary_of(that_count(told), folder.id)
    created = time_of_id(folder.id).timestamp()
    changes = [StatusChange(Status.INITIALIZED, created), *_changes(told)]
    status = _status(folder, summary)
    if changes[-1].status is not status:
        changes.append(StatusChange(status, changes[-1].time))
    past = Past(changes, summary, end, written.notes)
    store.add(folder.id, kind.id, kind.family, written.name or spec.name, getattr(spec, "group_name", ""), created,
              spec.parent_id(folder.path.parent), getattr(spec, "framework", None), past, owner=written.owner,
              private=written.private)  # fmt: skip


def _all_told(folder: JobFolder) -> tuple[list[Event], int]:
    """Every whole event, and the byte after the last."""
    events: list[Event] = []
    end = 0
    while True:
        page = read_events(folder.events, end)
        events += page.events
        end = page.next
        if not page.events:
            return events, end


def _status(folder: JobFolder, summary: Summary) -> Status:
    """What its worker said of its end; what has not ended runs still, or waits to be taken up."""
    if outcome := summary.get("outcome"):
        return OUTCOMES[outcome]
    return Status.RUNNING if lock_is_held(folder.lock) else Status.WAITING


def _changes(told: list[Event]) -> list[StatusChange]:
    moves = {"started": Status.RUNNING, **OUTCOMES}
    return [
        StatusChange(moves[event["type"]], event["time"])
        for event in told
        if event["type"] in moves and isinstance(event.get("time"), float)
    ]
