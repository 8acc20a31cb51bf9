"""Jobs that wait: which of them can begin, and what the others wait for."""

import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from jobs.errors import FREE_TO_BEGIN, LayerscopeError, NoSuchJob, disk_fault, is_machine_fault
from jobs.registry import parse_spec
from jobs.resources import Resources
from jobs.scheduling.moves import Moves
from jobs.scheduling.register import Register
from jobs.scheduling.remarks import Remarks
from jobs.scheduling.workers import Workers
from jobs.specs import JobSpec
from jobs.statuses import Status
from jobs.store import JobRecord, Store

CANNOT_START = (LayerscopeError, OSError, ValueError, KeyError)
NOT_STARTED = "Its worker could not start: {error}"
SECONDS_BEFORE_NEXT_TRY = 10.0
NOT_STARTED_YET = "Waits until its worker can be started: {reason}. It is tried every 10 seconds."


class WaitingJobs:
    def __init__(self, store: Store, register: Register, resources: Resources, moves: Moves, remarks: Remarks,
                 workers: Workers) -> None:  # fmt: skip
        self._store = store
        self._register = register
        self._resources = resources
        self._moves = moves
        self._remarks = remarks
        self._workers = workers
        self._wanted_devices: dict[str, str] = {}
        # By the clock that nobody sets: when any job is tried again, and those of which the disk did not give or take a file.
        self._try_at = 0.0
        self._try_job_at: dict[str, float] = {}

    def look_through(self, attending: Callable[[JobRecord], AbstractContextManager[None]]) -> None:
        """Start each that can begin, oldest first, within what `attending` makes of its faults."""
        active = self._store.active()
        running = [job for job in active if job.status is Status.RUNNING]
        waiting = [job for job in active if job.status is not Status.RUNNING]
        ids = {job.id for job in waiting}
        self._wanted_devices = {job_id: wanted for job_id, wanted in self._wanted_devices.items() if job_id in ids}
        self._try_job_at = {job_id: moment for job_id, moment in self._try_job_at.items() if job_id in ids}
        for job in waiting:
            if time.monotonic() < max(self._try_at, self._try_job_at.get(job.id, 0.0)):
                continue
            with attending(job):
                self._try_to_start(job, running)

    def _try_to_start(self, job: JobRecord, running: list[JobRecord]) -> None:
        """Start the job if nothing is in its way; if so, it joins those that are `running`."""
        if job.status is Status.INITIALIZED and self._moves.move(job, Status.WAITING):
            job = self._store.get(job.id)
        folder = self._register.folder(job.id)
        if not folder.spec.exists():
            self._moves.move(job, Status.ERROR, cause="Its folder is gone from the data directory. Make the job again.")
            return
        if not self._parent_is_ready(job):
            return
        if shutil.disk_usage(folder.path).free < FREE_TO_BEGIN:
            self._remarks.say(job.id, "Waits for room on the disk, which is full.")
            return
        try:
            device = self._resources.device_for(job, self._wanted_device(job), running)
        except CANNOT_START as error:
            self._conclude(job, error)
            return
        if device is None:
            names = ", ".join(other.words_for(job) for other in running if other.family == job.family)
            waits_for = f"Waits for a free place: {names} is at work." if running else "Waits for a free place."
            self._remarks.say(job.id, waits_for)
        elif self._moves.move(job, Status.RUNNING, device=device):
            running.append(self._store.get(job.id))
            try:
                self._workers.start(job, self._spec_as_entered(job), device)
            except CANNOT_START as error:
                self._conclude(running[-1], error, job.cause)

    def _conclude(self, job: JobRecord, error: BaseException, cause_before: str | None = None) -> None:
        """End a job that cannot be started; let it wait where the disk is to blame, and all jobs where the machine is."""
        fault, try_at = disk_fault(error), time.monotonic() + SECONDS_BEFORE_NEXT_TRY
        if is_machine_fault(error):
            self._try_at = try_at
        elif fault is not None:
            self._try_job_at[job.id] = try_at
        else:
            self._moves.move(job, Status.ERROR, cause=NOT_STARTED.format(error=error))
            return
        if job.status is Status.RUNNING:
            self._moves.take_back_start(job, cause_before)
        reason = fault.sentence.rstrip(".") if fault else getattr(error, "strerror", None) or error
        self._remarks.say(job.id, NOT_STARTED_YET.format(reason=reason))

    def _spec_as_entered(self, job: JobRecord) -> JobSpec:
        return parse_spec(self._register.folder(job.id).read_spec(job.spec_sha256))

    def _wanted_device(self, job: JobRecord) -> str:
        """What the person chose in the form. Kept while the job waits, because it never changes."""
        if job.id not in self._wanted_devices:
            self._wanted_devices[job.id] = str(getattr(self._spec_as_entered(job), "select_gpu", "next"))
        return self._wanted_devices[job.id]

    def _parent_is_ready(self, job: JobRecord) -> bool:
        """Whether the dataset that the job reads is there. One that never will be ends the job."""
        if job.parent_id is None:
            return True
        try:
            parent = self._store.get(job.parent_id)
        except NoSuchJob:
            gone = "Its dataset was deleted meanwhile. Clone the job and choose another dataset."
            self._moves.move(job, Status.ERROR, cause=gone)
            return False
        if parent.status in (Status.ABORTED, Status.ERROR):
            cause = f'Its dataset "{parent.name}" did not succeed ({parent.status}).'
            self._moves.move(job, Status.ABORTED, cause=cause)
        elif parent.status is not Status.DONE:
            self._remarks.say(job.id, f'Waits for its dataset "{parent.name}".')
        return parent.status is Status.DONE
