"""When a job has run for as long as its form allows, all its workers together."""

import time

from jobs.store import JobRecord, Store


class TimeLimits:
    """Judged from outside of the worker: so a crash gives it no more time, nor a disk that is full or a step without end.

    What counts is the time in which a worker was at the job since its last end.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        # By the clock that nobody sets.
        self._moments: dict[str, float] = {}

    def is_over(self, job: JobRecord) -> bool:
        """Whether the time of a running job is over."""
        if job.time_limit is None:
            return False
        now = time.monotonic()
        if job.id not in self._moments:
            self._moments[job.id] = now + 3600 * job.time_limit - self._store.elapsed_since_end(job.id)
        return now >= self._moments[job.id]

    def forget(self, job_id: str) -> None:
        """Its worker has ended."""
        self._moments.pop(job_id, None)
