"""What a crash can do to a job, and what its page says then. Real workers, really killed."""

import os
import signal
from pathlib import Path

import pytest

from jobs.datasets.generic_image import GenericImageDatasetSpec
from jobs.errors import Refused
from jobs.events import all_events
from jobs.folder import lock_is_held, take_lock
from jobs.processes import ending_in_words
from jobs.resources import DATASET_JOBS_AT_ONCE, Resources
from jobs.scheduler import MOST_CRASHES_AT_ONE_PLACE, Scheduler
from jobs.statuses import Status
from jobs.store import Store
from tests.conftest import until, worker_pid
from tests.crash.conftest import history, long_job, polled_until, short_job, start_long_job, wait_for


def test_a_job_goes_from_initialized_to_done(scheduler: Scheduler, store: Store, digit_folders: Path) -> None:
    job_id = scheduler.submit(short_job(digit_folders))
    wait_for(scheduler, store, job_id, Status.DONE)
    assert [change.status for change in store.status_changes(job_id)] == [
        Status.INITIALIZED, Status.WAITING, Status.RUNNING, Status.DONE]  # fmt: skip
    assert store.get(job_id).summary["progress"] == 1.0


def test_a_dataset_whose_worker_is_killed_is_begun_anew_and_whole(
    scheduler: Scheduler, store: Store, many_pictures: Path
) -> None:
    spec = short_job(many_pictures).model_copy(update={"resize_width": 96, "resize_height": 96})
    whole = scheduler.submit(spec)
    wait_for(scheduler, store, whole, Status.DONE)
    killed = scheduler.submit(spec)
    folder = scheduler.folder(killed)

    def has_half_a_database() -> bool:
        scheduler.poll()
        return store.get(killed).status is Status.RUNNING and (folder.path / ".train_db.tmp").exists()

    until(has_half_a_database, 60, "a database is half made")
    (folder.path / "left_by_the_first").touch()
    os.kill(worker_pid(scheduler, killed), signal.SIGKILL)
    job = wait_for(scheduler, store, killed, Status.DONE)
    assert history(store, killed) == ["Initialized", "Waiting", "Running", "Waiting", "Running", "Done"]
    assert (job.cause, job.summary["progress"]) == (None, 1.0)
    (message,) = [event["text"] for event in all_events(folder.events) if event["type"] == "message"]
    assert message.startswith("Killed from outside (SIGKILL)")
    assert message.endswith("Begun anew.")
    names = {path.name for path in folder.path.iterdir()}
    assert names == {path.name for path in scheduler.folder(whole).path.iterdir()}
    assert folder.read_dataset() == scheduler.folder(whole).read_dataset()


def test_a_dataset_whose_worker_is_killed_each_time_is_an_error_with_its_cause_in_words(
    scheduler: Scheduler, store: Store, many_pictures: Path
) -> None:
    job_id = scheduler.submit(long_job(many_pictures))
    for time in range(1, 2 + MOST_CRASHES_AT_ONE_PLACE):
        polled_until(scheduler, lambda time=time: history(store, job_id).count("Running") == time)
        os.killpg(worker_pid(scheduler, job_id), signal.SIGKILL)
    job = wait_for(scheduler, store, job_id, Status.ERROR)
    assert not lock_is_held(scheduler.folder(job_id).lock), "what the worker had started is gone too"
    assert job.cause is not None
    assert job.cause.startswith("Killed from outside (SIGKILL)")
    assert f"begun anew {MOST_CRASHES_AT_ONE_PLACE} times" in job.cause


def test_an_aborted_dataset_leaves_no_half_database(scheduler: Scheduler, store: Store, many_pictures: Path) -> None:
    job_id, _ = start_long_job(scheduler, store, many_pictures)
    scheduler.abort(job_id)
    job = wait_for(scheduler, store, job_id, Status.ABORTED)
    assert job.cause is None
    kept = {path.name for path in scheduler.folder(job_id).path.iterdir() if not path.name.startswith(".")}
    assert not kept & {"train_db", "mean.binaryproto", "dataset.json"}


def test_a_worker_that_ignores_the_request_to_stop_is_ended_by_force(
    scheduler: Scheduler, store: Store, many_pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.scheduler.STOP_GRACE_SECONDS", 0.2)
    job_id, pid = start_long_job(scheduler, store, many_pictures)
    os.kill(pid, signal.SIGSTOP)
    scheduler.abort(job_id)
    job = wait_for(scheduler, store, job_id, Status.ABORTED)
    assert "ended by force" in (job.cause or "")


def test_a_restarted_server_takes_up_a_worker_that_it_did_not_start(
    scheduler: Scheduler, store: Store, jobs_dir: Path, many_pictures: Path, digit_folders: Path
) -> None:
    job_id = scheduler.submit(short_job(digit_folders))
    scheduler.poll()
    scheduler.poll()
    assert store.get(job_id).status is Status.RUNNING
    successor = Scheduler(jobs_dir, store, Resources())
    job = wait_for(successor, store, job_id, Status.DONE)
    assert job.summary["progress"] == 1.0
    # Only the one that started the worker can take its exit status from the kernel.
    scheduler._children[job_id].process.wait()  # type: ignore[union-attr]


def test_a_dataset_whose_worker_died_while_the_server_was_away_is_begun_anew(
    scheduler: Scheduler, store: Store, jobs_dir: Path, many_pictures: Path
) -> None:
    job_id, pid = start_long_job(scheduler, store, many_pictures)
    os.killpg(pid, signal.SIGKILL)
    scheduler._children[job_id].process.wait()  # type: ignore[union-attr]
    successor = Scheduler(jobs_dir, store, Resources())
    events = scheduler.folder(job_id).events
    polled_until(successor, lambda: any(event["type"] == "begun_anew" for event in all_events(events)))
    assert "while the server was away" in events.read_text()
    successor.abort(job_id)
    wait_for(successor, store, job_id, Status.ABORTED)


def test_a_job_is_never_written_by_two_workers(scheduler: Scheduler, store: Store, digit_folders: Path) -> None:
    job_id = scheduler.submit(short_job(digit_folders))
    lock = take_lock(scheduler.folder(job_id).lock)
    assert lock is not None
    with lock:
        job = wait_for(scheduler, store, job_id, Status.ERROR)
    assert "Another worker" in (job.cause or "")


def test_a_running_dataset_that_others_read_is_neither_stopped_nor_deleted(
    scheduler: Scheduler, store: Store, many_pictures: Path
) -> None:
    job_id = scheduler.submit(long_job(many_pictures))
    images = scheduler.folder(job_id).path / "train_db"
    reader = scheduler.submit(GenericImageDatasetSpec(dataset_name="reader", prebuilt_train_images=str(images)))
    wait_for(scheduler, store, job_id, Status.RUNNING)
    for ask in (lambda: scheduler.abort(job_id, to_delete=True), lambda: scheduler.delete(job_id)):
        with pytest.raises(Refused, match='"long" because 1 job depends on it: "reader"'):
            ask()
    scheduler.poll()
    assert store.get(job_id).status is Status.RUNNING
    assert store.get(reader).status.is_running
    scheduler.abort(reader)
    scheduler.delete(reader)
    scheduler.abort(job_id, to_delete=True)
    wait_for(scheduler, store, job_id, Status.ABORTED)
    scheduler.delete(job_id)


def test_a_waiting_job_is_aborted_at_once(scheduler: Scheduler, store: Store, digit_folders: Path) -> None:
    job_id = scheduler.submit(short_job(digit_folders))
    scheduler.abort(job_id)
    assert store.get(job_id).status is Status.ABORTED
    with pytest.raises(Refused):
        scheduler.abort(job_id)


def test_a_running_job_cannot_be_deleted_and_a_finished_one_leaves_nothing(
    scheduler: Scheduler, store: Store, jobs_dir: Path, digit_folders: Path
) -> None:
    job_id = scheduler.submit(short_job(digit_folders))
    with pytest.raises(Refused, match="while it runs"):
        scheduler.delete(job_id)
    wait_for(scheduler, store, job_id, Status.DONE)
    scheduler.delete(job_id)
    assert list(jobs_dir.iterdir()) == []


def test_a_round_without_news_reads_none_of_the_jobs_that_wait(
    scheduler: Scheduler, store: Store, many_pictures: Path
) -> None:
    waiting = [scheduler.submit(long_job(many_pictures)) for _ in range(10)]
    for _ in range(3):
        scheduler.poll()
    assert sum(store.get(job_id).status is Status.WAITING for job_id in waiting) == 10 - DATASET_JOBS_AT_ONCE
    asked: list[str] = []
    store._connection.set_trace_callback(asked.append)
    scheduler.poll()
    store._connection.set_trace_callback(None)
    assert [query for query in asked if query.startswith("SELECT")] == [asked[0]]
    assert "status = 'Running'" in asked[0]
    # The third takes the place of one that ended, and the others are told for whom they wait now.
    scheduler.abort(waiting[0])
    wait_for(scheduler, store, waiting[0], Status.ABORTED)
    wait_for(scheduler, store, waiting[2], Status.RUNNING)
    scheduler.poll()
    assert all("is at work" in (scheduler.remark(job_id) or "") for job_id in waiting[3:])
    for job_id in waiting[3:]:
        scheduler.abort(job_id)
        assert scheduler.remark(job_id) is None


def test_a_fault_in_a_listener_stops_nothing(scheduler: Scheduler, store: Store, digit_folders: Path) -> None:
    def broken(job_id: str, what: str) -> None:
        raise ValueError(what)

    scheduler.listeners.changes.append(broken)
    wait_for(scheduler, store, scheduler.submit(short_job(digit_folders)), Status.DONE)


def test_an_abort_at_the_moment_of_the_start_is_not_lost(
    scheduler: Scheduler, store: Store, many_pictures: Path
) -> None:
    job_id = scheduler.submit(long_job(many_pictures))

    def abort_at_once(about: str, what: str) -> None:
        if what == "status" and store.get(job_id).status is Status.RUNNING:
            scheduler.listeners.changes.remove(abort_at_once)
            scheduler.abort(job_id)

    scheduler.listeners.changes.append(abort_at_once)
    assert wait_for(scheduler, store, job_id, Status.ABORTED, Status.DONE).status is Status.ABORTED


@pytest.mark.parametrize("line", ["this is no JSON", "[1, 2]", '{"type": "progress"}', '{"type": "train", "loss": 3}'])
def test_a_strange_event_does_not_keep_a_job_from_ending(
    scheduler: Scheduler, store: Store, digit_folders: Path, line: str
) -> None:
    job_id = scheduler.submit(short_job(digit_folders))
    scheduler.folder(job_id).events.write_text(f"{line}\n")
    job = wait_for(scheduler, store, job_id, Status.DONE)
    assert job.summary["progress"] == 1.0, "what came after it counts"


def test_a_lock_that_pasted_code_made_a_folder_of_keeps_no_job_from_ending(
    scheduler: Scheduler, store: Store, digit_folders: Path
) -> None:
    job_id = scheduler.submit(short_job(digit_folders))
    scheduler.folder(job_id).lock.mkdir()
    assert "could not start" in (wait_for(scheduler, store, job_id, Status.ERROR).cause or "")


def test_a_spec_that_cannot_be_read_ends_its_job_and_keeps_no_other_waiting(
    scheduler: Scheduler, store: Store, digit_folders: Path
) -> None:
    spoilt, good = (scheduler.submit(short_job(digit_folders)) for _ in range(2))
    scheduler.folder(spoilt).spec.write_text("[")
    assert "spec.json" in (wait_for(scheduler, store, spoilt, Status.ERROR).cause or "")
    wait_for(scheduler, store, good, Status.DONE)


def test_what_a_dead_server_left_half_made_is_removed(scheduler: Scheduler, store: Store, jobs_dir: Path) -> None:
    for name in (".20200101-000000-0000.new", ".20200101-000000-0001.deleted"):
        (jobs_dir / name).mkdir()
        (jobs_dir / name / "spec.json").touch()
    successor = Scheduler(jobs_dir, store, Resources())
    successor.start()
    successor.close()
    assert list(jobs_dir.iterdir()) == []


def test_folders_nested_without_end_are_counted_and_removed_and_stop_no_server(
    scheduler: Scheduler, store: Store, jobs_dir: Path, digit_folders: Path
) -> None:
    """As pasted code may leave them: deeper than Python's functions and the system's paths go."""
    job_id = scheduler.submit(short_job(digit_folders))
    scheduler.abort(job_id)
    left_over = jobs_dir / ".20200101-000000-0001.deleted"
    left_over.mkdir()
    for folder in (scheduler.folder(job_id).path, left_over):
        place = os.open(folder, os.O_RDONLY)
        for _ in range(1100):
            os.mkdir("deeper", dir_fd=place)
            inside = os.open("deeper", os.O_RDONLY, dir_fd=place)
            os.close(place)
            place = inside
        os.close(place)
    assert scheduler.folder(job_id).size_bytes() > 0
    scheduler.delete(job_id)
    successor = Scheduler(jobs_dir, store, Resources())
    successor.start()
    successor.close()
    assert list(jobs_dir.iterdir()) == []


@pytest.mark.parametrize(("number", "killed_for_memory", "words"), [
    (signal.SIGKILL, True, "out of memory"),
    (signal.SIGKILL, False, "Killed from outside"),
    (signal.SIGSEGV, True, "Crashed (SIGSEGV)"),
    (signal.SIGBUS, False, "Crashed (SIGBUS)"),
    (signal.SIGUSR1, False, "User defined signal 1"),
])  # fmt: skip
def test_an_ending_is_told_in_words(number: signal.Signals, killed_for_memory: bool, words: str) -> None:
    assert words in ending_in_words(-number, killed_for_memory)
