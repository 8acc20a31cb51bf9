"""Moves jobs from waiting to their end, in rounds, and takes what people ask of them."""

import logging
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.children import Launcher
from jobs.errors import LayerscopeError, disk_fault
from jobs.folder import JobFolder
from jobs.resources import Resources
from jobs.scheduling.endings import Endings
from jobs.scheduling.listeners import Listeners
from jobs.scheduling.moves import Moves
from jobs.scheduling.register import Register
from jobs.scheduling.remarks import Remarks
from jobs.scheduling.time_limits import TimeLimits
from jobs.scheduling.waiting import WaitingJobs
from jobs.scheduling.wishes import Wishes
from jobs.scheduling.workers import Workers
from jobs.specs import EVERYWHERE, JobSpec, ServerPaths
from jobs.store import JobRecord, Store
from jobs.training.plan import Extension
from jobs.training.snapshot_files import SnapshotFile

log = logging.getLogger(__name__)

POLL_SECONDS = 0.1
# Jobs that wait are looked through this often though nothing has changed: somebody may have removed a folder by hand.
SECONDS_BETWEEN_LOOKS_AT_QUEUE = 10.0


class Scheduler:
    """Owns the queue. `poll` does one round; `start` does rounds in a thread until `close`.

    Requests and rounds take turns at a job, so that nobody meets a job between two of its states. Who changes for whom a job
    is takes the `turn`, too: what reads the job must not be entered in that moment.
    """

    def __init__(self, jobs_dir: Path, store: Store, resources: Resources, launcher: Launcher | None = None,
                 paths: ServerPaths = EVERYWHERE) -> None:  # fmt: skip
        self._store = store
        self.turn = threading.RLock()
        self._wake = threading.Event()
        # Jobs that wait are looked through when something has changed, and once at the start.
        self._queue_changed = threading.Event()
        self._queue_changed.set()
        self._look_again_at = 0.0
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._complaints: dict[str, str] = {}
        self.listeners = Listeners(changes=[self._note_change], deletions=[lambda job: self._queue_changed.set()])
        self._register = Register(jobs_dir, store)
        self._remarks = Remarks(self.listeners)
        moves = Moves(store, self._remarks, self.listeners)
        self._wishes = Wishes(store, self._register, moves, self.listeners, self.turn)
        self.workers = Workers(store, self._register, self._remarks, self.listeners, launcher or Launcher(), paths)
        self._waiting = WaitingJobs(store, self._register, resources, moves, self._remarks, self.workers)
        self._endings = Endings(self._register, moves)
        self._time_limits = TimeLimits(store)

    def _note_change(self, job_id: str, what: str) -> None:
        if what not in ("progress", "remark"):
            self._queue_changed.set()

    def folder(self, job_id: str) -> JobFolder:
        return self._register.folder(job_id)

    def remark(self, job_id: str) -> str | None:
        """What is to be said of a job beside its status, in a sentence: why it waits, or that its worker stalls."""
        return self._remarks.of(job_id)

    # What people ask for: done at once, or in a round that begins at once.

    def submit(self, spec: JobSpec, owner: str | None = None, private: bool = False) -> str:
        """Enter a job in the queue, and return its id. After an error there is nothing of it.

        A job that reads a private one is private, too.
        """
        with self.turn:
            job_id = self._register.enter(spec, owner, private)
        self.listeners.tell_change(job_id, "added")
        self._wake.set()
        return job_id

    def abort(self, job_id: str, to_delete: bool = False) -> None:
        """End a job. Where that is only to delete it then, it is refused if the deletion would be."""
        self._wishes.abort(job_id, to_delete)
        self._wake.set()

    def pause(self, job_id: str) -> None:
        """Let a training rest until it is resumed."""
        self._wishes.pause(job_id)
        self._wake.set()

    def resume(self, job_id: str) -> SnapshotFile | None:
        """Queue a training that was paused, was aborted or failed once more; from which snapshot it goes on, if any."""
        newest = self._wishes.resume(job_id)
        self._wake.set()
        return newest

    def train_longer(self, job_id: str, extension: Extension) -> SnapshotFile:
        """Queue a training that is done once more, with epochs after those that it had; from which snapshot it goes on."""
        newest = self._wishes.train_longer(job_id, extension)
        self._wake.set()
        return newest

    def delete(self, job_id: str) -> None:
        """Forget a job and remove its folder. Refused while it runs, and while other jobs read it."""
        self._wishes.delete(job_id)

    def refuse_if_read(self, job: JobRecord, deleted: Collection[str] = ()) -> None:
        """Raise Refused where a deletion would be, because jobs read this one that are not among those to be deleted first."""
        self._wishes.refuse_if_read(job, deleted)

    # The rounds

    def start(self) -> None:
        self._register.sweep()
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the rounds. Workers go on; the next server takes them up again."""
        self._closing.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self.poll()
            except Exception:
                self._queue_changed.set()
                log.exception("A round of the scheduler failed.")
            self._wake.wait(POLL_SECONDS)
            self._wake.clear()

    def poll(self) -> None:
        """One round: hear the running jobs, end those that ended and, when anything has changed, start those that can."""
        for job in self._store.running():
            with self.turn, self._complaining_once(job):
                self._attend(job)
        now = time.monotonic()
        if self._queue_changed.is_set() or now >= self._look_again_at:
            self._queue_changed.clear()
            self._look_again_at = now + SECONDS_BETWEEN_LOOKS_AT_QUEUE
            with self.turn:
                self._waiting.look_through(self._complaining_once)

    def _attend(self, job: JobRecord) -> None:
        ending = self.workers.attend(job)
        if ending is not None:
            # Read again: it has said more since, and something may have been wished of it.
            self._endings.conclude(self._store.get(job.id), ending)
            self.workers.forget(job.id)
            self._time_limits.forget(job.id)
        elif job.wish is None and self._time_limits.is_over(job) and self.workers.is_at(job):
            # Of one whose worker is dead the time since does not count: the machine may have been off.
            self._wishes.stop_at_time_limit(job.id)

    @contextmanager
    def _complaining_once(self, job: JobRecord) -> Iterator[None]:
        """One job that cannot be attended must not keep the others from it."""
        try:
            yield
        except Exception as error:
            # The next round tries again. The fault comes back until somebody mends it, as with a full disk: told once.
            self._queue_changed.set()
            fault = disk_fault(error)
            if fault or isinstance(error, LayerscopeError):
                self._remarks.say(job.id, f"The server cannot attend to it. {fault.sentence if fault else error}")
            if self._complaints.get(job.id) != str(error):
                self._complaints[job.id] = str(error)
                log.exception("Job %s could not be attended.", job.id)
