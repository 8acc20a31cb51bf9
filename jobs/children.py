"""Starts children, each in its own session; the next one that needs torch waits ready with it."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

# Not at once: the child that was just started needs the cores, and finds out in these seconds how many it uses best.
SECONDS_BEFORE_NEXT_SPARE = 10.0

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


class Spares:
    """Starts children. One process waits with torch imported and nothing loaded, and becomes the next child that needs it.

    It knows no job until it gets its order, and does that one only. `stdin`, `stdout` and `stderr` are descriptors.
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._lock = threading.Lock()
        self._waiting: tuple[subprocess.Popen[bytes], socket.socket] | None = None
        self._next: threading.Timer | None = None
        self._closed = False

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
            if self._closed or self._waiting is not None:
                return
            ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                self._scratch.mkdir(parents=True, exist_ok=True)
                with its, (self._scratch / "spare.log").open("wb") as said, Path(os.devnull).open("rb") as nothing:
                    environment = child_environment(self._scratch, None)
                    order = Order("jobs.spare", (), self._scratch, environment, (its.fileno(),))
                    process = start_process(order, nothing.fileno(), said.fileno(), said.fileno())
            except OSError:
                # No spare, no harm: the next child starts from nothing.
                log.exception("No spare process could be started.")
                ours.close()
            else:
                self._waiting = (process, ours)

    def start(self, order: Order, stdin: int, stdout: int, stderr: int) -> subprocess.Popen[bytes]:
        """The child at work on this order: the spare if there is one, else a new process."""
        with self._lock:
            waiting, self._waiting = self._waiting, None
        process = None
        if waiting is not None:
            process = _hand_over(*waiting, order, (stdin, stdout, stderr))
        self.prepare(SECONDS_BEFORE_NEXT_SPARE)
        return process or start_process(order, stdin, stdout, stderr)

    def close(self) -> None:
        """End the spare. What it had become before is no spare any more and goes on."""
        with self._lock:
            self._closed = True
            waiting, self._waiting = self._waiting, None
            if self._next is not None:
                self._next.cancel()
        if waiting is not None:
            process, orders = waiting
            orders.close()
            signal_group(process.pid, signal.SIGKILL)
            process.wait()


def _hand_over(
    spare: subprocess.Popen[bytes], orders: socket.socket, order: Order, streams: tuple[int, int, int]
) -> subprocess.Popen[bytes] | None:
    """The spare with its order; None when it has died meanwhile."""
    with orders:
        if spare.poll() is None:
            try:
                socket.send_fds(orders, [order.as_json()], [*streams, *order.kept])
            except OSError:
                signal_group(spare.pid, signal.SIGKILL)
                spare.wait()
            else:
                return spare
    log.warning("The spare process was gone (%s). What it said is in spare.log.", spare.returncode)
    return None


def start_process(order: Order, stdin: int, stdout: int, stderr: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", order.module, *order.arguments, *map(str, order.kept)],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        cwd=order.folder,
        env=order.environment,
        pass_fds=order.kept,
        start_new_session=True,
    )
