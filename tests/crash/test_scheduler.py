"""What a crash can do to a job, and what its page says then. Real workers, really killed."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.datasets.generic_image import GenericImageDatasetSpec
from jobs.datasets.image_classification import ImageClassificationDatasetSpec
from jobs.errors import Refused
from jobs.folder import lock_holder, lock_is_held, take_lock
from jobs.processes import ending_in_words
from jobs.resources import DATASET_JOBS_AT_ONCE, Resources
from jobs.scheduler import Scheduler
from jobs.statuses import Status
from jobs.store import JobRecord, Store
from tests.conftest import save_digits, until


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store.sqlite")


@pytest.fixture
def jobs_dir(tmp_path: Path) -> Path:
    (tmp_path / "jobs").mkdir()
    return tmp_path / "jobs"


@pytest.fixture
def scheduler(jobs_dir: Path, store: Store) -> Iterator[Scheduler]:
    """A scheduler whose rounds the test does itself."""
    scheduler = Scheduler(jobs_dir, store, Resources())
    yield scheduler
    for job in store.active():
        scheduler.abort(job.id)
    wait_for_none(scheduler, store)


def wait_for_none(scheduler: Scheduler, store: Store) -> None:
    def ended() -> bool:
        scheduler.poll()
        return not store.active()

    until(ended, 40, "no job runs any more")


def wait_for(scheduler: Scheduler, store: Store, job_id: str, *statuses: Status) -> JobRecord:
    def there() -> JobRecord | None:
        scheduler.poll()
        job = store.get(job_id)
        return job if job.status in statuses else None

    found = until(there, 60, f"{job_id} is {statuses}")
    assert found is not None
    return found


@pytest.fixture(scope="session")
def many_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough work that a worker is still at it when it is killed: every picture is enlarged to 1024×1024."""
    return save_digits(tmp_path_factory.mktemp("many"), 1500)


def long_job(folder: Path) -> ImageClassificationDatasetSpec:
    return ImageClassificationDatasetSpec(
        dataset_name="long", folder_train=str(folder), resize_width=1024, resize_height=1024
    )


def short_job(folder: Path) -> ImageClassificationDatasetSpec:
    return ImageClassificationDatasetSpec(
        dataset_name="short", folder_train=str(folder), resize_width=28, resize_height=28, resize_channels=1
    )


def start_long_job(scheduler: Scheduler, store: Store, folder: Path) -> tuple[str, int]:
    """A job whose worker is in the middle of its work, and the worker's pid."""
    job_id = scheduler.submit(long_job(folder))

    def has_progress() -> int | None:
        scheduler.poll()
        return lock_holder(scheduler.folder(job_id).lock) if store.get(job_id).summary.get("progress") else None

    pid = until(has_progress, 60, "the worker is at work")
    assert pid is not None
    return job_id, pid


def test_a_job_goes_from_initialized_to_done(scheduler: Scheduler, store: Store, digit_folders: Path) -> None:
    job_id = scheduler.submit(short_job(digit_folders))
    wait_for(scheduler, store, job_id, Status.DONE)
    assert [change.status for change in store.status_changes(job_id)] == [
        Status.INITIALIZED, Status.WAITING, Status.RUNNING, Status.DONE]  # fmt: skip
    assert store.get(job_id).summary["progress"] == 1.0


def test_a_killed_worker_is_an_error_with_its_cause_in_words(
    scheduler: Scheduler, store: Store, many_pictures: Path
) -> None:
    job_id, pid = start_long_job(scheduler, store, many_pictures)
    os.kill(pid, signal.SIGKILL)
    job = wait_for(scheduler, store, job_id, Status.ERROR)
    assert job.cause is not None
    assert "Killed from outside (SIGKILL)" in job.cause
    assert not lock_is_held(scheduler.folder(job_id).lock), "what the worker had started is gone too"


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


def test_a_worker_that_died_while_the_server_was_away_is_an_error(
    scheduler: Scheduler, store: Store, jobs_dir: Path, many_pictures: Path
) -> None:
    job_id, pid = start_long_job(scheduler, store, many_pictures)
    os.killpg(pid, signal.SIGKILL)
    scheduler._children[job_id].process.wait()  # type: ignore[union-attr]
    successor = Scheduler(jobs_dir, store, Resources())
    job = wait_for(successor, store, job_id, Status.ERROR)
    assert "while the server was away" in (job.cause or "")


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
    assert all("is at work" in (scheduler.waits_for(job_id) or "") for job_id in waiting[3:])
    for job_id in waiting[3:]:
        scheduler.abort(job_id)
        assert scheduler.waits_for(job_id) is None


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


def test_what_a_dead_server_left_half_made_is_removed(scheduler: Scheduler, store: Store, jobs_dir: Path) -> None:
    for name in (".20200101-000000-0000.new", ".20200101-000000-0001.deleted"):
        (jobs_dir / name).mkdir()
        (jobs_dir / name / "spec.json").touch()
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
