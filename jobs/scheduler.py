"""Moves jobs from waiting to their end, and tells listeners what happens. The only place that changes a status."""

import logging
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from jobs.attributes import Attributes, keep_attributes
from jobs.children import ChildProcess, Launcher
from jobs.errors import (
    FREE_TO_BEGIN,
    LayerscopeError,
    NoSuchJob,
    Refused,
    full_disk_in_words,
)
from jobs.events import EventPage, all_events, read_events, that_count
from jobs.folder import JobFolder, lock_is_held, new_job_id, publish, remove_folder, write_json
from jobs.logs import cut_log
from jobs.processes import ending_in_words, out_of_memory_kills, start_worker
from jobs.registry import JobKind, job_kind, parse_spec
from jobs.resources import Resources
from jobs.signs_of_life import SignsOfLife
from jobs.specs import EVERYWHERE, JobSpec, ServerPaths
from jobs.statuses import RESUMABLE, Status, Wish
from jobs.store import JobRecord, Store
from jobs.summaries import begun_anew, summary_of, take_in
from jobs.training.plan import Extension, extend
from jobs.training.snapshot_files import newest_good_snapshot, newest_step
from jobs.worker_identity import WorkerIdentity, end_holders, find_worker

log = logging.getLogger(__name__)

POLL_SECONDS = 0.1
# Jobs that wait are looked through this often though nothing has changed: somebody may have removed a folder by hand.
SECONDS_BETWEEN_LOOKS_AT_QUEUE = 10.0
STOP_GRACE_SECONDS = 20.0

# A job whose worker crashes is taken up again, but not for ever where it does so each time.
MOST_CRASHES_AT_ONE_PLACE = 3

ENDED_BY_FORCE = "It did not stop when asked and was ended by force. What it had kept before is good."
ENDED_WHILE_AWAY = "It was asked to stop, and ended without keeping its state. What it had kept before is good."
NOT_STARTED = "Its worker could not start: {error}"
CANNOT_START = (LayerscopeError, OSError, ValueError, KeyError)
STOPPED_FROM_OUTSIDE = "Stopped from outside (SIGTERM), as when the machine is shut down."


@dataclass
class Child:
    """A worker that this server started or took up again. `process` is None for one that another server started;
    `worker` where that died before it could note which process it is, and the process is gone.
    """

    process: ChildProcess | None
    worker: WorkerIdentity | None
    out_of_memory_kills: int
    kill_at: float | None = None
    # Whether it is kept what protects the machine from it.
    is_noted: bool = False


@dataclass
class Listeners:
    """Who wants to know. Called in the thread in which it happens; a fault in one is logged and stops nothing."""

    events: list[Callable[[str, EventPage], None]] = field(default_factory=list)
    changes: list[Callable[[str, str], None]] = field(default_factory=list)
    deletions: list[Callable[[JobRecord], None]] = field(default_factory=list)

    def tell_events(self, job_id: str, page: EventPage) -> None:
        self._tell(self.events, job_id, page)

    def tell_change(self, job_id: str, what: str) -> None:
        """`what` is "status", "remark", "progress", "attribute" or "added"."""
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


class Scheduler:
    """Owns the queue. `poll` does one round; `start` does rounds in a thread until `close`.

    Requests and rounds take turns at a job, so that nobody meets a job between two of its states.
    """

    def __init__(self, jobs_dir: Path, store: Store, resources: Resources, launcher: Launcher | None = None,
                 paths: ServerPaths = EVERYWHERE) -> None:  # fmt: skip
        self._jobs_dir = jobs_dir
        self._store = store
        self._resources = resources
        self._launcher = launcher or Launcher()
        self._paths = paths
        self._children: dict[str, Child] = {}
        self._remarks: dict[str, str] = {}
        self._signs = SignsOfLife()
        self._wanted_devices: dict[str, str] = {}
        self._complaints: dict[str, str] = {}
        self._turn = threading.RLock()
        self._wake = threading.Event()
        # Jobs that wait are looked through when something has changed, and once at the start.
        self._queue_changed = threading.Event()
        self._queue_changed.set()
        self._look_again_at = 0.0
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self.listeners = Listeners(changes=[self._note_change])

    def _note_change(self, job_id: str, what: str) -> None:
        if what not in ("progress", "remark"):
            self._queue_changed.set()

    def folder(self, job_id: str) -> JobFolder:
        return JobFolder(self._jobs_dir / job_id)

    def remark(self, job_id: str) -> str | None:
        """What is to be said of a job beside its status, in a sentence: why it waits, or that its worker stalls."""
        return self._remarks.get(job_id)

    # What people ask for

    def submit(self, spec: JobSpec, owner: str | None = None, private: bool = False) -> str:
        """Write the job's folder, enter it in the queue, and return its id. After an error there is nothing of it.

        A job that reads a private one is private, too.
        """
        now = datetime.now().astimezone()
        kind = job_kind(spec.kind)
        parent_id = spec.parent_id(self._jobs_dir)
        private = private or (parent_id is not None and self.is_private(parent_id))
        with full_disk_in_words():
            job_id, sha256 = self._make_folder(spec, now, Attributes(owner=owner, private=private))
        try:
            self._store.add(job_id, kind.id, kind.family, spec.name, getattr(spec, "group_name", ""), now.timestamp(),
                            parent_id, getattr(spec, "framework", None), spec_sha256=sha256, owner=owner,
                            private=private)  # fmt: skip
        except BaseException:
            shutil.rmtree(self.folder(job_id).path, ignore_errors=True)
            raise
        self.listeners.tell_change(job_id, "added")
        self._wake.set()
        return job_id

    def is_private(self, job_id: str) -> bool:
        """Whether there is such a job and it is private."""
        try:
            return self._store.get(job_id).private
        except NoSuchJob:
            return False

    def _make_folder(self, spec: JobSpec, now: datetime, attributes: Attributes) -> tuple[str, str]:
        """The job's id, and the SHA-256 of its spec."""
        while (self._jobs_dir / (job_id := new_job_id(now))).exists():
            pass
        unfinished = JobFolder(self._jobs_dir / f".{job_id}.new")
        try:
            unfinished.path.mkdir()
            write_json(unfinished.spec, spec.model_dump(mode="json"))
            sha256 = unfinished.spec_sha256()
            if attributes != Attributes():
                keep_attributes(unfinished, attributes)
            publish(unfinished.path, self._jobs_dir / job_id)
        except BaseException:
            shutil.rmtree(unfinished.path, ignore_errors=True)
            raise
        return job_id, sha256

    def abort(self, job_id: str, to_delete: bool = False) -> None:
        """End a job. Where that is only to delete it then, it is refused if the deletion would be."""
        with self._turn:
            job = self._store.get(job_id)
            if to_delete:
                self._refuse_if_read(job)
            if not job.status.is_running and job.status is not Status.PAUSED:
                raise Refused("Job not aborted: it does not run.")
            self._stop(job, Wish.ABORT)

    def pause(self, job_id: str) -> None:
        """Let a training rest until it is resumed."""
        with self._turn:
            job = self._store.get(job_id)
            if not job_kind(job.kind).resumes:
                raise Refused(f'Cannot pause "{job.name}": only trainings can go on later. It was left alone.')
            if not job.status.is_running:
                raise Refused(f'Cannot pause "{job.name}": it is {job.status}. What runs or waits can be paused.')
            self._stop(job, Wish.PAUSE)

    def _stop(self, job: JobRecord, wish: Wish) -> None:
        """Stop a job at once if no worker is at it, else in the next round."""
        # The wish is kept first, so that a server that comes after this one knows of it.
        if self._store.wish(job.id, wish):
            self._wake.set()
            return
        is_new = wish is Wish.ABORT and job.event_offset == 0
        self._move(job, wish.status, "Aborted before it began." if is_new else None)

    def resume(self, job_id: str) -> None:
        """Queue a training that was paused, was aborted or failed once more. Its worker goes on from the newest good
        snapshot."""
        job = self._store.get(job_id)
        # Without taking a turn: snapshots are read to their end for it.
        self._refuse_to_resume(job)
        with self._turn:
            if not self._queue_again(job, job.summary):
                raise Refused(f'Cannot resume "{job.name}": it is being resumed or deleted already.')
        self._wake.set()

    def _refuse_to_resume(self, job: JobRecord) -> None:
        """Raise Refused, with what to do instead, where there is nothing to go on with."""
        if job.status not in RESUMABLE:
            raise Refused(
                f'Cannot resume "{job.name}": it is {job.status}. What was paused, was aborted or failed can be resumed.'
            )
        if not job_kind(job.kind).resumes:
            raise Refused(f'Cannot resume "{job.name}": only trainings can go on. Clone the job to begin anew.')
        newest = newest_good_snapshot(self.folder(job.id))
        # One that was paused before it had a snapshot begins anew, as it would have after a crash.
        if newest.snapshot is None and (job.status is not Status.PAUSED or newest.damaged):
            found = " ".join(newest.damaged.values()) or "It has left no snapshot to go on from."
            raise Refused(f'Cannot resume "{job.name}". {found} Clone the job to begin anew.')

    def train_longer(self, job_id: str, extension: Extension) -> None:
        """Queue a training that is done once more, with epochs after those that it had."""
        job = self._store.get(job_id)
        if not job_kind(job.kind).resumes:
            raise Refused(f'Cannot train "{job.name}" longer: it is no training.')
        self._refuse_unless_done(job)
        newest = newest_good_snapshot(self.folder(job.id)).snapshot
        if newest is None:
            raise Refused(
                f'Cannot train "{job.name}" longer: it has no good snapshot left. Clone the job to begin anew.'
            )
        with self._turn:
            self._refuse_unless_done(self._store.get(job_id))
            extend(self.folder(job_id), self.folder(job_id).read_spec()["train_epochs"], newest.epoch, extension)
            self._queue_again(job, job.summary)
        self._wake.set()

    @staticmethod
    def _refuse_unless_done(job: JobRecord) -> None:
        if job.status is not Status.DONE:
            instead = " Resume it instead." if job.status in RESUMABLE else ""
            raise Refused(f'Cannot train "{job.name}" longer: it is {job.status}, and not Done.{instead}')

    def delete(self, job_id: str) -> None:
        """Forget a job and remove its folder. Refused while it runs, and while other jobs read it."""
        with self._turn:
            job = self._store.get(job_id)
            self._refuse_if_read(job)
            if job.status.is_running:
                raise Refused(f'Cannot delete "{job.name}" while it runs. Abort it first.')
            # Out of sight in one step, and before the row: a folder without one would be entered again.
            doomed = self._jobs_dir / f".{job_id}.deleted"
            # Somebody may have removed the folder by hand.
            with suppress(FileNotFoundError):
                self.folder(job_id).path.rename(doomed)
            if not self._store.delete(job_id):
                with suppress(FileNotFoundError):
                    doomed.rename(self.folder(job_id).path)
                raise Refused(f'Cannot delete "{job.name}": another job was made of it in this moment.')
        # What cannot be removed now is removed when the next server starts.
        with suppress(OSError):
            remove_folder(doomed)
        self._queue_changed.set()
        self.listeners.tell_deletion(job)

    def _refuse_if_read(self, job: JobRecord) -> None:
        readers = self._store.children(job.id, None)
        if readers:
            names = ", ".join(reader.words_for(job) for reader in readers)
            verb = "job depends" if len(readers) == 1 else "jobs depend"
            raise Refused(
                f'Cannot delete "{job.name}" because {len(readers)} {verb} on it: {names}. Delete those first.'
            )

    # The rounds

    def start(self) -> None:
        self._sweep()
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)
        self._thread.start()

    def _sweep(self) -> None:
        """Remove what a server that died had not finished making or removing, and that is no job (any more)."""
        for leftover in self._jobs_dir.glob(".*.deleted"):
            self._store.delete(leftover.name.removeprefix(".").removesuffix(".deleted"))
            remove_folder(leftover)
        for leftover in self._jobs_dir.glob(".*.new"):
            remove_folder(leftover)

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
            with self._turn, self._complaining_once(job):
                self._attend(job)
        now = time.monotonic()
        if self._queue_changed.is_set() or now >= self._look_again_at:
            self._queue_changed.clear()
            self._look_again_at = now + SECONDS_BETWEEN_LOOKS_AT_QUEUE
            with self._turn:
                self._look_through_queue()

    def _look_through_queue(self) -> None:
        active = self._store.active()
        running = [job for job in active if job.status is Status.RUNNING]
        for job in active:
            if job.status is not Status.RUNNING:
                with self._complaining_once(job):
                    self._try_to_start(job, running)

    @contextmanager
    def _complaining_once(self, job: JobRecord) -> Iterator[None]:
        """One job that cannot be attended must not keep the others from it."""
        try:
            yield
        except Exception as error:
            # The next round tries again. The fault comes back until somebody mends it, as with a full disk: told once.
            self._queue_changed.set()
            if isinstance(error, LayerscopeError):
                self._say(job, f"The server cannot attend to it. {error}")
            if self._complaints.get(job.id) != str(error):
                self._complaints[job.id] = str(error)
                log.exception("Job %s could not be attended.", job.id)

    def _child(self, job: JobRecord) -> Child:
        """The worker of a running job. One that is unknown here was started by an earlier server."""
        if job.id not in self._children:
            lock = self.folder(job.id).lock
            worker = WorkerIdentity.parse(job.worker) if job.worker else find_worker(lock) if lock.exists() else None
            self._children[job.id] = Child(None, worker, out_of_memory_kills())
        return self._children[job.id]

    def _attend(self, job: JobRecord) -> None:
        child = self._child(job)
        # Ask before reading: no event can come after the last read of a worker that was dead before it.
        alive = self._is_alive(job.id, child)
        summary = self._hear(job)
        self._note_protections(job, child)
        cut_log(self.folder(job.id).log)
        if alive:
            if child.worker is not None:
                words = self._signs.words(job.id, child.worker, self.folder(job.id).path)
                self._say(job, summary.get("waits") or words)
            if job.wish is not None and child.kill_at is None:
                if child.worker is not None:
                    child.worker.signal_group(signal.SIGTERM)
                child.kill_at = time.monotonic() + STOP_GRACE_SECONDS
            if child.kill_at is None or time.monotonic() < child.kill_at:
                return
            if child.worker is not None:
                child.worker.signal_group(signal.SIGKILL)
            # What hid from the signal in a session of its own may hold the lock for ever; the job itself is over.
            if time.monotonic() < child.kill_at + STOP_GRACE_SECONDS:
                return
        # Read again: something may have been wished of it since.
        self._conclude(self._store.get(job.id), child, summary)

    def _note_protections(self, job: JobRecord, child: Child) -> None:
        """Keep what the worker said of itself before it read anything of the job: later it may say what it likes."""
        if child.process is None or child.is_noted or (protections := child.process.protections()) is None:
            return
        child.is_noted = True
        self._store.note_protections(job.id, protections)
        self.listeners.tell_change(job.id, "status")

    def _is_alive(self, job_id: str, child: Child) -> bool:
        """Whether anything of the job's worker is left. What a dead worker had started holds its lock, and is ended."""
        if child.process is not None:
            lives = child.process.poll() is None
        else:
            lives = child.worker is not None and child.worker.facts() is not None
        held = lock_is_held(self.folder(job_id).lock)
        # Whoever holds it unknown to us may be its worker.
        if held and not lives and child.worker is not None:
            end_holders(self.folder(job_id).lock)
        return held or lives

    def _hear(self, job: JobRecord) -> dict[str, Any]:
        """Read what the worker said since, keep the gist, and pass it on; the new summary."""
        summary, offset = dict(job.summary), job.event_offset
        while True:
            page = read_events(self.folder(job.id).events, offset)
            if page.next < offset:
                log.warning(
                    "The events of job %s are fewer than were read: the machine lost power. Read again.", job.id
                )
                summary = self._summary_up_to(job.id, page.next)
                self._store.record_events(job.id, offset, page.next, summary)
                offset = page.next
                continue
            if not page.events:
                return summary
            if any(event["type"] == "resumed" for event in page.events):
                summary = self._summary_up_to(job.id, page.next)
            else:
                for event in page.events:
                    take_in(summary, event, job.id)
            self._signs.heard(job.id)
            self._store.record_events(job.id, page.since, page.next, summary)
            self.listeners.tell_events(job.id, page)
            self.listeners.tell_change(job.id, "progress")
            offset = page.next

    def _summary_up_to(self, job_id: str, end: int) -> dict[str, Any]:
        """The summary of all events before this byte that count: what a fold has taken in it cannot give back."""
        return summary_of(that_count(all_events(self.folder(job_id).events, until=end)), job_id)

    def _conclude(self, job: JobRecord, child: Child, summary: dict[str, Any]) -> None:
        status, cause = _ending(job, child, summary)
        if _was_interrupted(job, child, summary):
            crashes, step = self._crashes(job)
            if crashes <= MOST_CRASHES_AT_ONE_PLACE:
                self._queue_again(job, summary, cause, crashes, step, self._end_of(job.id, child))
                self._forget_worker(job.id)
                return
            cause = f"{cause} {_in_vain(job_kind(job.kind), step)}"
        moment = self._end_of(job.id, child)
        if self._store.move(job.id, Status.RUNNING, status, moment, cause=cause, line=summary.get("line")):
            self.listeners.tell_change(job.id, "status")
        self._forget_worker(job.id)

    def _forget_worker(self, job_id: str) -> None:
        del self._children[job_id]
        self._signs.forget(job_id)
        self._remarks.pop(job_id, None)

    def _end_of(self, job_id: str, child: Child) -> float:
        """When a worker ended. One that an earlier server had started may be long gone: then, when it last said something."""
        events = self.folder(job_id).events
        if child.process is not None or not events.exists():
            return time.time()
        return min(time.time(), events.stat().st_mtime)

    def _crashes(self, job: JobRecord) -> tuple[int, int]:
        """How often the worker has crashed now without a new snapshot in between, and the step of the newest one."""
        step = newest_step(self.folder(job.id))
        return (job.crashes if job.crashed_after_step == step else 0) + 1, step

    def _queue_again(self, job: JobRecord, summary: dict[str, Any], cause: str | None = None, crashes: int = 0,
                     crashed_after_step: int = 0, moment: float | None = None) -> bool:  # fmt: skip
        moved = self._store.queue_again(
            job.id,
            job.status,
            time.time() if moment is None else moment,
            begun_anew(summary),
            cause=cause,
            crashes=crashes,
            crashed_after_step=crashed_after_step,
        )
        if moved:
            self.listeners.tell_change(job.id, "status")
        return moved

    def _try_to_start(self, job: JobRecord, running: list[JobRecord]) -> None:
        """Start the job if nothing is in its way; if so, it joins those that are `running`."""
        if job.status is Status.INITIALIZED and self._move(job, Status.WAITING):
            job = self._store.get(job.id)
        if not self.folder(job.id).spec.exists():
            self._move(job, Status.ERROR, "Its folder is gone from the data directory. Make the job again.")
            return
        if not self._parent_is_ready(job):
            return
        if shutil.disk_usage(self._jobs_dir).free < FREE_TO_BEGIN:
            self._say(job, "Waits for room on the disk, which is full.")
            return
        try:
            wanted_device = self._wanted_device(job)
        except CANNOT_START as error:
            self._move(job, Status.ERROR, NOT_STARTED.format(error=error))
            return
        device = self._resources.device_for(job, wanted_device, running)
        if device is None:
            names = ", ".join(other.words_for(job) for other in running if other.family == job.family)
            self._say(job, f"Waits for a free place: {names} is at work." if running else "Waits for a free place.")
            return
        if not self._store.move(job.id, Status.WAITING, Status.RUNNING, time.time(), device=device):
            return
        self._forget_remark(job.id)
        running.append(self._store.get(job.id))
        try:
            spec = self._spec_as_entered(job)
            process = start_worker(self.folder(job.id), spec, device, self._launcher, job.cause, self._paths)
        except CANNOT_START as error:
            self._store.move(job.id, Status.RUNNING, Status.ERROR, time.time(), cause=NOT_STARTED.format(error=error))
        else:
            self._children[job.id] = Child(process, WorkerIdentity.of(process.pid), out_of_memory_kills())
        self.listeners.tell_change(job.id, "status")
        if job.id in self._children:
            self._store.note_worker(job.id, str(self._children[job.id].worker))

    def _spec_as_entered(self, job: JobRecord) -> JobSpec:
        return parse_spec(self.folder(job.id).read_spec(job.spec_sha256))

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
            self._move(
                job, Status.ERROR, "Its dataset was deleted meanwhile. Clone the job and choose another dataset."
            )
            return False
        if parent.status in (Status.ABORTED, Status.ERROR):
            self._move(job, Status.ABORTED, f'Its dataset "{parent.name}" did not succeed ({parent.status}).')
        elif parent.status is not Status.DONE:
            self._say(job, f'Waits for its dataset "{parent.name}".')
        return parent.status is Status.DONE

    def _say(self, job: JobRecord, remark: str | None) -> None:
        if self._remarks.get(job.id) == remark:
            return
        if remark is None:
            del self._remarks[job.id]
        else:
            self._remarks[job.id] = remark
        self.listeners.tell_change(job.id, "remark")

    def _forget_remark(self, job_id: str) -> None:
        self._remarks.pop(job_id, None)
        self._wanted_devices.pop(job_id, None)

    def _move(self, job: JobRecord, after: Status, cause: str | None = None) -> bool:
        if after is not Status.WAITING:
            self._forget_remark(job.id)
        moved = self._store.move(job.id, job.status, after, time.time(), cause=cause)
        if moved:
            self.listeners.tell_change(job.id, "status")
        return moved


def _ending(job: JobRecord, child: Child, summary: dict[str, Any]) -> tuple[Status, str | None]:
    """What became of the job of a worker that has ended, and why."""
    outcome = summary.get("outcome")
    returncode = child.process.returncode if child.process else None
    if outcome == "finished":
        return Status.DONE, None
    if outcome == "failed":
        return Status.ERROR, summary["cause"]
    if job.wish is not None:
        # By the signal itself: it was asked before it could listen, and had done nothing yet.
        is_good = outcome == "stopped" or returncode == -signal.SIGTERM
        fault = ENDED_WHILE_AWAY if child.kill_at is None else ENDED_BY_FORCE
        return job.wish.status, None if is_good else fault
    if outcome == "stopped":
        return Status.ABORTED, summary.get("cause") or STOPPED_FROM_OUTSIDE
    killed_for_memory = out_of_memory_kills() > child.out_of_memory_kills
    words = child.process.words_before_order() if child.process else None
    return Status.ERROR, ending_in_words(returncode, killed_for_memory, words)


def _was_interrupted(job: JobRecord, child: Child, summary: dict[str, Any]) -> bool:
    """Whether a worker ended that nobody had asked to: by a signal, or with the machine.

    What ended by itself would only do so again.
    """
    if job.wish is not None:
        return False
    if outcome := summary.get("outcome"):
        return outcome == "stopped" and summary.get("cause") is None
    return child.process is None or child.process.returncode < 0


def _in_vain(kind: JobKind, step: int) -> str:
    if not kind.resumes:
        return f"It was begun anew {MOST_CRASHES_AT_ONE_PLACE} times, and ended so each time. See to the cause, and clone it."
    place = f"after the snapshot of step {step:,}" if step else "before its first snapshot"
    return (
        f"It was taken up again {MOST_CRASHES_AT_ONE_PLACE} times, and ended so each time at the same place, {place}. "
        "See to the cause, then resume it or clone the job."
    )
