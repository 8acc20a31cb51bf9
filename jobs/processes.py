"""Workers, and children that answer questions; and in words how they ended."""

import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from jobs.children import ChildProcess, Launcher, Order, child_environment, signal_group
from jobs.containment.confinement import LARGEST_FILE_BYTES, REQUIRED, Needs, Policy, Protection
from jobs.errors import BadNetwork, ChildEnded, EnvironmentFault, LayerscopeError
from jobs.events import STATUS_CANNOT_WRITE
from jobs.folder import JobFolder, take_lock
from jobs.registry import job_kind
from jobs.specs import EVERYWHERE, JobSpec, ServerPaths


@dataclass(frozen=True)
class Trial:
    """What a child said that was started to see what protects it. What torch can do is known where it was asked."""

    protections: list[Protection]
    torch: str = ""
    cuda: str | None = None
    gpus: int = 0

    @property
    def missing(self) -> list[Protection]:
        """What of that is not in force which `--sandbox require` asks for."""
        return [found for found in self.protections if found.name in REQUIRED and not found.in_force]


# A database of pictures, and what a network prints that is only tried.
LARGEST_DATABASE_BYTES = 2**44
LARGEST_SCRATCH_BYTES = 2**28
# For a child whose output has ended.
SECONDS_TO_END = 1.0
# All pictures of all layers that Test One shows are some megabytes. More must not fill the server's memory.
LARGEST_ANSWER_BYTES = 2**28


def start_worker(
    folder: JobFolder,
    spec: JobSpec,
    device: str,
    launcher: Launcher,
    ending_before: str | None = None,
    paths: ServerPaths = EVERYWHERE,
) -> ChildProcess:
    """Start the worker of a job. It inherits the job's lock, so that there is no moment in which nobody holds it.

    It is told how the worker before it ended, if that was a crash, and where what its spec names must lie. Raises
    EnvironmentFault when another worker holds the lock, or when no process can be started.
    """
    lock = take_lock(folder.lock)
    if lock is None:
        raise EnvironmentFault("Another worker is still at work on this job.")
    with lock, folder.log.open("ab") as log, Path(os.devnull).open("rb") as nothing:
        environment = child_environment(folder.path, device)
        after = (f"--after={ending_before}",) if ending_before else ()
        roots = tuple(f"--data-root={root}" for root in paths.roots)
        order = Order(
            "jobs.worker",
            (*after, *roots, str(folder.path)),
            folder.path,
            environment,
            (lock.fileno(),),
            needs_of_worker(folder, spec, device, paths),
            # A dataset job needs no torch, and starts faster without it.
            wants_torch=job_kind(spec.kind).family == "model",
        )
        return launcher.start(order, nothing.fileno(), log.fileno(), log.fileno())


def needs_of_worker(folder: JobFolder, spec: JobSpec, device: str, paths: ServerPaths) -> Needs:
    """What the worker of a job uses: its own folder, that of the dataset it learns from, and what its form names.

    Pictures may be links to other places of which forms may speak.
    """
    kind, jobs_dir = job_kind(spec.kind), folder.path.parent
    parent = spec.parent_id(jobs_dir)
    return Needs(
        reads=[*(folder.source(str(path)) for path in spec.paths()), *([jobs_dir / parent] if parent else [])],
        writes=[folder.path],
        roots=paths.roots if kind.family == "dataset" else (),
        starts_processes=kind.starts_processes,
        gpu=device.startswith("gpu"),
        largest_file=LARGEST_DATABASE_BYTES if kind.family == "dataset" else LARGEST_FILE_BYTES,
    )


def try_out(policy: Policy, scratch: Path, *arguments: str, gpu: bool = False) -> Trial:
    """What would protect a child that runs pasted code here. EnvironmentFault where no child can be started."""
    needs = Needs(writes=[scratch], gpu=gpu)
    environment = child_environment(scratch, None)
    order = Order("jobs.containment.trial", arguments, scratch, environment, needs=needs, wants_torch=False)
    with tempfile.TemporaryFile() as said, Path(os.devnull).open("rb") as nothing:
        child = Launcher(policy=policy).start(order, nothing.fileno(), said.fileno(), said.fileno())
        status = child.wait()
        said.seek(0)
        text = said.read().decode(errors="replace").strip()
    if status != 0:
        raise EnvironmentFault(child.words_before_order() or text or f"The process ended with status {status}.")
    # Libraries may have said something before.
    answer = json.loads(text.split("\n")[-1])
    return Trial(**answer | {"protections": [Protection(**protection) for protection in answer["protections"]]})


def out_of_memory_kills() -> int:
    """How many processes the kernel has killed for want of memory, in this control group or, failing that, at all."""
    for path, key in ((Path("/sys/fs/cgroup/memory.events"), "oom_kill"), (Path("/proc/vmstat"), "oom_kill")):
        if path.exists():
            counts = dict(line.split() for line in path.read_text().splitlines())
            if key in counts:
                return int(counts[key])
    return 0


def ending_in_words(returncode: int | None, killed_for_memory: bool, words_before_order: str | None = None) -> str:
    """Why a child ended that did not say so itself. No return code: it was not ours to wait for.

    `words_before_order` are what it said last when it had not even begun.
    """
    if returncode is None:
        return "The worker ended without a word while the server was away. Its log has what it said last."
    if killed_for_memory and returncode == -signal.SIGKILL:
        return "Killed by the kernel: out of memory. A smaller batch size or smaller images need less."
    # Who is killed without a word had the same fate before as later.
    if words_before_order or (words_before_order is not None and returncode >= 0):
        how = f"status {returncode}" if returncode >= 0 else f"signal {-returncode}"
        return (
            f"Its process ended with {how} before it had begun with the work. Try it again. "
            f"The process said last: {words_before_order or 'nothing.'}"
        )
    if returncode == STATUS_CANNOT_WRITE:
        return (
            "The worker could not write into its folder, and so not say why it ended: the disk is full, read-only or "
            "broken. See to it, then try again."
        )
    if returncode >= 0:
        return (
            f"The worker ended by itself with status {returncode}, without saying why. Its log has what it said last."
        )
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

    def __init__(
        self,
        launcher: Launcher,
        module: str,
        arguments: Sequence[str],
        scratch: Path,
        log: IO[bytes],
        reads: Sequence[Path] = (),
        wants_torch: bool = True,
    ) -> None:
        """It has `scratch` for its files, and may read `reads`."""
        self._out_of_memory_kills = out_of_memory_kills()
        needs = Needs(reads, [scratch], largest_file=LARGEST_SCRATCH_BYTES)
        environment = child_environment(scratch, "cpu")
        order = Order(module, tuple(arguments), scratch, environment, needs=needs, wants_torch=wants_torch)
        its_stdin, requests = os.pipe()
        answers, its_stdout = os.pipe()
        self._requests, self._answer_pipe = os.fdopen(requests, "wb"), os.fdopen(answers, "rb")
        try:
            self._process = launcher.start(order, its_stdin, its_stdout, log.fileno())
        finally:
            os.close(its_stdin)
            os.close(its_stdout)
        self._answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with self._answer_pipe:
            while (line := self._answer_pipe.readline(LARGEST_ANSWER_BYTES)).endswith(b"\n"):
                self._answers.put(line)
        # It has ended, has closed its output, or says something without an end: nothing more of it is read.
        self._answers.put(b"")

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: dict[str, Any], timeout: float) -> dict[str, Any]:
        """Send one request and wait for its answer.

        Raises EnvironmentFault, and ends the child, when it dies or takes longer than `timeout` seconds.
        """
        try:
            self._requests.write(json.dumps(request).encode() + b"\n")
            self._requests.flush()
            line = self._answers.get(timeout=timeout)
        except BrokenPipeError:
            line = b""
        except queue.Empty:
            self.end()
            raise EnvironmentFault(
                f"There was no answer within {timeout:.0f} s, so the process was ended. Does the network loop for ever?"
            ) from None
        if not line:
            returncode = self._end_that_it_has_come_to()
            killed_for_memory = out_of_memory_kills() > self._out_of_memory_kills
            words = self._process.words_before_order()
            ending = ending_in_words(returncode, killed_for_memory, words)
            # What had not begun has run nothing of the user's.
            raise ChildEnded(ending, returncode) if words is None else EnvironmentFault(ending)
        return self._answer(line)

    def _answer(self, line: bytes) -> dict[str, Any]:
        with suppress(ValueError, RecursionError):
            answer = json.loads(line)
            if isinstance(answer, dict):
                return answer
        self.end()
        raise EnvironmentFault(
            "The process said what is no answer, so it was ended. Does the network write where it has opened nothing?"
        )

    def _end_that_it_has_come_to(self) -> int:
        """How a child ended that answers no more. One that lives on all the same has seconds left for that."""
        try:
            return self._process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self.end()
            return self._process.returncode

    def kill(self) -> None:
        """Make an end of the child, from any thread: whoever asked it something learns that it ended."""
        if self.alive:
            signal_group(self._process.pid, signal.SIGKILL)

    def end(self) -> None:
        """End the child and what it started. Safe to call twice."""
        signal_group(self._process.pid, signal.SIGKILL)
        self._process.wait()
        # What could not be said to a dead child is lost with it.
        with suppress(BrokenPipeError):
            self._requests.close()


def raise_error_of(answer: dict[str, Any]) -> None:
    """Raise the error that a child met, if its answer is one."""
    error = answer.get("error")
    if error is None:
        return
    if error["type"] == BadNetwork.__name__:
        raise BadNetwork(error["message"], error.get("line"), error.get("layer"))
    raise _kinds_of(LayerscopeError).get(error["type"], LayerscopeError)(error["message"])


def _kinds_of(kind: type[LayerscopeError]) -> dict[str, type[LayerscopeError]]:
    """An error class and all below it, by name."""
    found = {kind.__name__: kind}
    for below in kind.__subclasses__():
        found |= _kinds_of(below)
    return found
