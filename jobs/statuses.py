"""The states that a job can be in, by DIGITS's names, and what a person may wish of one that runs."""

from enum import StrEnum


class Status(StrEnum):
    INITIALIZED = "Initialized"
    WAITING = "Waiting"
    RUNNING = "Running"
    # Not one of DIGITS's. No end: it waits for the person who paused it.
    PAUSED = "Paused"
    DONE = "Done"
    ABORTED = "Aborted"
    ERROR = "Error"

    @property
    def is_running(self) -> bool:
        """Whether the job still has something before it: DIGITS's sense of "running"."""
        return self in ACTIVE

    @property
    def css(self) -> str:
        return {Status.RUNNING: "info", Status.DONE: "success", Status.ERROR: "danger"}.get(self, "warning")


# From which a job may be taken up again.
RESUMABLE = (Status.PAUSED, Status.ABORTED, Status.ERROR)
ACTIVE = (Status.INITIALIZED, Status.WAITING, Status.RUNNING)
# From which nothing goes on but by a person's wish, and with a time limit of its own.
ENDS = (Status.DONE, Status.ABORTED, Status.ERROR)


class Wish(StrEnum):
    """Why a running job is to stop."""

    ABORT = "abort"
    PAUSE = "pause"
    # Nobody's own: its form's.
    TIME_LIMIT = "time limit"

    @property
    def status(self) -> Status:
        """What the job is once it has stopped."""
        return Status.PAUSED if self is Wish.PAUSE else Status.ABORTED
