"""The log of a worker, which whatever it runs may write without end."""

import os
import stat
from pathlib import Path

# A log that is longer is cut; then so much of its beginning and of its end are kept.
LONGEST_LOG_BYTES = 64 * 2**20
KEPT_BEGINNING_BYTES = 4 * 2**20
KEPT_END_BYTES = 4 * 2**20
CUT = "\n[What came in between was cut: the log had grown to more than {limit} MiB.]\n"


def cut_log(log: Path, longest: int = LONGEST_LOG_BYTES, beginning: int = KEPT_BEGINNING_BYTES,
            end: int = KEPT_END_BYTES) -> bool:  # fmt: skip
    """Keep the first and the last of a log that has become too long; whether it had. The worker appends to it meanwhile, and
    goes on at its new end; what it writes in this very moment may be lost.
    """
    try:
        # Pasted code may have put something else in its place.
        descriptor = os.open(log, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size <= longest:
            return False
        last = os.pread(descriptor, end, found.st_size - end)
        file.truncate(beginning)
        # At the end of a line and the beginning of another, where there are lines.
        file.write(CUT.format(limit=longest >> 20).encode() + last[last.find(b"\n") + 1 :])
    return True
