"""Files of a job's folder, opened by the server: where nothing contains pasted code, it may have put something else there."""

import errno
import os
import stat
from io import BufferedReader, BufferedWriter
from pathlib import Path
from typing import Literal

# A link, and a pipe that nobody reads.
NO_FILE = (errno.ELOOP, errno.ENXIO, errno.EISDIR)


class NoPlainFile(OSError):
    """A link, a pipe, a device or a folder is in the place of a file."""


def open_plain(path: Path) -> BufferedReader:
    """The file of this path, to read; NoPlainFile where something else is there: it might lead elsewhere, or wait for ever."""
    return open(path, "rb", opener=_plain)


def write_plain(path: Path, mode: Literal["wb", "ab"]) -> BufferedWriter:
    """The same, to write it anew, or on from its end."""
    return open(path, mode, opener=_plain)


def _plain(path: str, flags: int) -> int:
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY, 0o666)
    except OSError as error:
        raise _no_file(path) if error.errno in NO_FILE else error from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _no_file(path)
    return descriptor


def _no_file(path: str) -> NoPlainFile:
    return NoPlainFile(errno.EINVAL, "it is no file", os.fspath(path))
