"""The log of a worker, which whatever it runs may write without end."""

import os
import stat
from pathlib import Path

# A log that is longer is cut; then so much of its beginning and of its end are kept.
LONGEST_LOG_BYTES = 64 * 2**20
KEPT_BEGINNING_BYTES = 4 * 2**20
KEPT_END_BYTES = 4 * 2**20
# Until nothing comes any more while it is read; who writes faster than that has more to say anyway.
MOST_LOOKS = 10
CUT = "\n[What came in between was cut: the log had grown to more than {limit} MiB.]\n"


def cut_log(log: Path, longest: int = LONGEST_LOG_BYTES, beginning: int = KEPT_BEGINNING_BYTES,
            end: int = KEPT_END_BYTES) -> bool:  # fmt: skip
    """Keep the first and the last of a log that has become too long; whether it had. The worker appends to it meanwhile, and
    goes on at its new end; only what it writes between the last look and the cut is lost.
    """
    try:
        # Pasted code may have put something else in its place.
        descriptor = os.open(log, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "r+b", buffering=0):
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_size <= longest:
                return False
            _cut(descriptor, found.st_size, CUT.format(limit=longest >> 20).encode(), beginning, end)
    except OSError:
        # On a full disk a file system may want room for what is written over, too. The next look tries again.
        return False
    return True


def _cut(log: int, size: int, notice: bytes, beginning: int, end: int) -> None:
    """Move the end to behind the beginning, and only then make the file shorter."""
    new_end = beginning + os.pwrite(log, notice, beginning)
    place = size - end
    last = os.pread(log, end, place)
    # At the beginning of a line, where there are lines.
    kept = last[last.find(b"\n") + 1 :]
    for _ in range(MOST_LOOKS):
        new_end += os.pwrite(log, kept, new_end)
        place += len(last)
        kept = last = os.pread(log, end, place)
        if not last:
            break
    os.truncate(log, new_end)
