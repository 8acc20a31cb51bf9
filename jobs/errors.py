"""Errors by who can act on them. The text of each is shown to a person as it stands."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from signal import Signals


class LayerscopeError(Exception):
    """Root of the tree. `str(error)` says what was found, what was expected and what to do next."""


class UserError(LayerscopeError):
    """The person who made the job can mend it: a folder, a field, a network."""


class BadDatabase(UserError):
    """A database or mean file is missing, damaged, or not what the job needs."""


class BadImage(UserError):
    """A file is no picture, or one of a kind that cannot be read."""


class BadNetwork(UserError):
    """A pasted network does not do what the contract asks.

    `line` is the 1-based line of the pasted text that is to blame, when it is known; `layer` the name of the layer.
    """

    def __init__(self, message: str, line: int | None = None, layer: str | None = None) -> None:
        super().__init__(message)
        self.line = line
        self.layer = layer


class TrainingDiverged(UserError):
    """The loss became NaN or infinite, first at `step`."""

    def __init__(self, message: str, step: int) -> None:
        super().__init__(message)
        self.step = step


class EnvironmentFault(LayerscopeError):
    """The machine is short of something: disk, memory, a GPU."""


class DamagedDatabase(EnvironmentFault):
    """A database of ours holds what we never wrote. The text says what, and who opens it what to do."""


class ChildEnded(EnvironmentFault):
    """A child went before it had answered. `returncode` is Popen's: negative when a signal ended it."""

    def __init__(self, message: str, returncode: int) -> None:
        super().__init__(message)
        self.returncode = returncode


class ProcessKilled(EnvironmentFault):
    """A process that did a part of a job died without a word; `signals` are those that may have ended it."""

    def __init__(self, signals: set[int]) -> None:
        names = ", ".join(sorted(Signals(number).name for number in signals)) or "no signal known"
        super().__init__(
            f"A process that read images for this job was ended from outside ({names}). "
            "Perhaps the machine ran out of memory: make room and clone the job."
        )
        self.signals = signals


class StopRequested(LayerscopeError):
    """The job is to stop, and has reached a place where it can."""


class NoSuchJob(LayerscopeError):
    """No job has this id. Perhaps somebody deleted it."""


class Refused(LayerscopeError):
    """The request is understood, and against a rule that the message names."""


# What a child may tell the server that it met, by name. Others are the server's own.
TOLD_BY_CHILDREN: dict[str, type[LayerscopeError]] = {
    kind.__name__: kind for kind in (UserError, BadDatabase, BadImage, BadNetwork, EnvironmentFault, LayerscopeError)
}


def name_for_server(error: LayerscopeError) -> str:
    """By what name a child tells of an error: that of its kind, or of the next one above that the server knows."""
    return next(kind.__name__ for kind in type(error).__mro__ if kind.__name__ in TOLD_BY_CHILDREN)


# Less than this is nothing: file systems keep some blocks to themselves.
FREE_OF_FULL_DISK = 1 << 20
# With less no job begins: it could not even say that it has.
FREE_TO_BEGIN = 1 << 16
DISK_FULL = "The disk of the data directory is full. Delete jobs that nobody needs, or make room on it, and try again."


@dataclass(frozen=True)
class DiskFault:
    """Why nothing can be written, which passes when somebody sees to the disk: in a sentence for who asked for something, and
    in one for a job that `waits` until it can keep `what`."""

    sentence: str
    waits: str


_FULL = DiskFault(
    DISK_FULL,
    "Waits for room on the disk: {what} does not fit, and {free:,.1f} MB are free. "
    "It goes on by itself when there is room: delete jobs that nobody needs.",
)
_READ_ONLY = DiskFault(
    "The disk of the data directory is read-only, as Linux makes one that has faults. See to it, and try again.",
    "Waits for the disk, which is read-only: {what} cannot be kept. It goes on by itself when the disk can be written.",
)
_FAILING = DiskFault(
    "A disk has failed to read or write. See to it, and try again.",
    "Waits for the disk, which has failed: {what} could not be kept. It goes on by itself when the disk can be written.",
)
_DISK_FAULTS = {errno.ENOSPC: _FULL, errno.EDQUOT: _FULL, errno.EROFS: _READ_ONLY, errno.EIO: _FAILING}


# No process can be started, or no file opened, until others have ended.
_MACHINE_FAULTS = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})


def is_machine_fault(error: BaseException) -> bool:
    """Whether so much is open or at work that nothing could be started, whatever it is."""
    return isinstance(error, OSError) and error.errno in _MACHINE_FAULTS


def disk_fault(error: BaseException) -> DiskFault | None:
    """What of the disk is behind the error, if anything is."""
    return _DISK_FAULTS.get(error.errno or 0) if isinstance(error, OSError) else None


@contextmanager
def disk_faults_in_words() -> Iterator[None]:
    """Turn what the system says of a full or broken disk into an EnvironmentFault that says what to do."""
    try:
        yield
    except OSError as error:
        if fault := disk_fault(error):
            raise EnvironmentFault(fault.sentence) from error
        raise
