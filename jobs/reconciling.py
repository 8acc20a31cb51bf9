"""Brings the list of jobs into agreement with the job folders, which are the truth: with jobs that are not in it, and with
those of which it knows an older state, as when a copy was put back or the log of its file was lost.
"""

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from jobs.attributes import read_attributes
from jobs.errors import UserError
from jobs.events import MOST_OF_A_LOG, Event, read_events
from jobs.folder import JOB_ID, JobFolder, lock_is_held, time_of_id
from jobs.kept_wishes import in_words, read_wish
from jobs.registry import job_kind, parse_spec
from jobs.statuses import Status, Wish
from jobs.store import JobRecord, Past, Standing, StatusChange, Store
from jobs.summaries import Summary, SummaryTakenAnew
from jobs.worker_identity import find_worker

log = logging.getLogger(__name__)

# What the last event of a worker says of its job. One that stopped was aborted where its folder does not say otherwise.
OUTCOMES = {"finished": Status.DONE, "stopped": Status.ABORTED, "failed": Status.ERROR}
# What reading a folder raises of which pasted code or somebody's hand has made no job.
NO_JOB = (OSError, ValueError, KeyError, TypeError, RecursionError, ValidationError)


def reconcile(store: Store, jobs_dir: Path) -> None:
    """Make the list say what the folders say. Before anything is started: a job that is done must not begin anew."""
    if entered := enter_missing(store, jobs_dir):
        log.warning("%d jobs had a folder and were not in the list: entered.", entered)
    if caught_up := catch_up(store, jobs_dir):
        log.warning("Of %d jobs the list knew an older state than their folders: brought up to date.", caught_up)


def enter_missing(store: Store, jobs_dir: Path) -> int:
    """Enter every job that has a folder and no row; how many there were."""
    known = {job.id for job in store.standings()}
    missing = sorted(path for path in jobs_dir.iterdir() if JOB_ID.fullmatch(path.name) and path.name not in known)
    entered = 0
    for path in missing:
        try:
            _enter(store, JobFolder(path))
        except NO_JOB as error:
            log.warning("The folder %s is no job that can be entered in the list: %s", path, error)
        else:
            entered += 1
    return entered


def _enter(store: Store, folder: JobFolder) -> None:
    spec = parse_spec(folder.read_spec())
    kind, written = job_kind(spec.kind), read_attributes(folder)
    created = time_of_id(folder.id).timestamp()
    time_limit = getattr(spec, "time_limit", None)
    past = _past(folder, time_limit, [StatusChange(Status.INITIALIZED, created)], 0, written.notes)
    store.add(folder.id, kind.id, kind.family, written.name or spec.name, getattr(spec, "group_name", ""), created,
              spec.parent_id(folder.path.parent), getattr(spec, "framework", None), past, folder.spec_sha256(),
              written.owner, written.private)  # fmt: skip
    store.note_time_limit(folder.id, time_limit)


def catch_up(store: Store, jobs_dir: Path) -> int:
    """Bring every row up to date that its folder has left behind; how many there were. Of a job that has ended no more is
    looked at than how long its log is, as long as that is as long as was heard."""
    caught_up = 0
    for job in store.standings():
        folder = JobFolder(jobs_dir / job.id)
        try:
            if _is_behind(store, job, folder):
                _bring_up_to_date(store, store.get(job.id), folder)
                caught_up += 1
            elif job.status is Status.RUNNING and (wish := read_wish(folder)):
                # Before a round hears how its worker has ended.
                store.wish(job.id, wish)
        except NO_JOB as error:
            log.warning("What the folder says of job %s cannot be read: %s", job.id, error)
    return caught_up


def _is_behind(store: Store, job: Standing, folder: JobFolder) -> bool:
    """Whether a worker has begun of which the list has not heard, or is at work on a job that waits there, or that job is to
    rest. What else the worker of a running job has said is heard in the rounds."""
    if _is_longer(folder.events, job.event_offset):
        page = read_events(folder.events, job.event_offset, without=MOST_OF_A_LOG)
        # What is older than what became of the job since was left unheard, as a flood of words is.
        known = store.status_changes(job.id)
        if any(type == "started" and not (known and moment < known[-1].time) for type, moment in _moments(page.events)):
            return True
    if job.status in (Status.INITIALIZED, Status.WAITING):
        return read_wish(folder) is not None or lock_is_held(folder.lock)
    return job.status is Status.PAUSED and (read_wish(folder) not in (None, Wish.PAUSE) or lock_is_held(folder.lock))


def _is_longer(events: Path, heard: int) -> bool:
    try:
        return os.stat(events).st_size > heard  # noqa: PTH116  for ten thousand jobs
    except OSError:
        return False


def _bring_up_to_date(store: Store, job: JobRecord, folder: JobFolder) -> None:
    """What the list alone knows stays: whose the job is, what its form was, and how often it crashed."""
    time_limit = job.time_limit
    # A form that was changed keeps the job from starting, and not its worker from being heard.
    with suppress(UserError, *NO_JOB):
        time_limit = getattr(parse_spec(folder.read_spec(job.spec_sha256)), "time_limit", None)
    known = store.status_changes(job.id) or [StatusChange(job.status, job.created)]
    past = _past(folder, time_limit, known, job.event_offset, job.notes)
    is_at_work = past.changes[-1].status is Status.RUNNING
    # The process that is noted may be one that ended before this one began.
    worker = find_worker(folder.lock) if is_at_work and folder.lock.exists() else None
    if store.catch_up(job, past, str(worker) if worker else job.worker if is_at_work else None):
        store.note_time_limit(job.id, time_limit)
        if folder.attributes.exists():
            written = read_attributes(folder)
            store.edit(job.id, written.name or job.name, written.notes, written.private)


def _past(folder: JobFolder, time_limit: float | None, known: list[StatusChange], heard: int, notes: str) -> Past:
    """What the folder says of a job of which some changes are `known`, and the log up to the byte `heard`."""
    told = _Told(folder.events, heard)
    changes = [*known, *_changes(known[-1], _last_moment(folder.events, heard), told)]
    end = told.end
    summary, wish = SummaryTakenAnew(folder, end).read_all(), read_wish(folder)
    if known[-1].status is Status.RUNNING:
        # How the last worker ended is for the rounds to conclude, as of any that ended while there was no server.
        while changes[-1].status is not Status.RUNNING:
            changes.pop()
        return Past(changes, summary, end, notes, wish)
    status = _status(folder, summary, wish)
    if changes[-1].status is not status:
        is_pause = status is Status.PAUSED and changes[-1].status is Status.ABORTED and len(changes) > len(known)
        last = changes.pop() if is_pause else changes[-1]
        changes.append(StatusChange(status, last.time))
    if status is Status.ABORTED and (cause := in_words(wish, time_limit, summary)):
        summary["cause"] = cause
    # Of one whose worker has not stopped yet.
    return Past(changes, summary, end, notes, wish if status is Status.RUNNING else None)


class _Told:
    """Every whole event from a byte on, of which `end` is the byte after the last that was read. A log may be long."""

    def __init__(self, events: Path, since: int) -> None:
        self.end = since
        self._events = events

    def __iter__(self) -> Iterator[Event]:
        while (page := read_events(self._events, self.end)).events:
            yield from page.events
            self.end = page.next


def _last_moment(events: Path, until: int) -> float | None:
    """When something was said last up to this byte."""
    last, since = None, 0
    while (page := read_events(events, since, until=until)).events:
        last = next((moment for _, moment in _moments(reversed(page.events))), last)
        since = page.next
    return last


def _status(folder: JobFolder, summary: Summary, wish: Wish | None) -> Status:
    """What its worker said of its end, and what was wished of it; what has not ended runs still, or waits to be taken up."""
    outcome = summary.get("outcome")
    if outcome in ("finished", "failed"):
        return OUTCOMES[outcome]
    if lock_is_held(folder.lock):
        return Status.RUNNING
    if wish is not None:
        return wish.status
    return OUTCOMES[outcome] if outcome else Status.WAITING


def _changes(known: StatusChange, last: float | None, told: Iterable[Event]) -> list[StatusChange]:
    """When workers began and ended after what is known, and the `last` that was heard. One that did not say so ended when
    it said something last."""
    moves = {"started": Status.RUNNING, **OUTCOMES}
    changes: list[StatusChange] = []
    now = known.status
    # Of the worker that is known to run nothing was heard: it will say that it has begun.
    is_awaited = now is Status.RUNNING and (last is None or last <= known.time)
    for type, moment in _moments(told):
        if type == "started" and now is Status.RUNNING and not is_awaited:
            changes.append(StatusChange(Status.WAITING, moment if last is None else min(last, moment)))
        if type in moves and not (type == "started" and is_awaited):
            changes.append(StatusChange(moves[type], moment))
        now, last, is_awaited = changes[-1].status if changes else now, moment, False
    return changes


def _moments(events: Iterable[Event]) -> Iterator[tuple[str, float]]:
    """The type and the time of each event that has one."""
    return ((event["type"], event["time"]) for event in events if isinstance(event.get("time"), float))
