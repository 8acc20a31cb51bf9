"""Reads what workers say, keeps the gist in the jobs' rows, and passes it on."""

import logging
from dataclasses import dataclass

from jobs.events import Event, EventPage, end_of_log, read_events
from jobs.folder import JobFolder
from jobs.scheduling.listeners import Listeners
from jobs.store import JobRecord, Store
from jobs.summaries import Summary, SummaryTakenAnew, take_in

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Heard:
    """The summary with all that was heard of a worker, whether there was anything new, and whether that was all of it."""

    summary: Summary
    is_news: bool
    is_all: bool


class Hearing:
    def __init__(self, store: Store, listeners: Listeners) -> None:
        self._store = store
        self._listeners = listeners
        # Summaries that are taken anew, a part in each round: other jobs are not to wait for that.
        self._anew: dict[str, SummaryTakenAnew] = {}
        self._has_complained: set[str] = set()

    def forget(self, job_id: str) -> None:
        """Its worker has ended."""
        self._anew.pop(job_id, None)
        self._has_complained.discard(job_id)

    def hear(self, job: JobRecord, folder: JobFolder) -> Heard:
        """A page of what the worker has said since the last time. Not all at once: it may say so much that other jobs
        would wait for it."""
        page = read_events(folder.events, job.event_offset)
        if page.next < job.event_offset:
            log.warning("The events of job %s are fewer than were read: the machine lost power. Read again.", job.id)
            self._anew.pop(job.id, None)
            self._store.record_events(job.id, job.event_offset, 0, {})
            return Heard({}, is_news=False, is_all=False)
        if not page.events:
            return Heard(job.summary, is_news=False, is_all=True)
        if job.id in self._anew or any(event["type"] == "resumed" for event in page.events):
            return self._take_anew(job, folder, page)
        summary = dict(job.summary)
        self._complain_once(job.id, take_in(summary, page.events))
        self._store.record_events(job.id, page.since, page.next, summary)
        self._listeners.tell_events(job.id, page)
        self._listeners.tell_change(job.id, "progress")
        return Heard(summary, is_news=True, is_all=not page.more)

    def is_taken_anew(self, job_id: str) -> bool:
        """Whether more of what the job has said is read in each round, until all is known again that it said by now."""
        return job_id in self._anew

    def _take_anew(self, job: JobRecord, folder: JobFolder, page: EventPage) -> Heard:
        """Read a part more of the log, up to where it ended when this began; the page is the first that was not heard."""
        if job.id not in self._anew:
            self._anew[job.id] = SummaryTakenAnew(folder, end_of_log(folder.events))
        anew = self._anew[job.id]
        if anew.read_on():
            return Heard(job.summary, is_news=True, is_all=False)
        del self._anew[job.id]
        self._complain_once(job.id, anew.strange)
        self._store.record_events(job.id, page.since, anew.until, anew.summary)
        # Who follows it asks for the events behind this page.
        self._listeners.tell_events(job.id, page)
        self._listeners.tell_change(job.id, "progress")
        return Heard(anew.summary, is_news=True, is_all=False)

    def _complain_once(self, job_id: str, strange: Event | None) -> None:
        if strange is not None and job_id not in self._has_complained:
            self._has_complained.add(job_id)
            log.warning("Job %s said something strange, which counts for nothing: %.1000r", job_id, strange)
