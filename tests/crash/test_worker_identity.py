"""Workers that a server did not start: whom it signals, and what it says of one that is stopped."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from jobs.folder import lock_is_held
from jobs.memory_watch import MemoryWatch
from jobs.resources import Resources
from jobs.scheduler import Scheduler
from jobs.statuses import Status
from jobs.store import Store
from jobs.worker_identity import WorkerIdentity
from tests.conftest import until
from tests.crash.conftest import no_file_can_be_opened, polled_until, start_long_job, wait_for


def test_a_worker_that_is_stopped_is_told_of_and_goes_on(
    scheduler: Scheduler, store: Store, many_pictures: Path
) -> None:
    job_id, pid = start_long_job(scheduler, store, many_pictures)
    os.killpg(pid, signal.SIGSTOP)
    polled_until(scheduler, lambda: "stopped from outside (SIGSTOP)" in (scheduler.remark(job_id) or ""))
    assert store.get(job_id).status is Status.RUNNING
    os.killpg(pid, signal.SIGCONT)
    polled_until(scheduler, lambda: scheduler.remark(job_id) is None)


def test_no_stranger_is_signalled_though_the_lock_file_names_him(
    scheduler: Scheduler, store: Store, jobs_dir: Path, many_pictures: Path
) -> None:
    job_id, _pid = start_long_job(scheduler, store, many_pictures)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True) as stranger:
        scheduler.folder(job_id).lock.write_text(str(stranger.pid))
        successor = Scheduler(jobs_dir, store, Resources())
        successor.poll()
        successor.abort(job_id)
        successor.poll()
        scheduler.workers.known[job_id].process.wait(60)  # type: ignore[union-attr]
        wait_for(successor, store, job_id, Status.ABORTED)
        assert stranger.poll() is None
        stranger.communicate(b"\n")


def test_a_worker_whose_server_died_before_it_could_note_it_is_found_by_its_lock(
    scheduler: Scheduler, store: Store, jobs_dir: Path, many_pictures: Path
) -> None:
    job_id, _pid = start_long_job(scheduler, store, many_pictures)
    store._connection.execute("UPDATE jobs SET worker = NULL")
    successor = Scheduler(jobs_dir, store, Resources())
    successor.poll()
    assert successor.workers.known[job_id].identity == scheduler.workers.known[job_id].identity
    successor.abort(job_id)
    successor.poll()
    scheduler.workers.known[job_id].process.wait(60)  # type: ignore[union-attr]
    wait_for(successor, store, job_id, Status.ABORTED)


def test_a_worker_that_lets_go_of_its_lock_is_not_joined_by_another(
    scheduler: Scheduler, store: Store, jobs_dir: Path, many_pictures: Path
) -> None:
    job_id, pid = start_long_job(scheduler, store, many_pictures)
    os.killpg(pid, signal.SIGSTOP)
    # As if pasted code had unlocked it: the lock's file is another one now, which nobody holds.
    scheduler.folder(job_id).lock.unlink()
    scheduler.folder(job_id).lock.touch()
    assert not lock_is_held(scheduler.folder(job_id).lock)
    successor = Scheduler(jobs_dir, store, Resources())
    for _ in range(3):
        successor.poll()
    assert store.get(job_id).status is Status.RUNNING
    assert successor.workers.known[job_id].identity == scheduler.workers.known[job_id].identity
    os.killpg(pid, signal.SIGCONT)


def test_who_cannot_be_looked_at_just_now_is_not_taken_for_gone() -> None:
    """A server with too many files open sees nothing of any process."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True) as child:
        identity, watch = WorkerIdentity.of(child.pid), MemoryWatch()
        assert identity is not None
        watch.add(identity)
        with no_file_can_be_opened():
            assert WorkerIdentity.of_child(child.pid) is None
            assert watch._look(), "it is watched on"
        assert identity.facts() is not None
        child.communicate(b"\n")
    until(lambda: not watch._look(), 60, "it has ended")
