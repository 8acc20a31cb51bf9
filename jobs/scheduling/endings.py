"""What becomes of a job whose worker has ended, and why."""

import signal
from dataclasses import dataclass

from jobs.events import STATUS_CANNOT_WRITE
from jobs.kept_wishes import in_words
from jobs.processes import ending_in_words
from jobs.registry import JobKind, job_kind
from jobs.scheduling.moves import Moves
from jobs.scheduling.register import Register
from jobs.statuses import Status
from jobs.store import JobRecord
from jobs.training.snapshot_files import newest_step

# A job whose worker crashes is taken up again, but not for ever where it does so each time: this crash is the last.
MOST_CRASHES_AT_ONE_PLACE = 3

ENDED_BY_FORCE = "It did not stop when asked and was ended by force. What it had kept before is good."
ENDED_WHILE_AWAY = "It was asked to stop, and ended without keeping its state. What it had kept before is good."
STOPPED_ON_BAD_DISK = (
    "It stopped when asked, and could not write into its folder any more: the disk is full, read-only or broken. "
    "What it had kept before is good."
)
STOPPED_FROM_OUTSIDE = "Stopped from outside (SIGTERM), as when the machine is shut down."


@dataclass(frozen=True)
class Ending:
    """How a worker ended, as it is seen from outside. `returncode` is None for one that another server had started.

    `killed_for_memory` says who has killed something for its memory meanwhile, if anybody has;
    `words_before_order` is what it said last where it had not begun; `was_asked`, whether this server asked it to stop.
    """

    moment: float
    returncode: int | None
    killed_for_memory: str | None
    words_before_order: str | None
    was_asked: bool


class Endings:
    def __init__(self, register: Register, moves: Moves) -> None:
        self._register = register
        self._moves = moves

    def conclude(self, job: JobRecord, ending: Ending) -> None:
        """End the job, or queue it again where its worker was interrupted."""
        status, cause = status_and_cause(job, ending)
        if was_interrupted(job, ending):
            crashes, step = self._crashes(job)
            if crashes < MOST_CRASHES_AT_ONE_PLACE:
                self._moves.queue_again(
                    job, moment=ending.moment, cause=cause, crashes=crashes, crashed_after_step=step
                )
                return
            cause = f"{cause} {_in_vain(job_kind(job.kind), step)}"
        self._moves.move(job, status, moment=ending.moment, cause=cause, line=job.summary.get("line"))

    def _crashes(self, job: JobRecord) -> tuple[int, int]:
        """How often the worker has crashed now without a new snapshot in between, and the step of the newest one."""
        step = newest_step(self._register.folder(job.id))
        return (job.crashes if job.crashed_after_step == step else 0) + 1, step


def status_and_cause(job: JobRecord, ending: Ending) -> tuple[Status, str | None]:
    """By what the worker said of its end, what was wished of it, and how it ended."""
    outcome = job.summary.get("outcome")
    if outcome == "finished":
        return Status.DONE, None
    if outcome == "failed":
        return Status.ERROR, job.summary["cause"]
    if job.wish is not None:
        reason = in_words(job.wish, job.time_limit, job.summary)
        fault = None if outcome == "stopped" else _fault_when_asked(ending)
        return job.wish.status, " ".join(filter(None, (reason, fault))) or None
    if outcome == "stopped":
        return Status.ABORTED, job.summary.get("cause") or STOPPED_FROM_OUTSIDE
    return Status.ERROR, ending_in_words(ending.returncode, ending.killed_for_memory, ending.words_before_order)


def _fault_when_asked(ending: Ending) -> str | None:
    """What is to be said of a worker that was asked to stop, and did not say that it did."""
    if ending.returncode == -signal.SIGTERM:
        # By the signal itself: it was asked before it could listen, and had done nothing yet.
        return None
    if ending.returncode == STATUS_CANNOT_WRITE:
        return STOPPED_ON_BAD_DISK
    return ENDED_BY_FORCE if ending.was_asked else ENDED_WHILE_AWAY


def was_interrupted(job: JobRecord, ending: Ending) -> bool:
    """Whether a worker ended that nobody had asked to: by a signal, or with the machine.

    What ended by itself would only do so again.
    """
    if job.wish is not None:
        return False
    if outcome := job.summary.get("outcome"):
        return bool(outcome == "stopped" and job.summary.get("cause") is None)
    return ending.returncode is None or ending.returncode < 0


def _in_vain(kind: JobKind, step: int) -> str:
    if not kind.resumes:
        return (
            f"It was begun {MOST_CRASHES_AT_ONE_PLACE} times, and ended so each time. See to the cause, and clone it."
        )
    place = f"after the snapshot of step {step:,}" if step else "before its first snapshot"
    return (
        f"It ended so {MOST_CRASHES_AT_ONE_PLACE} times at the same place, {place}. "
        "See to the cause, then resume it or clone the job."
    )
