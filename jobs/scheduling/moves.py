"""Changes the status of jobs, alone, and tells of it."""

import time

from jobs.scheduling.listeners import Listeners
from jobs.scheduling.remarks import Remarks
from jobs.statuses import Status
from jobs.store import JobRecord, Store
from jobs.summaries import begun_anew


class Moves:
    """Each changes nothing, and returns False, where the job's status is not what its record says any more.

    What was remarked of a job was remarked of it in its status before.
    """

    def __init__(self, store: Store, remarks: Remarks, listeners: Listeners) -> None:
        self._store = store
        self._remarks = remarks
        self._listeners = listeners

    def move(self, job: JobRecord, after: Status, *, cause: str | None = None, line: int | None = None,
             device: str | None = None, moment: float | None = None) -> bool:  # fmt: skip
        moment = time.time() if moment is None else moment
        moved = self._store.move(job.id, job.status, after, moment, cause=cause, line=line, device=device)
        return self._told(job, moved)

    def queue_again(self, job: JobRecord, *, moment: float | None = None, cause: str | None = None, crashes: int = 0,
                    crashed_after_step: int = 0) -> bool:  # fmt: skip
        """Let a job that was begun wait once more, without what it said of its end."""
        moment = time.time() if moment is None else moment
        summary = begun_anew(job.summary)
        moved = self._store.queue_again(job.id, job.status, moment, summary, cause=cause, crashes=crashes,
                                        crashed_after_step=crashed_after_step)  # fmt: skip
        return self._told(job, moved)

    def take_back_start(self, job: JobRecord, cause: str | None) -> bool:
        """Let a job wait whose worker could not be started, as if it had not been tried."""
        return self._told(job, self._store.take_back_start(job.id, cause))

    def _told(self, job: JobRecord, moved: bool) -> bool:
        if moved:
            self._remarks.forget(job.id)
            self._listeners.tell_change(job.id, "status")
        return moved
