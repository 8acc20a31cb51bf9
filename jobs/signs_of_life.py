"""Whether a running job gives signs of life, and in words what is known of one that does not."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jobs.errors import FREE_OF_FULL_DISK
from jobs.worker_identity import WorkerIdentity, ticks_of_session

# A page is to say within ten seconds what is wrong.
SECONDS_OF_SILENCE = 8.0
SECONDS_BEFORE_LOOK_AT_DISK = 2.0
SECONDS_BETWEEN_LOOKS = 1.0
# Who takes less than this of one core's time does not compute.
SHARE_OF_A_CORE_AT_WORK = 0.02

STATES = {
    "T": "Stalled: its worker was stopped from outside (SIGSTOP). It goes on when somebody sends SIGCONT to process {pid}.",
    "t": "Stalled: a debugger holds its worker, process {pid}.",
    "D": "Stalled: no sign of its worker for {silence}. It waits for a disk or a network drive that does not answer.",
}
IDLE = "Stalled: no sign of its worker for {silence}, and it takes no processor time."
COMPUTING = "No sign of its worker for {silence}, but it computes: one long step, or a loop without end."
DISK_FULL = "Waits for room on the disk, which is full. It goes on by itself when there is some."
FOLDER_IS_GONE = "Its folder is gone from the data directory. Abort it, and make the job again."
NOT_WRITABLE = "Waits for the disk, which cannot be written: {reason}. It goes on by itself when it can."


@dataclass
class Signs:
    """What was seen of one worker, and when."""

    heard: float
    looked: float
    ticks: int | None = None
    is_computing: bool = True
    words: str | None = None


class SignsOfLife:
    """Signs of all running jobs. Every event is one. Who says nothing is looked at: is it stopped, does it compute?

    A long step, a large folder and a first compilation say nothing either, and compute: they are not called stalled.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._signs: dict[str, Signs] = {}

    def heard(self, job_id: str) -> None:
        """The job has said something."""
        self._signs[job_id] = Signs(self._now(), self._now())

    def forget(self, job_id: str) -> None:
        self._signs.pop(job_id, None)

    def words(self, job_id: str, worker: WorkerIdentity, folder: Path) -> str | None:
        """What is to be said of a job beside that it runs; None as long as it gives signs of life."""
        now = self._now()
        signs = self._signs.setdefault(job_id, Signs(now, now))
        if now - signs.looked >= SECONDS_BETWEEN_LOOKS:
            signs.words = self._look(signs, now, worker, folder)
        return signs.words

    def _look(self, signs: Signs, now: float, worker: WorkerIdentity, folder: Path) -> str | None:
        seconds, signs.looked = now - signs.looked, now
        facts = worker.facts()
        # One that has ended is another's business.
        state = facts.state if facts else ""
        if state in "Tt" and facts:
            return STATES[state].format(pid=worker.pid)
        silence = now - signs.heard
        if silence >= SECONDS_BEFORE_LOOK_AT_DISK and (words := _words_of_disk(folder)):
            return words
        if silence < SECONDS_OF_SILENCE or not facts:
            return None
        ticks = ticks_of_session(worker.pid)
        share = None if signs.ticks is None else (ticks - signs.ticks) / os.sysconf("SC_CLK_TCK") / seconds
        signs.ticks = ticks
        if share is not None:
            signs.is_computing = share >= SHARE_OF_A_CORE_AT_WORK
        words = COMPUTING if signs.is_computing else STATES.get(state, IDLE)
        return words.format(silence=_in_words(silence))


def _words_of_disk(folder: Path) -> str | None:
    """Why nothing can be written into the folder; None where something can."""
    try:
        if shutil.disk_usage(folder).free < FREE_OF_FULL_DISK:
            return DISK_FULL
        # Not every disk that takes nothing says of itself that it is read-only.
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            file.write(b"?")
    except FileNotFoundError:
        return FOLDER_IS_GONE
    except OSError as error:
        return NOT_WRITABLE.format(reason=error.strerror)
    return None


def _in_words(seconds: float) -> str:
    """So coarse that a page is not told of every second."""
    if seconds < 60:
        return f"{max(10, 10 * round(seconds / 10))} s"
    return f"{round(seconds / 60)} min"
