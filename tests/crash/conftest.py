"""A scheduler whose rounds the test does itself, real workers, and datasets that take as long as a test needs."""

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from jobs.backup import Part, back_up, restore
from jobs.datasets.image_classification import ImageClassificationDatasetSpec
from jobs.events import all_events
from jobs.folder import JobFolder
from jobs.rebuilding import open_store
from jobs.resources import Resources
from jobs.scheduler import Scheduler
from jobs.statuses import Status
from jobs.store import JobRecord, Store
from tests.conftest import save_digits, until, worker_pid
from tests.unit.digits_jobs import DATASET, make_dataset


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


def store_with_dataset(jobs_dir: Path) -> Store:
    """A list of jobs in their folder, with the dataset of tests/unit/digits_jobs.py, which is done."""
    make_dataset(jobs_dir)
    store = Store(jobs_dir / "store.sqlite")
    store.add(DATASET, "generic-image-dataset", "dataset", "Digits", "", 1.0, None)
    for before, after in pairwise((Status.INITIALIZED, Status.WAITING, Status.RUNNING, Status.DONE)):
        assert store.move(DATASET, before, after, 2.0)
    return store


def wait_for_none(scheduler: Scheduler, store: Store) -> None:
    def ended() -> bool:
        scheduler.poll()
        return not store.active()

    until(ended, 40, "no job runs any more")


def polled_until(scheduler: Scheduler, look: Callable[[], object]) -> None:
    def seen() -> object:
        scheduler.poll()
        return look()

    until(seen, 60)


def copy_of(database: Path) -> Path:
    """A copy of the list of jobs, as `layerscope backup` makes it."""
    back_up((Part(database, "jobs"),), database.parent / "copy.zip")
    return database.parent / "copy.zip"


def put_back(copy: Path, jobs_dir: Path) -> Store:
    """The list of jobs as the next server opens it when the copy was put in its place."""
    (copy.parent / "put back").mkdir()
    older = Part(copy.parent / "put back" / "store.sqlite", "jobs")
    restore(copy, (older,))
    return open_store(older.database, jobs_dir)


def seconds_at_work(folder: JobFolder) -> float:
    """Between the first and the last word of each worker of the job. It takes longer to start and to end one."""
    runs: list[list[float]] = []
    for event in all_events(folder.events):
        if event["type"] == "started":
            runs.append([])
        runs[-1].append(event["time"])
    return sum(run[-1] - run[0] for run in runs)


def history(store: Store, job_id: str) -> list[str]:
    return [change.status.value for change in store.status_changes(job_id)]


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


@contextmanager
def no_file_can_be_opened() -> Iterator[None]:
    """As on a machine on which too much is open: nor can a process be started."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def shrink(folder: Path, left: int = 5) -> None:
    """Take most pictures out of class folders: who is still at them is done soon."""
    for pictures in folder.iterdir():
        for picture in sorted(pictures.iterdir())[left:]:
            picture.unlink()


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
        return worker_pid(scheduler, job_id) if store.get(job_id).summary.get("progress") else None

    pid = until(has_progress, 60, "the worker is at work")
    assert pid is not None
    return job_id, pid
