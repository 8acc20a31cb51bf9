"""Real workers without the seconds in which each imports torch: forks of one process that has done so.

`python -m tests.crash.forked_workers DESCRIPTOR` is that process.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, cast

from jobs.children import ChildProcess, Launcher, child_environment
from jobs.containment.confinement import Policy
from jobs.folder import JobFolder
from jobs.memory_watch import MemoryWatch
from jobs.orders import Order
from jobs.worker_identity import WorkerIdentity
from tests.conftest import until

# A pid and an exit status are said in so many characters each.
DIGITS = 20


@dataclass
class ForkedWorker:
    """What of `ChildProcess` a scheduler or a test needs, of a process that is no child of this one."""

    pid: int
    endings: int
    returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self.endings], [], [], 0)[0]:
            self.returncode = int(os.read(self.endings, DIGITS))
            os.close(self.endings)
        return self.returncode

    def wait(self) -> int:
        until(lambda: self.poll() is not None, 120, "the worker has ended")
        assert self.returncode is not None
        return self.returncode

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def protections(self) -> None:
        """It is not confined, and says nothing."""

    def words_before_order(self) -> None:
        """It has its order from the first moment on."""


class ForkingLauncher:
    """Does for a scheduler what `Launcher` does."""

    def __init__(self, orders: socket.socket) -> None:
        self._orders = orders
        self.memory_watch = MemoryWatch()

    def watch_memory(self, child: WorkerIdentity | None) -> None:
        """They have no limit."""

    def start(self, order: Order, stdin: int, stdout: int, stderr: int) -> ChildProcess:
        reading, writing = os.pipe()
        try:
            socket.send_fds(self._orders, [order.as_json(Policy("off"))], [stdin, stdout, stderr, writing, *order.kept])
        finally:
            os.close(writing)
        assert self._orders.recv(1), "the process that workers are forks of has ended"
        return cast(ChildProcess, ForkedWorker(int(os.read(reading, DIGITS)), reading))

    def worker(self, folder: JobFolder) -> ForkedWorker:
        """A worker at this job that no server started."""
        order = Order("jobs.worker", (str(folder.path),), folder.path, child_environment(folder.path, "cpu"))
        with folder.log.open("ab") as log, Path(os.devnull).open("rb") as nothing:
            return cast(ForkedWorker, self.start(order, nothing.fileno(), log.fileno(), log.fileno()))


@contextmanager
def forking_launcher() -> Iterator[Launcher]:
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-m", "tests.crash.forked_workers", str(its.fileno())]
    with ours, subprocess.Popen(command, pass_fds=(its.fileno(),)) as process:
        its.close()
        # No job's time is that of the import.
        assert ours.recv(1), "the process that workers are forks of has ended"
        yield cast(Launcher, ForkingLauncher(ours))
        # It ends when nobody can give it orders any more.
        ours.close()
        process.wait(20)


def serve(orders: socket.socket) -> None:
    import torch._dynamo  # noqa: F401, PLC0415  what the first solver imports

    from jobs.training import job  # noqa: F401, PLC0415

    # Those who wait for the workers are waited for by nobody.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    orders.send(b"1")
    while True:
        message, descriptors, _flags, _address = socket.recv_fds(orders, 1 << 16, 16)
        if not message:
            return
        if os.fork() == 0:
            orders.close()
            _start_and_wait(json.loads(message), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        # Nobody takes this process, which had the lock for a moment, for what a dead worker has left.
        orders.send(b"1")


def _start_and_wait(order: dict[str, object], descriptors: list[int]) -> NoReturn:
    """Fork the worker, which says its pid to who asked for it, and say then its exit status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *streams, endings = descriptors[:4]
    pid = os.fork()
    if pid == 0:
        # Not before it can be killed with all of its session.
        os.setsid()
        _say(endings, os.getpid())
        os.close(endings)
        _work(order, streams, descriptors[4:])
    for descriptor in (*streams, *descriptors[4:]):
        os.close(descriptor)
    _, status = os.waitpid(pid, 0)
    _say(endings, os.waitstatus_to_exitcode(status))
    os._exit(0)


def _say(endings: int, number: int) -> None:
    """So that two numbers are never read as one."""
    os.write(endings, f"{number:{DIGITS}}".encode())


def _work(order: dict[str, object], streams: list[int], kept: list[int]) -> NoReturn:
    from jobs import worker  # noqa: PLC0415

    for place, descriptor in enumerate(streams):
        os.dup2(descriptor, place)
    os.environ.clear()
    os.environ.update(cast(dict[str, str], order["environment"]))
    os.chdir(str(order["folder"]))
    main: Callable[[list[str]], int] = worker.main
    status = main([*cast(list[str], order["arguments"]), *map(str, kept)])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
