"""Starts children, each in its own session, and says in words how they ended."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from jobs.errors import DISK_FULL, ChildEnded, EnvironmentFault
from jobs.events import STATUS_CANNOT_WRITE
from jobs.folder import JobFolder, take_lock

# What of the server's environment a child may see: what finds programs, libraries and GPUs, and no secrets.
PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "CUDA_VISIBLE_DEVICES", "CUDA_HOME",
             "NVIDIA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "PYTHONPATH")  # fmt: skip


def child_environment(scratch: Path, device: str | None) -> dict[str, str]:
    """The environment of a child that keeps its caches in `scratch` and may use `device` ("cpu" or "gpu N")."""
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environment |= {"HOME": str(scratch), "MPLCONFIGDIR": str(scratch / ".cache"), "PYTHONUNBUFFERED": "1"}
    # Whatever the machine's language: a name or a user's print that it cannot write must not end the child.
    environment["PYTHONIOENCODING"] = "utf-8:backslashreplace"
    # One core is left to the server and the browser: torch's threads wait for each other busily, and when one of them
    # has to share its core, all become many times slower.
    environment.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) - 1)))
    if device is not None:
        # NVML counts GPUs by their place on the bus, CUDA by their speed unless it is told.
        environment["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        environment["CUDA_VISIBLE_DEVICES"] = device.removeprefix("gpu ") if device.startswith("gpu ") else ""
    return environment


def start_worker(folder: JobFolder, device: str | None, python: str = sys.executable) -> subprocess.Popen[bytes]:
    """Start the worker of a job. It inherits the job's lock, so that there is no moment in which nobody holds it.

    Raises EnvironmentFault when another worker holds the lock, or when no process can be started.
    """
    lock = take_lock(folder.lock)
    if lock is None:
        raise EnvironmentFault("Another worker is still at work on this job.")
    with lock, folder.log.open("ab") as log:
        return subprocess.Popen(
            [python, "-P", "-m", "jobs.worker", str(folder.path), str(lock.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder.path,
            env=child_environment(folder.path, device),
            pass_fds=[lock.fileno()],
            start_new_session=True,
        )


def signal_group(pid: int, number: signal.Signals) -> None:
    """Signal a child and all that it started; nothing happens when they are gone."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return


def out_of_memory_kills() -> int:
    """How many processes the kernel has killed for want of memory, in this control group or, failing that, at all."""
    for path, key in ((Path("/sys/fs/cgroup/memory.events"), "oom_kill"), (Path("/proc/vmstat"), "oom_kill")):
        if path.exists():
            counts = dict(line.split() for line in path.read_text().splitlines())
            if key in counts:
                return int(counts[key])
    return 0


def ending_in_words(returncode: int | None, killed_for_memory: bool) -> str:
    """Why a child ended that did not say so itself. None: it was not ours to wait for."""
    if returncode is None:
        return "The worker ended without a word while the server was away. Its log has what it said last."
    if returncode == STATUS_CANNOT_WRITE:
        return DISK_FULL
    if returncode >= 0:
        return (
            f"The worker ended by itself with status {returncode}, without saying why. Its log has what it said last."
        )
    if killed_for_memory and returncode == -signal.SIGKILL:
        return "Killed by the kernel: out of memory. A smaller batch size or smaller images need less."
    number = -returncode
    return SIGNALS_IN_WORDS.get(number) or f"Ended by signal {number} ({signal.strsignal(number) or 'unknown'})."


SIGNALS_IN_WORDS: dict[int, str] = {
    signal.SIGKILL: "Killed from outside (SIGKILL): by a person, or by the system for want of memory.",
    signal.SIGTERM: "Ended from outside (SIGTERM) before it could keep its state.",
    signal.SIGSEGV: "Crashed (SIGSEGV): native code used memory that it does not own. Its log may tell where.",
    signal.SIGBUS: "Crashed (SIGBUS): a file that it read through memory became shorter, or its disk failed.",
    signal.SIGABRT: "Gave up (SIGABRT): native code met a condition that it does not allow. See its log.",
    signal.SIGXCPU: "Ended (SIGXCPU): it used all the processor time that it was allowed.",
    signal.SIGXFSZ: "Ended (SIGXFSZ): it wrote a file larger than it was allowed.",
}


class LineProcess:
    """A child that answers each JSON line on its standard input with one on its standard output.

    Not thread-safe: whoever shares one takes turns.
    """

    def __init__(self, arguments: Sequence[str], scratch: Path, log: IO[bytes], device: str = "cpu",
                 python: str = sys.executable) -> None:  # fmt: skip
        self._out_of_memory_kills = out_of_memory_kills()
        self._process = subprocess.Popen(
            [python, "-P", "-m", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=scratch,
            env=child_environment(scratch, device),
            start_new_session=True,
        )
        self._answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put(b"")

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: dict[str, Any], timeout: float) -> dict[str, Any]:
        """Send one request and wait for its answer.

        Raises EnvironmentFault, and ends the child, when it dies or takes longer than `timeout` seconds.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            line = self._answers.get(timeout=timeout)
        except BrokenPipeError:
            line = b""
        except queue.Empty:
            self.end()
            raise EnvironmentFault(
                f"There was no answer within {timeout:.0f} s, so the process was ended. Does the network loop for ever?"
            ) from None
        if not line:
            returncode = self._process.wait()
            killed_for_memory = out_of_memory_kills() > self._out_of_memory_kills
            raise ChildEnded(ending_in_words(returncode, killed_for_memory), returncode)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def end(self) -> None:
        """End the child and what it started. Safe to call twice."""
        signal_group(self._process.pid, signal.SIGKILL)
        self._process.wait()
