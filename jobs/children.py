"""Starts children, each in its own session; the next one that needs torch waits ready with it."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

# Not at once: the child that was just started needs the cores, and finds out in these seconds how many it uses best.
SECONDS_BEFORE_NEXT_SPARE = 3.0
SPARE_LOG = "spare-"
# What a spare says when it has imported everything.
READY = b"ready"
# Of what a spare said, so much belongs in an error: where a fault was, and which.
LAST_LINES = 3

# What of the server's environment a child may see: what finds programs, libraries and GPUs, and no secrets.
PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "CUDA_VISIBLE_DEVICES", "CUDA_HOME",
             "NVIDIA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "PYTHONPATH")  # fmt: skip


def child_environment(scratch: Path, device: str | None) -> dict[str, str]:
    """The environment of a child that keeps its caches in `scratch` and may use `device` ("cpu" or "gpu N")."""
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environment |= {"HOME": str(scratch), "MPLCONFIGDIR": str(scratch / ".cache"), "PYTHONUNBUFFERED": "1"}
    # Whatever the machine's language: a name or a user's print that it cannot write must not end the child.
    environment["PYTHONIOENCODING"] = "utf-8:backslashreplace"
    if device is not None:
        # NVML counts GPUs by their place on the bus, CUDA by their speed unless it is told.
        environment["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        environment["CUDA_VISIBLE_DEVICES"] = device.removeprefix("gpu ") if device.startswith("gpu ") else ""
    return environment


def signal_group(pid: int, number: signal.Signals) -> None:
    """Signal a child and all that it started; nothing happens when they are gone."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return


@dataclass(frozen=True)
class Order:
    """What a child is to do: call `main(arguments)` of a module, in this folder and environment.

    The numbers that the `kept` descriptors have in the child are added to its arguments.
    """

    module: str
    arguments: tuple[str, ...]
    folder: Path
    environment: dict[str, str]
    kept: tuple[int, ...] = ()

    def as_json(self) -> bytes:
        order = {"module": self.module, "arguments": self.arguments, "environment": self.environment}
        return json.dumps(order | {"folder": str(self.folder)}).encode()


class ChildProcess(subprocess.Popen[bytes]):
    """A process with an order. `said_as_spare` is its log until it takes that, if it waited as a spare."""

    said_as_spare: Path | None = None

    def words_before_order(self) -> str | None:
        """What it said last, if it ended as a spare that had not yet taken its order; else None."""
        # It removes this log when it takes the order.
        if self.said_as_spare is None or not self.said_as_spare.exists():
            return None
        lines = self.said_as_spare.read_text(errors="replace").split("\n")
        return " ".join([line.strip() for line in lines if line.strip()][-LAST_LINES:])


@dataclass(frozen=True)
class Spare:
    """A process that waits for its order, and the line on which that comes."""

    process: ChildProcess
    orders: socket.socket

    def is_importing(self) -> bool:
        """Whether it cannot take an order yet. It imports in idle time, which may last while a training is at work."""
        try:
            self.orders.recv(len(READY), socket.MSG_DONTWAIT | socket.MSG_PEEK)
        except BlockingIOError:
            return True
        # It is ready, or gone.
        return False

    def take(self, order: Order, streams: tuple[int, int, int]) -> ChildProcess | None:
        """The process with this order; None when it has died meanwhile."""
        with self.orders:
            if self.process.poll() is None:
                try:
                    # A line with something unread on it is broken off when it is closed, and the order with it.
                    self.orders.recv(len(READY))
                    socket.send_fds(self.orders, [order.as_json()], [*streams, *order.kept])
                except OSError:
                    signal_group(self.process.pid, signal.SIGKILL)
                    self.process.wait()
                else:
                    return self.process
        log.warning(
            "The spare process was gone (%s). It said last: %s",
            self.process.returncode,
            self.process.words_before_order(),
        )
        return None

    def end(self) -> None:
        self.orders.close()
        signal_group(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.said_as_spare is not None:
            self.process.said_as_spare.unlink(missing_ok=True)


def start_spare(scratch: Path) -> Spare:
    """A process that imports torch and then waits for its order. Until it has that, `scratch` is its home."""
    scratch.mkdir(parents=True, exist_ok=True)
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        descriptor, said = tempfile.mkstemp(".log", SPARE_LOG, scratch)
        with its, os.fdopen(descriptor, "wb") as log, Path(os.devnull).open("rb") as nothing:
            order = Order("jobs.spare", (said,), scratch, child_environment(scratch, None), (its.fileno(),))
            process = start_process(order, nothing.fileno(), log.fileno(), log.fileno())
    except OSError:
        ours.close()
        raise
    process.said_as_spare = Path(said)
    return Spare(process, ours)


class Launcher:
    """Starts children. One process waits with torch imported and nothing loaded, and becomes the next child that needs it.

    It knows no job until it gets its order, and does that one only. `stdin`, `stdout` and `stderr` are descriptors.
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._lock = threading.Lock()
        self._spare: Spare | None = None
        self._next: threading.Timer | None = None
        self._closed = False
        # What the spares of an earlier server left: those that took their orders have removed theirs.
        for left in scratch.glob(f"{SPARE_LOG}*.log"):
            left.unlink(missing_ok=True)

    def prepare(self, seconds: float = 0.0) -> None:
        """Start a spare after so many seconds, if none waits by then."""
        with self._lock:
            if self._closed or self._next is not None:
                return
            self._next = threading.Timer(seconds, self._start_spare)
            self._next.daemon = True
            self._next.start()

    def _start_spare(self) -> None:
        with self._lock:
            self._next = None
            if self._closed or self._spare is not None:
                return
            try:
                self._spare = start_spare(self._scratch)
            except OSError:
                # No spare, no harm: the next child starts from nothing.
                log.exception("No spare process could be started.")

    def start(self, order: Order, stdin: int, stdout: int, stderr: int) -> ChildProcess:
        """The child at work on this order: the spare if one is ready, else a new process."""
        with self._lock:
            spare = self._spare
            if spare is not None and spare.is_importing():
                spare = None
            else:
                self._spare = None
        process = None if spare is None else spare.take(order, (stdin, stdout, stderr))
        self.prepare(SECONDS_BEFORE_NEXT_SPARE)
        return process or start_process(order, stdin, stdout, stderr)

    def close(self) -> None:
        """End the spare. What it had become before is no spare any more and goes on."""
        with self._lock:
            self._closed = True
            spare, self._spare = self._spare, None
            if self._next is not None:
                self._next.cancel()
        if spare is not None:
            spare.end()


def start_process(order: Order, stdin: int, stdout: int, stderr: int) -> ChildProcess:
    """A new process for this order."""
    return ChildProcess(
        [sys.executable, "-P", "-m", order.module, *order.arguments, *map(str, order.kept)],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        cwd=order.folder,
        env=order.environment,
        pass_fds=order.kept,
        start_new_session=True,
    )
