"""Errors by who can act on them. The text of each is shown to a person as it stands."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager


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


class ChildEnded(EnvironmentFault):
    """A child went before it had answered. `returncode` is Popen's: negative when a signal ended it."""

    def __init__(self, message: str, returncode: int) -> None:
        super().__init__(message)
        self.returncode = returncode


class StopRequested(LayerscopeError):
    """The job is to stop, and has reached a place where it can. The text says why, where nobody asked for it."""


class NoSuchJob(LayerscopeError):
    """No job has this id. Perhaps somebody deleted it."""


class Refused(LayerscopeError):
    """The request is understood, and against a rule that the message names."""


# Less than this is nothing: file systems keep some blocks to themselves.
FREE_OF_FULL_DISK = 1 << 20
# With less no job begins: it could not even say that it has.
FREE_TO_BEGIN = 1 << 16
DISK_FULL = "The disk of the data directory is full. Delete jobs that nobody needs, or make room on it, and try again."


def is_disk_full(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def full_disk_in_words() -> Iterator[None]:
    """Turn the system's "no space left" into an EnvironmentFault that says what to do."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise EnvironmentFault(DISK_FULL) from error
        raise
