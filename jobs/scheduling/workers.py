"""The workers of running jobs: starts them, takes up those of an earlier server, watches them, and stops them."""

import logging
import signal
import time
from dataclasses import dataclass

from jobs.children import ChildProcess, Launcher
from jobs.errors import EnvironmentFault
from jobs.folder import JobFolder, lock_is_held
from jobs.logs import cut_log
from jobs.processes import killed_for_memory, out_of_memory_kills, start_worker
from jobs.scheduling.endings import Ending
from jobs.scheduling.hearing import Hearing
from jobs.scheduling.listeners import Listeners
from jobs.scheduling.register import Register
from jobs.scheduling.remarks import Remarks
from jobs.signs_of_life import SignsOfLife
from jobs.specs import JobSpec, ServerPaths
from jobs.store import JobRecord, Store
from jobs.worker_identity import WorkerIdentity, end_holders, find_worker

log = logging.getLogger(__name__)

STOP_GRACE_SECONDS = 20.0
SECONDS_TO_HEAR_THE_LAST = 10.0


@dataclass
class Worker:
    """A worker that this server started or took up again. `process` is None for one that another server started;
    `identity` where that died before it could note which process it is, and the process is gone.
    """

    process: ChildProcess | None
    identity: WorkerIdentity | None
    out_of_memory_kills: int
    kill_at: float | None = None
    died_at: float | None = None
    # Whether it is kept what protects the machine from it.
    is_noted: bool = False

    def lives(self) -> bool:
        if self.process is not None:
            return self.process.poll() is None
        return self.identity is not None and self.identity.facts() is not None

    def signal(self, number: signal.Signals) -> None:
        if self.identity is not None:
            self.identity.signal_group(number)

    def ending(self, folder: JobFolder, launcher: Launcher) -> Ending:
        returncode, words, moment = None, None, time.time()
        if self.process is not None:
            returncode, words = self.process.returncode, self.process.words_before_order()
        elif folder.events.exists():
            # It may be long gone: then when it last said something.
            moment = min(moment, folder.events.stat().st_mtime)
        killer = killed_for_memory(launcher, self.identity, self.out_of_memory_kills)
        return Ending(moment, returncode, killer, words, was_asked=self.kill_at is not None)


class Workers:
    def __init__(self, store: Store, register: Register, remarks: Remarks, listeners: Listeners, launcher: Launcher,
                 paths: ServerPaths) -> None:  # fmt: skip
        self._store = store
        self._register = register
        self._remarks = remarks
        self._listeners = listeners
        self._launcher = launcher
        self._paths = paths
        self._hearing = Hearing(store, listeners)
        self._signs = SignsOfLife()
        self.known: dict[str, Worker] = {}

    def start(self, job: JobRecord, spec: JobSpec, device: str) -> None:
        """Start the worker of a job, which `job` is as it waited: with the cause of its last crash."""
        self._store.note_time_limit(job.id, getattr(spec, "time_limit", None))
        kills_before = out_of_memory_kills()
        process = start_worker(self._register.folder(job.id), spec, device, self._launcher, job.cause, self._paths)
        # From here on it is at work, whatever goes wrong.
        identity = WorkerIdentity.of_child(process.pid)
        self.known[job.id] = Worker(process, identity, kills_before)
        if identity is not None:
            try:
                self._store.note_worker(job.id, str(identity))
            except EnvironmentFault as error:
                # It is at work, and known here. A server that comes after this one finds it by its lock.
                log.warning("Which process is at job %s could not be noted. %s", job.id, error)

    def _of(self, job: JobRecord) -> Worker:
        """The worker of a running job. One that is unknown here was started by an earlier server."""
        if job.id not in self.known:
            identity = WorkerIdentity.parse(job.worker) if job.worker else None
            self.known[job.id] = Worker(None, identity, out_of_memory_kills())
            self._launcher.watch_memory(identity)
        worker, lock = self.known[job.id], self._register.folder(job.id).lock
        if worker.identity is None and lock_is_held(lock):
            # It may not have had the lock for long enough to be found by it the time before.
            worker.identity = find_worker(lock)
            self._launcher.watch_memory(worker.identity)
        return worker

    def forget(self, job_id: str) -> None:
        del self.known[job_id]
        self._signs.forget(job_id)
        self._hearing.forget(job_id)

    def attend(self, job: JobRecord) -> Ending | None:
        """Hear the worker of a running job, and stop it where that is wished; how it ended, when it has."""
        worker, folder = self._of(job), self._register.folder(job.id)
        # Ask before reading: no event can come after the last read of a worker that was dead before it.
        lives = self._lives(worker, folder)
        heard = self._hearing.hear(job, folder)
        if heard.is_news:
            self._signs.heard(job.id)
        self._note_protections(job.id, worker)
        cut_log(folder.log)
        if lives:
            if worker.identity is not None:
                words = self._signs.words(job.id, worker.identity, folder.path)
                self._remarks.say(job.id, heard.summary.get("waits") or words)
            if not self._is_given_up(job, worker):
                return None
        elif not heard.is_all and not self._has_said_too_much(job, worker):
            # How it ended is the last that it said.
            return None
        return worker.ending(folder, self._launcher)

    def is_at(self, job: JobRecord) -> bool:
        """Whether a worker is at the running job."""
        return self._lives(self._of(job), self._register.folder(job.id))

    @staticmethod
    def _lives(worker: Worker, folder: JobFolder) -> bool:
        """Whether anything of the job's worker is left. What a dead worker had started holds its lock, and is ended."""
        lives = worker.lives()
        held = lock_is_held(folder.lock)
        # Whoever holds it unknown to us may be its worker.
        if held and not lives and worker.identity is not None:
            end_holders(folder.lock)
        return held or lives

    def _note_protections(self, job_id: str, worker: Worker) -> None:
        """Keep what the worker said of itself before it read anything of the job: later it may say what it likes."""
        if worker.process is None or worker.is_noted or (protections := worker.process.protections()) is None:
            return
        worker.is_noted = True
        self._store.note_protections(job_id, protections)
        self._listeners.tell_change(job_id, "status")

    def _has_said_too_much(self, job: JobRecord, worker: Worker) -> bool:
        """Whether a worker that is dead left so much unheard that who wants its job to end need not wait for it."""
        if worker.died_at is None or self._hearing.is_taken_anew(job.id):
            # What was said before is read once more meanwhile; the last comes after it.
            worker.died_at = time.monotonic()
        return job.wish is not None and time.monotonic() >= worker.died_at + SECONDS_TO_HEAR_THE_LAST

    @staticmethod
    def _is_given_up(job: JobRecord, worker: Worker) -> bool:
        """Stop the worker where that is wished: ask, and end it by force after a while. Whether that was so long ago that
        the job is over, whatever lives on."""
        if job.wish is not None and worker.kill_at is None:
            worker.signal(signal.SIGTERM)
            worker.kill_at = time.monotonic() + STOP_GRACE_SECONDS
        if worker.kill_at is None or time.monotonic() < worker.kill_at:
            return False
        worker.signal(signal.SIGKILL)
        # What hid from the signal in a session of its own may hold the lock for ever; the job itself is over.
        return time.monotonic() >= worker.kill_at + STOP_GRACE_SECONDS
