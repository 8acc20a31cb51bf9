"""Starts children, each in its own session and confined; the next one that needs torch waits ready with it."""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from jobs.containment.confinement import Policy
from jobs.memory_watch import MemoryWatch
from jobs.orders import MOST_BYTES, READY, Order
from jobs.worker_identity import WorkerIdentity, signal_group

log = logging.getLogger(__name__)

# Not at once: the child that was just started needs the cores, and finds out in these seconds how many it uses best.
SECONDS_BEFORE_NEXT_SPARE = 3.0
# Of what a child said before it began, so much belongs in an error: where a fault was, and which.
LAST_LINES = 3

# What of the server's environment a child may see: what finds programs, libraries and GPUs, and no secrets.
PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "CUDA_VISIBLE_DEVICES", "CUDA_HOME",
             "NVIDIA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "PYTHONPATH")  # fmt: skip


def child_environment(scratch: Path, device: str | None) -> dict[str, str]:
    """The environment of a child that keeps its caches in `scratch` and may use `device` ("cpu" or "gpu N")."""
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environment |= {"HOME": str(scratch), "TMPDIR": str(scratch), "MPLCONFIGDIR": str(scratch / ".cache")}
    environment["PYTHONUNBUFFERED"] = "1"
    # NumPy computes little here, and the threads that it would make before a child is confined would not be.
    environment["OPENBLAS_NUM_THREADS"] = "1"
    # Whatever the machine's language: a name or a user's print that it cannot write must not end the child.
    environment["PYTHONIOENCODING"] = "utf-8:backslashreplace"
    if device is not None:
        # NVML counts GPUs by their place on the bus, CUDA by their speed unless it is told.
        environment["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        environment["CUDA_VISIBLE_DEVICES"] = device.removeprefix("gpu ") if device.startswith("gpu ") else ""
    return environment


class ChildProcess(subprocess.Popen[bytes]):
    """A process, the line on which its order comes to it, and what it `said` until it had taken that."""

    def __init__(self, environment: dict[str, str], folder: Path, prepared: bool) -> None:
        """A process that waits for its order; a `prepared` one imports torch first."""
        self._orders, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._protections: str | None = None
        # In memory: it must be there on a full disk, too.
        self._said: BinaryIO = os.fdopen(os.memfd_create("said before the order"), "w+b")
        command = [sys.executable, "-P", "-m", "jobs.child", str(its.fileno()), *(["--prepared"] if prepared else [])]
        with its:
            super().__init__(
                command,
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=self._said,
                cwd=folder,
                env=environment,
                pass_fds=[its.fileno()],
                start_new_session=True,
            )

    def is_importing(self) -> bool:
        """Whether a prepared one cannot take an order yet. It imports in idle time, which may last while a training is
        at work."""
        try:
            self._orders.recv(len(READY), socket.MSG_DONTWAIT | socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            # It is gone with something unsaid.
            return False
        # It is ready, or gone.
        return False

    def give(self, order: bytes, descriptors: Sequence[int]) -> None:
        """Its order, its standard streams, and what is kept for it. OSError where it is gone."""
        with suppress(BlockingIOError):
            # A line with something unread on it is broken off when it is closed, and the order with it.
            self._orders.recv(len(READY), socket.MSG_DONTWAIT)
        socket.send_fds(self._orders, [order], descriptors)

    def protections(self) -> str | None:
        """What protects the machine from it, as JSON, once it has confined itself and begins with its order."""
        if self._protections is None:
            with suppress(OSError):
                self._protections = self._orders.recv(MOST_BYTES, socket.MSG_DONTWAIT).decode() or None
        return self._protections

    def words_before_order(self) -> str | None:
        """What it said last, if it ended before it had begun with its order; else None."""
        if self.protections() is not None:
            return None
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").split("\n")
        return " ".join([line.strip() for line in lines if line.strip()][-LAST_LINES:])

    def end(self) -> None:
        self._orders.close()
        signal_group(self.pid, signal.SIGKILL)
        self.wait()


class Launcher:
    """Starts children, all confined by the same policy. One process waits with torch imported and nothing loaded, and
    becomes the next child that needs it.

    It knows no job until it gets its order, and does that one only. Its home until then is `scratch`; without one no
    process waits. `stdin`, `stdout` and `stderr` are descriptors.
    """

    def __init__(self, scratch: Path | None = None, policy: Policy | None = None) -> None:
        self._scratch = scratch
        self._policy = policy or Policy()
        self._lock = threading.Lock()
        self._spare: ChildProcess | None = None
        self._next: threading.Timer | None = None
        self._closed = False
        self.memory_watch = MemoryWatch()

    def prepare(self, seconds: float = 0.0) -> None:
        """Start a spare after so many seconds, if none waits by then."""
        with self._lock:
            if self._closed or self._scratch is None or self._next is not None:
                return
            self._next = threading.Timer(seconds, self._start_spare)
            self._next.daemon = True
            self._next.start()

    def _start_spare(self) -> None:
        with self._lock:
            self._next = None
            if self._closed or self._scratch is None or self._spare is not None:
                return
            try:
                self._scratch.mkdir(parents=True, exist_ok=True)
                environment = child_environment(self._scratch, None)
                self._spare = ChildProcess(environment, self._scratch, prepared=True)
            except OSError:
                # No spare, no harm: the next child starts from nothing.
                log.exception("No spare process could be started.")

    def start(self, order: Order, stdin: int, stdout: int, stderr: int) -> ChildProcess:
        """The child at work on this order: the spare if one is ready and of use, else a new process."""
        child = self._start(order, stdin, stdout, stderr)
        self.watch_memory(WorkerIdentity.of_child(child.pid))
        return child

    def watch_memory(self, child: WorkerIdentity | None) -> None:
        """See that a child, which another server may have started, holds no more than it may. None: it is gone."""
        if self._policy.mode != "off" and child is not None:
            self.memory_watch.add(child)

    def _start(self, order: Order, stdin: int, stdout: int, stderr: int) -> ChildProcess:
        message, descriptors = order.as_json(self._policy), [stdin, stdout, stderr, *order.kept]
        if order.wants_torch:
            spare = self._take_spare()
            self.prepare(SECONDS_BEFORE_NEXT_SPARE)
            if spare is not None and _has_taken(spare, message, descriptors):
                return spare
        process = ChildProcess(order.environment, order.folder, prepared=False)
        # One that is gone already has said why.
        with suppress(OSError):
            process.give(message, descriptors)
        return process

    def _take_spare(self) -> ChildProcess | None:
        with self._lock:
            spare = self._spare
            if spare is not None and spare.is_importing():
                return None
            self._spare = None
        return spare

    def close(self) -> None:
        """End the spare. What it had become before is no spare any more and goes on."""
        with self._lock:
            self._closed = True
            spare, self._spare = self._spare, None
            if self._next is not None:
                self._next.cancel()
        if spare is not None:
            spare.end()


def _has_taken(spare: ChildProcess, message: bytes, descriptors: Sequence[int]) -> bool:
    """Whether the spare got the order. One that has died meanwhile does not."""
    if spare.poll() is None:
        try:
            spare.give(message, descriptors)
        except OSError:
            spare.end()
        else:
            return True
    log.warning("The spare process was gone (%s). It said last: %s", spare.returncode, spare.words_before_order())
    return False
