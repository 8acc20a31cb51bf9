"""The process that does a job: `python -P -m jobs.worker FOLDER [DESCRIPTOR OF ITS LOCK]`.

It holds the job's lock while it lives, writes only inside the job's folder, and says everything through `events.jsonl`.
"""

import os
import pkgutil
import signal
import sys
import threading
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from jobs.errors import BadNetwork, LayerscopeError, StopRequested
from jobs.events import EventWriter
from jobs.folder import JobFolder, sign_lock, take_lock
from jobs.registry import job_kind, parse_spec
from jobs.specs import JobSpec


@dataclass(frozen=True)
class WorkerJob:
    """What a kind's `run` function gets: its folder, its spec, where to say things, and when to stop."""

    folder: JobFolder
    spec: JobSpec
    events: EventWriter
    stop: threading.Event = field(default_factory=threading.Event)

    def check_stop(self) -> None:
        """Raise StopRequested when the job was asked to stop. Call it where a stop leaves nothing half done."""
        if self.stop.is_set():
            raise StopRequested

    def sibling(self, job_id: str) -> JobFolder:
        """The folder of another job, to read."""
        return JobFolder(self.folder.path.parent / job_id)


def run_job(folder: JobFolder, lock_descriptor: int | None = None) -> int:
    """Do the job of `folder` from its first event to its last; the exit status of the process.

    `lock_descriptor` is the job's lock, already held, that the server handed over at the start.
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
        return _run_locked(folder)


def _run_locked(folder: JobFolder) -> int:
    events = EventWriter(folder.events)
    stop = threading.Event()

    def ask_to_stop(signal_number: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, ask_to_stop)
    events.write("started")
    try:
        spec = parse_spec(folder.read_spec())
        run = pkgutil.resolve_name(job_kind(spec.kind).run)
        run(WorkerJob(folder, spec, events, stop))
    except StopRequested:
        events.write("stopped")
    except LayerscopeError as error:
        print(traceback.format_exc(), file=sys.stderr)
        line = error.line if isinstance(error, BadNetwork) else None
        events.write("failed", cause=str(error), line=line)
        return 1
    except MemoryError:
        print(traceback.format_exc(), file=sys.stderr)
        events.write("failed", cause="The machine has no memory left for this job.", line=None)
        return 1
    except OSError as error:
        print(traceback.format_exc(), file=sys.stderr)
        events.write("failed", cause=f"The job could not use a file: {error}.", line=None)
        return 1
    except Exception as error:  # noqa: BLE001  the rim of the process: it must say why it ends
        print(traceback.format_exc(), file=sys.stderr)
        cause = f"This is a fault of Layerscope: {type(error).__name__}: {error}. The log has the details."
        events.write("failed", cause=cause, line=None)
        return 1
    else:
        events.write("finished")
    finally:
        events.sync()
    return 0


if __name__ == "__main__":
    sys.exit(run_job(JobFolder(Path(sys.argv[1])), *map(int, sys.argv[2:])))
