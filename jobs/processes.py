"""Workers, and children that answer questions; and in words how they ended."""

import itertools
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from jobs.answers import AnswerLimits, AnswerPipes, NoAnswerInTime
from jobs.children import ChildProcess, Launcher, child_environment
from jobs.containment.confinement import LARGEST_FILE_BYTES, REQUIRED, Needs, Policy, Protection
from jobs.errors import TOLD_BY_CHILDREN, BadNetwork, ChildEnded, EnvironmentFault, LayerscopeError
from jobs.events import STATUS_CANNOT_WRITE, read_json
from jobs.folder import JobFolder, paths_read_by, take_lock
from jobs.orders import Order
from jobs.plain_files import write_plain
from jobs.registry import job_kind
from jobs.specs import EVERYWHERE, JobSpec, ServerPaths
from jobs.worker_identity import WorkerIdentity, signal_group


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
# For a child whose output has ended. Python with torch in it takes a while to end where the cores are busy.
SECONDS_TO_END = 8.0


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
    with lock, write_plain(folder.log, "ab") as log, Path(os.devnull).open("rb") as nothing:
        environment = child_environment(folder.path, device)
        after = (f"--after={ending_before}",) if ending_before else ()
        roots = [f"--data-root={root}" for root in paths.roots]
        roots += [f"--never-whole={folder}" for folder in paths.never_whole]
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

    Pictures may be links to other places of which forms may speak, but for those in which jobs and uploads lie.
    """
    kind, jobs_dir = job_kind(spec.kind), folder.path.parent
    parent, readable = spec.parent_id(jobs_dir), paths_read_by(spec, folder, paths)
    # What was named may have become a link into another job since then.
    named = [path for path in (folder.source(str(path)) for path in spec.paths()) if readable.allows(path)]
    return Needs(
        reads=[*named, *([jobs_dir / parent] if parent else [])],
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


KILLED_BY_KERNEL = "Killed by the kernel: out of memory. A smaller batch size or smaller images need less."
KILLED_BY_WATCH = (
    "Ended because it held more memory than it may (--memory-limit), by ways that keep the system from counting it. "
    "Its network has to do without those."
)


def killed_for_memory(launcher: Launcher, child: WorkerIdentity | None, kills_before: int) -> str | None:
    """In words who has killed a child for its memory, if anybody has; `kills_before` is how often the kernel had when it
    began."""
    if launcher.memory_watch.has_ended(child):
        return KILLED_BY_WATCH
    return KILLED_BY_KERNEL if out_of_memory_kills() > kills_before else None


def ending_in_words(
    returncode: int | None, killed_for_memory: str | None, words_before_order: str | None = None
) -> str:
    """Why a child ended that did not say so itself. No return code: it was not ours to wait for.

    `killed_for_memory` says who has killed something for its memory meanwhile, if anybody has; `words_before_order` are
    what the child said last when it had not even begun.
    """
    if killed_for_memory and returncode in (None, -signal.SIGKILL):
        return killed_for_memory
    if returncode is None:
        return (
            "The worker ended without a word. How is not known, because the server was started anew since. "
            "Its log has what it said last."
        )
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
            f"The worker ended by itself with status {returncode}, without saying why. Its log has what it said last. "
            "Where the network's text ends the process, as os._exit does, leave that out."
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

    Not thread-safe but for `kill` and `end`: whoever shares one takes turns.
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
        self._launcher = launcher
        self._out_of_memory_kills = out_of_memory_kills()
        needs = Needs(reads, [scratch], largest_file=LARGEST_SCRATCH_BYTES)
        environment = child_environment(scratch, "cpu")
        order = Order(module, tuple(arguments), scratch, environment, needs=needs, wants_torch=wants_torch)
        self._numbers = itertools.count(1)
        # Who ends it closes the pipes, and nobody may be waiting at them then.
        self._asking = threading.RLock()
        self._pipes: AnswerPipes | None = AnswerPipes()
        try:
            self._process = launcher.start(order, self._pipes.its_stdin, self._pipes.its_stdout, log.fileno())
        except BaseException:
            self._pipes.close()
            raise
        finally:
            self._pipes.close_its_ends()
        self._identity = WorkerIdentity.of(self._process.pid)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: dict[str, Any], timeout: float, limits: AnswerLimits) -> dict[str, Any]:
        """Send one request and wait for its answer.

        Raises EnvironmentFault, and ends the child, when it dies, takes longer than `timeout` seconds, or says anything but
        one answer to that within the limits.
        """
        number = next(self._numbers)
        with self._asking:
            try:
                line = self._line_for({**request, "id": number}, timeout, limits)
                if line:
                    return _answer_in(line, number, limits)
            except NoAnswerInTime:
                self.end()
                raise EnvironmentFault(
                    f"There was no answer within {timeout:.0f} s, so the process was ended. Does the network loop for ever?"
                ) from None
            except EnvironmentFault:
                self.end()
                raise
            returncode = self._end_that_it_has_come_to()
        killer = killed_for_memory(self._launcher, self._identity, self._out_of_memory_kills)
        words = self._process.words_before_order()
        ending = ending_in_words(returncode, killer, words)
        # What had not begun has run nothing of the user's.
        raise ChildEnded(ending, returncode) if words is None else EnvironmentFault(ending)

    def _line_for(self, request: dict[str, Any], timeout: float, limits: AnswerLimits) -> bytes:
        """Empty where it has ended, by itself or because somebody wished so."""
        if self._pipes is None:
            return b""
        return self._pipes.ask(json.dumps(request).encode() + b"\n", time.monotonic() + timeout, limits)

    def _end_that_it_has_come_to(self) -> int:
        """How a child ended that answers no more. EnvironmentFault for one that had to be ended."""
        try:
            return self._process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self.end()
            raise EnvironmentFault(
                "The process closed its output without an answer and went on, so it was ended. Does the network close "
                "what it has not opened?"
            ) from None

    def kill(self) -> None:
        """Make an end of the child, from any thread: whoever asked it something learns that it ended."""
        if self.alive:
            signal_group(self._process.pid, signal.SIGKILL)

    def end(self) -> None:
        """End the child and what it started. Safe to call twice."""
        signal_group(self._process.pid, signal.SIGKILL)
        self._process.wait()
        # Whoever waits for an answer has heard now that none comes.
        with self._asking:
            if self._pipes is not None:
                self._pipes.close()
                self._pipes = None


def _answer_in(line: bytes, number: int, limits: AnswerLimits) -> dict[str, Any]:
    """What a child answered to the question of this number. EnvironmentFault where the line is something else."""
    limits.check_values(line)
    with suppress(ValueError, RecursionError):
        answer = read_json(line)
        if isinstance(answer, dict) and answer.pop("id", None) == number:
            return answer
    raise EnvironmentFault(
        "The process said what is no answer to what it was asked, so it was ended. Does the network write where it has "
        "opened nothing?"
    )


def part_of(answer: dict[str, Any], name: str) -> Any:
    """What a child was asked for; raises the error that it met instead, or EnvironmentFault where it says neither."""
    raise_error_of(answer)
    if name not in answer:
        raise EnvironmentFault(f"The process answered without what it was asked for, the {name}.")
    return answer[name]


def raise_error_of(answer: dict[str, Any]) -> None:
    """Raise the error that a child met, if its answer is one."""
    error = answer.get("error")
    if error is None:
        return
    told = error if isinstance(error, dict) else {"message": error}
    name, message = str(told.get("type")), str(told.get("message"))
    if name == BadNetwork.__name__:
        raise BadNetwork(message, told.get("line"), told.get("layer"))
    raise TOLD_BY_CHILDREN.get(name, LayerscopeError)(message)
