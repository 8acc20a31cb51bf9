"""Which process is a job's worker. Not by its number alone, which the system gives again, and not by what a file says
that pasted code may write: by what the kernel says of it.
"""

import logging
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

log = logging.getLogger(__name__)

PROC = Path("/proc")
# Of a process that has ended and whose parent has not asked yet how.
DEAD_STATES = frozenset("ZXx")


def signal_group(pid: int, number: signal.Signals) -> None:
    """Signal a child and all that it started; nothing happens when they are gone."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return


@dataclass(frozen=True)
class ProcessFacts:
    """What /proc/PID/stat says of a process (proc(5)). `start` and `ticks` are in ticks of the clock."""

    state: str
    session: int
    ticks: int
    start: int


def process_facts(pid: int) -> ProcessFacts | None:
    """None when there is no such process (any more)."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # Its name stands in brackets, and may hold brackets and spaces itself.
    fields = text[text.rindex(")") + 2 :].split()
    return ProcessFacts(fields[0], int(fields[3]), int(fields[11]) + int(fields[12]), int(fields[19]))


def _boot() -> str:
    """Which start of the machine this is. Some containers hide it: then the moment at which a process began has to do."""
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"


# Read once: a server that has no descriptor left at times must not take its workers for those of another start.
BOOT = _boot()


@dataclass(frozen=True)
class WorkerIdentity:
    """A process for all time: after it has ended, or the machine was started anew, none is it."""

    boot: str
    pid: int
    start: int

    @classmethod
    def of(cls, pid: int) -> Self | None:
        facts = process_facts(pid)
        return None if facts is None else cls(BOOT, pid, facts.start)

    @classmethod
    def of_child(cls, pid: int) -> Self | None:
        """Of a child that was just started. Where the system gives nothing to look with: None, and the child goes on."""
        try:
            return cls.of(pid)
        except OSError as error:
            log.warning("Which process the child %s is cannot be seen: %s.", pid, error)
            return None

    @classmethod
    def parse(cls, text: str) -> Self:
        boot, pid, start = text.split()
        return cls(boot, int(pid), int(start))

    def __str__(self) -> str:
        return f"{self.boot} {self.pid} {self.start}"

    def facts(self) -> ProcessFacts | None:
        """None when it has ended."""
        facts = process_facts(self.pid)
        is_it = facts is not None and facts.start == self.start and self.boot == BOOT
        return facts if is_it and facts is not None and facts.state not in DEAD_STATES else None

    def signal_group(self, number: signal.Signals) -> None:
        """Signal it and all that it started and that kept to its group; nothing happens when it has ended."""
        if self.facts() is not None:
            signal_group(self.pid, number)


def lock_holders(lock: Path) -> list[int]:
    """The processes that hold the job's lock, as the kernel knows them; of other users' processes it may say nothing."""
    # A link that pasted code has put there is held by nobody, whoever holds what it leads to.
    wanted = lock.lstat()
    return [
        int(process.name)
        for process in PROC.iterdir()
        if process.name.isdigit() and int(process.name) != os.getpid() and _holds(process, wanted)
    ]


def _holds(process: Path, wanted: os.stat_result) -> bool:
    """Whether one of its descriptors is this file with a lock on it. Whoever only reads the file has none."""
    # It may end meanwhile, may close a file, or is another user's.
    with suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            with suppress(OSError):
                if os.path.samestat(descriptor.stat(), wanted):
                    return "FLOCK" in (process / "fdinfo" / descriptor.name).read_text()
    return False


def find_worker(lock: Path) -> WorkerIdentity | None:
    """The worker that holds the lock, where its server died before it could note who that is."""
    for pid in lock_holders(lock):
        facts = process_facts(pid)
        if facts is not None and facts.session == pid:
            return WorkerIdentity.of(pid)
    return None


def end_holders(lock: Path) -> None:
    """Make an end of what a worker that is dead had started, and that holds its lock still."""
    for pid in lock_holders(lock):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def ticks_of_session(session: int) -> int:
    """The processor time of a worker and all that it started in its session, so far as they live."""
    pids = (int(process.name) for process in PROC.iterdir() if process.name.isdigit())
    found = (process_facts(pid) for pid in pids)
    return sum(facts.ticks for facts in found if facts is not None and facts.session == session)
