"""The states that a job can be in, by DIGITS's names."""

from enum import StrEnum


class Status(StrEnum):
    INITIALIZED = "Initialized"
    WAITING = "Waiting"
    RUNNING = "Running"
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
RESUMABLE = (Status.ABORTED, Status.ERROR)
ACTIVE = (Status.INITIALIZED, Status.WAITING, Status.RUNNING)
