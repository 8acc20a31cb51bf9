"""Ends children that hold more memory than they may: Linux's limit counts what a process may write, not what it has filled."""

import logging
import signal
import threading
from contextlib import suppress
from pathlib import Path

from jobs.containment.limits import memory_limit
from jobs.worker_identity import WorkerIdentity

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 0.25
# What libraries fill beside that when they are loaded, and the first thread's stack. No honest child comes past it.
BESIDE_THE_LIMIT = 2**29
# Of /proc/PID/status: pages that are no file's, in memory and swapped out, in KiB.
COUNTED = ("RssAnon:", "VmSwap:")


class MemoryWatch:
    """Looks at children a few times a second, for as long as there are some. The limit is the one that they run under."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: set[WorkerIdentity] = set()
        self._ended: set[WorkerIdentity] = set()
        self._looks = False

    def add(self, child: WorkerIdentity) -> None:
        """Watch a child from now on."""
        with self._lock:
            self._watched.add(child)
            if not self._looks:
                self._looks = True
                threading.Thread(target=self._look_while_there_are_some, name="memory watch", daemon=True).start()

    def has_ended(self, child: WorkerIdentity | None) -> bool:
        """Whether the watch made an end of it."""
        return child in self._ended

    def _look_while_there_are_some(self) -> None:
        pause = threading.Event()
        while self._look():
            pause.wait(SECONDS_BETWEEN_LOOKS)

    def _look(self) -> bool:
        """Whether there is anything left to look at."""
        with self._lock:
            self._watched = {child for child in self._watched if _may_live(child)}
            watched = list(self._watched)
            self._looks = bool(watched)
        for child in watched:
            # It may end meanwhile.
            with suppress(OSError):
                limit, held = memory_limit(child.pid), held_memory(child.pid)
                if limit is not None and held > limit + BESIDE_THE_LIMIT:
                    self._end(child, held, limit)
        return bool(watched)

    def _end(self, child: WorkerIdentity, held: int, limit: int) -> None:
        said = "Process %s holds %.3g GiB in spite of its limit of %.3g GiB, so it is ended."
        log.warning(said, child.pid, held / 2**30, limit / 2**30)
        # Who sees that it has ended asks why.
        self._ended.add(child)
        child.signal_group(signal.SIGKILL)


def _may_live(child: WorkerIdentity) -> bool:
    """A server that has no descriptor left to look with looks again."""
    try:
        return child.facts() is not None
    except OSError:
        return True


def held_memory(pid: int) -> int:
    """How many bytes a process holds that are no file's. OSError where it has ended."""
    lines = [line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    return sum(int(line[1]) for line in lines if line[0] in COUNTED) * 1024
