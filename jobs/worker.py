"""The process that does a job: `python -P -m jobs.worker FOLDER [DESCRIPTOR OF ITS LOCK]`.

`--after=` says how the worker before it ended, each `--data-root=` a folder that the job's spec may name, and each
`--never-whole=` one of which the job may read no more than its spec names.

It holds the job's lock while it lives, writes only inside the job's folder, and says everything through `events.jsonl`.
"""

import argparse
import io
import os
import pkgutil
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from jobs.errors import BadNetwork, LayerscopeError, ProcessKilled, StopRequested, disk_fault
from jobs.events import MOST_OF_A_LOG, STATUS_CANNOT_WRITE, EventWriter, all_events
from jobs.folder import JobFolder, paths_read_by, sign_lock, take_lock
from jobs.registry import job_kind, parse_spec
from jobs.specs import EVERYWHERE, JobSpec, ServerPaths

T = TypeVar("T")

SECONDS_BETWEEN_TRIES = 1.0


@dataclass(frozen=True)
class WorkerJob:
    """What a kind's `run` function gets: its folder, its spec, where to say things, and when to stop."""

    folder: JobFolder
    spec: JobSpec
    events: EventWriter
    stop: threading.Event = field(default_factory=threading.Event)
    # Whether another worker was at this job before, and how that ended, in words, if it did not say so itself.
    is_taken_up: bool = False
    ending_before: str = ""
    # Where what the spec names must lie, whatever a link has become since the form was sent.
    paths: ServerPaths = EVERYWHERE

    def check_stop(self) -> None:
        """Raise StopRequested when the job was asked to stop. Call it where a stop leaves nothing half done."""
        if self.stop.is_set():
            raise StopRequested

    def when_the_disk_takes_it(self, write: Callable[[], T], what: str) -> T:
        """What `write` returns, which is tried until the disk has room for it, and can be written. StopRequested when the job
        is to stop first.

        Meanwhile nothing else is done, and the page says why.
        """
        began = None
        while True:
            try:
                written = write()
            except OSError as error:
                fault = disk_fault(error)
                if fault is None:
                    raise
                if began is None:
                    began = time.monotonic()
                    free = shutil.disk_usage(self.folder.path).free
                    self.events.write("waits", reason=fault.waits.format(what=what, free=free / 1e6))
                if self.stop.wait(SECONDS_BETWEEN_TRIES):
                    text = f"The disk did not take {what}: what that would have kept is lost."
                    self.events.write("message", level="warning", text=text)
                    raise StopRequested from error
            else:
                if began is not None:
                    seconds = time.monotonic() - began
                    text = f"Waited {seconds:,.0f} s until the disk took {what}, and went on."
                    self.events.write("waits", reason=None)
                    self.events.write("message", level="warning", text=text)
                return written

    def sibling(self, job_id: str) -> JobFolder:
        """The folder of another job, to read."""
        return JobFolder(self.folder.path.parent / job_id)


def run_job(
    folder: JobFolder, lock_descriptor: int | None = None, ending_before: str = "", paths: ServerPaths = EVERYWHERE
) -> int:
    """Do the job of `folder` from its first event to its last; the exit status of the process.

    `lock_descriptor` is the job's lock, already held, that the server handed over at the start. `ending_before` says how
    the worker ended that this one comes after.
    """
    if lock_descriptor is None:
        lock = take_lock(folder.lock)
        if lock is None:
            print(f"Another worker is at work on {folder.id}.", file=sys.stderr)
            return 1
    else:
        os.set_inheritable(lock_descriptor, False)
        lock = os.fdopen(lock_descriptor, "ab")
    with lock:
        sign_lock(lock)
        return _run_locked(folder, ending_before, paths)


def _run_locked(folder: JobFolder, ending_before: str, paths: ServerPaths) -> int:
    is_taken_up = folder.events.exists()
    events = EventWriter(folder.events)
    stop = threading.Event()

    def ask_to_stop(signal_number: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, ask_to_stop)
    status = 0
    try:
        try:
            events.write("started")
            spec = parse_spec(folder.read_spec())
            read = paths_read_by(spec, folder, paths)
            _do(WorkerJob(folder, spec, events, stop, is_taken_up, ending_before, read))
        except StopRequested:
            events.write("stopped")
        except Exception as error:  # noqa: BLE001  the rim of the process: it must say why it ends
            status = 1
            _log_trace(error)
            if isinstance(error, ProcessKilled) and signal.SIGKILL in error.signals:
                # A part of the worker was killed: the whole shares its fate, so that the job is begun anew.
                os.kill(os.getpid(), signal.SIGKILL)
            events.write("failed", cause=cause_of(error), line=error.line if isinstance(error, BadNetwork) else None)
        else:
            events.write("finished")
        events.sync()
    except OSError as error:
        _log_trace(error)
        return STATUS_CANNOT_WRITE
    return status


def _do(job: WorkerJob) -> None:
    """The work itself, after what another worker has left of it: trainings go on, others begin anew."""
    kind = job_kind(job.spec.kind)
    if kind.resumes:
        # What it has learnt is worth it. Others leave nothing on the disk when they fail.
        job.events.wait_for_disk = lambda: not job.stop.wait(SECONDS_BETWEEN_TRIES)
    elif _was_finished(job.folder):
        # A list of jobs that is older than the folder did not know. To begin anew would take from jobs what they read.
        return
    elif job.is_taken_up:
        _begin_anew(job)
    run = pkgutil.resolve_name(kind.run)
    run(job)


def _was_finished(folder: JobFolder) -> bool:
    """Whether the worker before this one, which has only said that it has begun, did all of the job."""
    types = (event["type"] for event in all_events(folder.events, without=MOST_OF_A_LOG))
    return [type for type in types if type in ("started", "finished")][-2:] == ["finished", "started"]


def _begin_anew(job: WorkerJob) -> None:
    """Leave nothing of what an earlier worker made, and say that what it told is void."""
    job.folder.clear()
    job.events.write("begun_anew")
    text = f"{job.ending_before} Begun anew.".strip()
    print(text)
    job.events.write("message", level="warning", text=text)


def cause_of(error: Exception) -> str:
    """Why the job failed, for the person who made it."""
    if isinstance(error, LayerscopeError):
        return str(error)
    if isinstance(error, MemoryError):
        return "The machine has no memory left for this job."
    if fault := disk_fault(error):
        return fault.sentence
    if isinstance(error, OSError):
        return f"The job could not use a file: {error}."
    return f"This is a fault of Layerscope: {type(error).__name__}: {error}. The log has the details."


def _log_trace(error: Exception) -> None:
    # The log is on the same disk as the job: when that is full, the trace is lost, and the cause must not be.
    with suppress(OSError):
        traceback.print_exception(error)


class WorkerLog(io.FileIO):
    """An output of the process whose words are lost when its disk takes none: that must not end the job."""

    def write(self, words: Any) -> int:
        try:
            return super().write(words)
        except OSError as error:
            if disk_fault(error) is None:
                raise
            return memoryview(words).nbytes


def _log_to(descriptor: int) -> io.TextIOWrapper:
    return io.TextIOWrapper(WorkerLog(descriptor, "wb", closefd=False), "utf-8", "backslashreplace", write_through=True)


def main(arguments: Sequence[str]) -> int:
    sys.stdout, sys.stderr = _log_to(1), _log_to(2)
    parser = argparse.ArgumentParser()
    parser.add_argument("--after", default="")
    parser.add_argument("--data-root", type=Path, action="append")
    parser.add_argument("--never-whole", type=Path, action="append", default=[])
    parser.add_argument("folder", type=Path)
    parser.add_argument("lock", type=int, nargs="?")
    given = parser.parse_args(arguments)
    paths = ServerPaths(tuple(given.data_root), never_whole=given.never_whole) if given.data_root else EVERYWHERE
    return run_job(JobFolder(given.folder), given.lock, given.after, paths)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
