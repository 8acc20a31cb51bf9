"""What a crash can do to a job, and what its page says then. Real workers, really killed."""

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from jobs.datasets.generic_image import GenericImageDatasetSpec
from jobs.errors import Refused
from jobs.events import PART_BYTES, EventWriter, all_events
from jobs.folder import lock_is_held, take_lock
from jobs.kept_wishes import read_wish
from jobs.processes import KILLED_BY_KERNEL, ending_in_words
from jobs.reconciling import reconcile
from jobs.resources import DATASET_JOBS_AT_ONCE, Resources
from jobs.scheduler import Scheduler
from jobs.scheduling.endings import MOST_CRASHES_AT_ONE_PLACE
from jobs.statuses import Status, Wish
from jobs.store import Store
from tests.conftest import save_digits, until, worker_pid
from tests.crash.conftest import (
    history,
    long_job,
    no_file_can_be_opened,
    polled_until,
    short_job,
    shrink,
    start_long_job,
    wait_for,
)


def test_a_job_goes_from_initialized_to_done(scheduler: Scheduler, store: Store, digit_folders: Path) -> None:
    job_id = scheduler.submit(short_job(digit_folders))
    wait_for(scheduler, store, job_id, Status.DONE)
    assert [change.status for change in store.status_changes(job_id)] == [
        Status.INITIALIZED, Status.WAITING, Status.RUNNING, Status.DONE]  # fmt: skip
    assert store.get(job_id).summary["progress"] == 1.0


def test_a_dataset_whose_worker_is_killed_is_begun_anew_and_whole(
    scheduler: Scheduler, store: Store, tmp_path: Path
) -> None:
    pictures = save_digits(tmp_path / "pictures", 1000)
    killed = scheduler.submit(long_job(pictures))
    folder = scheduler.folder(killed)

    def has_half_a_database() -> bool:
        scheduler.poll()
        return store.get(killed).status is Status.RUNNING and (folder.path / ".train_db.tmp").exists()

    until(has_half_a_database, 60, "a database is half made")
    (folder.path / "left_by_the_first").touch()
    os.kill(worker_pid(scheduler, killed), signal.SIGKILL)
    shrink(pictures)
    job = wait_for(scheduler, store, killed, Status.DONE)
    whole = scheduler.submit(long_job(pictures))
    wait_for(scheduler, store, whole, Status.DONE)
    assert history(store, killed) == ["Initialized", "Waiting", "Running", "Waiting", "Running", "Done"]
    assert (job.cause, job.summary["progress"]) == (None, 1.0)
    (message,) = [event["text"] for event in all_events(folder.events) if event["type"] == "message"]
    assert message.startswith("Killed from outside (SIGKILL)")
    assert message.endswith("Begun anew.")
    names = {path.name for path in folder.path.iterdir()}
    assert names == {path.name for path in scheduler.folder(whole).path.iterdir()}
    assert folder.read_dataset() == scheduler.folder(whole).read_dataset()


def test_what_is_wished_of_a_dataset_outlives_its_beginning_anew(
    scheduler: Scheduler, store: Store, many_pictures: Path
) -> None:
    job_id, pid = start_long_job(scheduler, store, many_pictures)
    os.killpg(pid, signal.SIGKILL)
    # Before a round sees that it was.
    scheduler.abort(job_id)
    scheduler.folder(job_id).clear()
    assert read_wish(scheduler.folder(job_id)) is Wish.ABORT
    wait_for(scheduler, store, job_id, Status.ABORTED)


def test_a_dataset_whose_worker_is_killed_each_time_is_an_error_with_its_cause_in_words(
    scheduler: Scheduler, store: Store, many_pictures: Path
) -> None:
    job_id = scheduler.submit(long_job(many_pictures))
    for crash in range(1, 1 + MOST_CRASHES_AT_ONE_PLACE):
        polled_until(scheduler, lambda crash=crash: history(store, job_id).count("Running") == crash)
        os.killpg(worker_pid(scheduler, job_id), signal.SIGKILL)
    job = wait_for(scheduler, store, job_id, Status.ERROR)
    assert not lock_is_held(scheduler.folder(job_id).lock), "what the worker had started is gone too"
    assert job.cause is not None
    assert job.cause.startswith("Killed from outside (SIGKILL)")
    assert f"begun {MOST_CRASHES_AT_ONE_PLACE} times" in job.cause


def test_a_dataset_one_of_whose_processes_is_killed_is_begun_anew(
    scheduler: Scheduler, store: Store, many_pictures: Path
) -> None:
    """As the kernel does it for want of memory: it takes the largest."""
    job_id, pid = start_long_job(scheduler, store, many_pictures)
    one_of_many = psutil.Process(pid).children()[0]
    one_of_many.kill()
    polled_until(scheduler, lambda: history(store, job_id).count("Running") == 2)
    events = scheduler.folder(job_id).events
    polled_until(scheduler, lambda: "Begun anew" in events.read_text())
    assert "Killed from outside (SIGKILL)" in events.read_text()
    scheduler.abort(job_id)
    wait_for(scheduler, store, job_id, Status.ABORTED)


def test_a_pause_is_no_crash_though_a_long_past_has_to_be_read_first(
    scheduler: Scheduler, store: Store, jobs_dir: Path
) -> None:
    """A training has gone back, and is paused before the server has read again all that it said."""
    job_id, now = "20260101-120000-abcd", time.time()
    folder = scheduler.folder(job_id)
    folder.path.mkdir()
    store.add(job_id, "generic-image-model", "model", "LeNet", "", now - 1000, None)
    events = EventWriter(folder.events)
    while folder.events.stat().st_size < 1.5 * PART_BYTES:
        events.write("train", step=list(range(5000)), loss=[1.0] * 5000, learning_rate=[0.01] * 5000)
    store.record_events(job_id, 0, folder.events.stat().st_size, {})
    store.move(job_id, Status.INITIALIZED, Status.RUNNING, now - 10)
    events.write("started")
    events.write("resumed", step=100, epoch=1, told=100)
    scheduler.poll()
    scheduler.pause(job_id)
    events.write("stopped")
    polled_until(scheduler, lambda: store.get(job_id).status is not Status.RUNNING)
    job = store.get(job_id)
    assert (job.status, job.cause, job.event_offset) == (Status.PAUSED, None, folder.events.stat().st_size)
    assert job.summary["loss (train)"]["last"] == 1.0
    reconcile(store, jobs_dir)
    assert store.get(job_id) == job


def test_jobs_whose_workers_cannot_be_started_just_now_wait_and_are_done(
    scheduler: Scheduler, store: Store, digit_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [scheduler.submit(short_job(digit_folders)) for _ in range(3)]
    with no_file_can_be_opened():
        for _ in range(5):
            scheduler.poll()
    assert {store.get(job_id).status for job_id in ids} <= {Status.INITIALIZED, Status.WAITING}
    assert "Too many open files" in (scheduler.remark(ids[0]) or "")
    assert "tried" in (scheduler.remark(ids[0]) or "")
    assert history(store, ids[0])[1:] in ([], ["Waiting"]), "what did not begin is not told as if it had"
    monkeypatch.setattr("jobs.scheduling.waiting.SECONDS_BEFORE_NEXT_TRY", 0.0)
    scheduler._waiting._try_at = 0.0
    scheduler._queue_changed.set()
    for job_id in ids:
        assert wait_for(scheduler, store, job_id, Status.DONE).cause is None


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
    monkeypatch.setattr("jobs.scheduling.workers.STOP_GRACE_SECONDS", 0.2)
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
    assert store.get(job_id).status is Status.RUNNING
    successor = Scheduler(jobs_dir, store, Resources())
    job = wait_for(successor, store, job_id, Status.DONE)
    assert job.summary["progress"] == 1.0
    # Only the one that started the worker can take its exit status from the kernel.
    scheduler.workers.known[job_id].process.wait()  # type: ignore[union-attr]


def test_a_dataset_whose_worker_died_while_the_server_was_away_is_begun_anew(
    scheduler: Scheduler, store: Store, jobs_dir: Path, many_pictures: Path
) -> None:
    job_id, pid = start_long_job(scheduler, store, many_pictures)
    os.killpg(pid, signal.SIGKILL)
    scheduler.workers.known[job_id].process.wait()  # type: ignore[union-attr]
    successor = Scheduler(jobs_dir, store, Resources())
    events = scheduler.folder(job_id).events
    # Its message is the last that is said of it.
    polled_until(successor, lambda: "the server was started anew since" in events.read_text())
    assert any(event["type"] == "begun_anew" for event in all_events(events))
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

    def a_round_asked_for_the_running_ones_alone() -> bool:
        asked: list[str] = []
        store._connection.set_trace_callback(asked.append)
        scheduler.poll()
        store._connection.set_trace_callback(None)
        queries = [query for query in asked if query.startswith("SELECT")]
        return len(queries) == 1 and "status = 'Running'" in queries[0]

    # The jobs at work may have news in any single round.
    until(a_round_asked_for_the_running_ones_alone, 20, "a round without news asks for nothing else")
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


@pytest.mark.parametrize("line", [
    "this is no JSON", "[1, 2]", '{"type": "progress"}', '{"type": "train", "loss": 3}',
    pytest.param("\n" * 30_000, id="flood"),
])  # fmt: skip
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
    (signal.SIGKILL, KILLED_BY_KERNEL, "out of memory"),
    (signal.SIGKILL, None, "Killed from outside"),
    (signal.SIGSEGV, KILLED_BY_KERNEL, "Crashed (SIGSEGV)"),
    (signal.SIGBUS, None, "Crashed (SIGBUS)"),
    (signal.SIGUSR1, None, "User defined signal 1"),
])  # fmt: skip
def test_an_ending_is_told_in_words(number: signal.Signals, killed_for_memory: str | None, words: str) -> None:
    assert words in ending_in_words(-number, killed_for_memory)
