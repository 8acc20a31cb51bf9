"""Who is told what happens to jobs."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from jobs.events import EventPage
from jobs.store import JobRecord

log = logging.getLogger(__name__)


@dataclass
class Listeners:
    """Who wants to know. Called in the thread in which it happens; a fault in one is logged and stops nothing."""

    events: list[Callable[[str, EventPage], None]] = field(default_factory=list)
    changes: list[Callable[[str, str], None]] = field(default_factory=list)
    deletions: list[Callable[[JobRecord], None]] = field(default_factory=list)

    def tell_events(self, job_id: str, page: EventPage) -> None:
        self._tell(self.events, job_id, page)

    def tell_change(self, job_id: str, what: str) -> None:
        """`what` is "status", "remark", "progress", "attribute", "private" (it is now, and was not) or "added"."""
        self._tell(self.changes, job_id, what)

    def tell_deletion(self, job: JobRecord) -> None:
        """The job as it was: nobody can look it up any more."""
        self._tell(self.deletions, job)

    def _tell(self, listeners: list[Callable[..., None]], *arguments: Any) -> None:
        for listener in listeners:
            try:
                listener(*arguments)
            except Exception:
                log.exception("A listener failed.")
