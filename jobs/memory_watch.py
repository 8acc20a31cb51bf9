"""Ends children that hold more memory than they may: Linux's limit counts what a process may write, not what it has filled."""

import logging
import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import Protocol

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 0.25
# What libraries fill beside that when they are loaded, and the first thread's stack. No honest child comes past it.
BESIDE_THE_LIMIT = 2**29
# Of /proc/PID/status: pages that are no file's, in memory and swapped out, in KiB.
COUNTED = ("RssAnon:", "VmSwap:")


class Watched(Protocol):
    """A process as `subprocess.Popen` has it."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    def send_signal(self, sig: int, /) -> None: ...


class MemoryWatch:
    """Looks at children a few times a second, for as long as there are some."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._limits: dict[Watched, int] = {}
        self._looks = False

    def add(self, child: Watched, limit: int) -> None:
        """Watch a child from now on that may have so many bytes."""
        with self._lock:
            self._limits[child] = limit
            if not self._looks:
                self._looks = True
                threading.Thread(target=self._look_while_there_are_some, name="memory watch", daemon=True).start()

    def _look_while_there_are_some(self) -> None:
        pause = threading.Event()
        while self._look():
            pause.wait(SECONDS_BETWEEN_LOOKS)

    def _look(self) -> bool:
        """Whether there is anything left to look at."""
        with self._lock:
            self._limits = {child: limit for child, limit in self._limits.items() if child.poll() is None}
            watched = list(self._limits.items())
            self._looks = bool(watched)
        for child, limit in watched:
            held = held_memory(child.pid)
            if held > limit + BESIDE_THE_LIMIT:
                log.warning(
                    "Process %s holds %.3g GiB in spite of its limit of %.3g GiB, so it was ended.",
                    child.pid,
                    held / 2**30,
                    limit / 2**30,
                )
                child.send_signal(signal.SIGKILL)
        return bool(watched)


def held_memory(pid: int) -> int:
    """How many bytes a process holds that are no file's; none where it has ended."""
    # It may end while its status is read.
    with suppress(OSError):
        lines = [line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
        return sum(int(line[1]) for line in lines if line[0] in COUNTED) * 1024
    return 0
