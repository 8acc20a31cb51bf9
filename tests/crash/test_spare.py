"""The process that waits with torch imported, and what happens when it is not there any more."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from jobs.children import Launcher, child_environment
from jobs.errors import EnvironmentFault
from jobs.folder import lock_is_held
from jobs.models.generic_image import GenericImageModelSpec
from jobs.networks.starter import starter_network
from jobs.orders import Order
from jobs.predictions import NetworkChecks
from jobs.processes import start_worker
from jobs.resources import Resources
from jobs.scheduler import Scheduler
from jobs.statuses import Status
from jobs.store import JobRecord, Store
from tests.conftest import start_server, until
from tests.unit.digits_jobs import DATASET, events_of, make_dataset, model_job

# It imports in time that nobody else wants.
pytestmark = pytest.mark.alone


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Launcher]:
    launcher = Launcher(tmp_path / "spare")
    yield launcher
    launcher.close()


def waiting(parent: int, scratch: Path) -> list[psutil.Process]:
    """The spares of a process that are ready for their order: in their own folder, with torch in memory, and with no
    thread any more that imports.
    """
    found = []
    for child in psutil.Process(parent).children():
        # One that has become a worker may end while we look.
        with suppress(psutil.NoSuchProcess):
            with_torch = any("libtorch" in part.path for part in child.memory_maps())
            if Path(child.cwd()) == scratch and with_torch and os.SCHED_IDLE not in policies(child):
                found.append(child)
    return found


def policies(process: psutil.Process) -> set[int]:
    """By which the system gives its threads time."""
    found = set()
    for thread in process.threads():
        # One that has imported may end while we look.
        with suppress(ProcessLookupError):
            found.add(os.sched_getscheduler(thread.id))
    return found


def one_spare(parent: int, scratch: Path, launcher: Launcher | None = None) -> psutil.Process:
    """The spare of a process; of this one, by a launcher, which has been told by it that it waits."""
    spare = until(lambda: waiting(parent, scratch), 60, "a spare waits")[0]
    if launcher is not None:
        until(lambda: launcher._spare is not None and not launcher._spare.is_importing(), 60, "it says so")
    return spare


def test_a_spare_becomes_the_worker_and_another_takes_its_place(tmp_path: Path, launcher: Launcher) -> None:
    make_dataset(tmp_path)
    job = model_job(tmp_path, train_epochs=1)
    launcher.prepare()
    spare = one_spare(os.getpid(), tmp_path / "spare", launcher)
    worker = start_worker(job.folder, job.spec, "cpu", launcher)
    assert worker.pid == spare.pid
    assert lock_is_held(job.folder.lock)
    assert worker.wait(60) == 0
    successor = one_spare(os.getpid(), tmp_path / "spare", launcher)
    assert successor.pid != spare.pid
    assert events_of(job, "finished")
    assert "Network definition" in job.folder.log.read_text()
    launcher.close()
    assert not successor.is_running()


def test_a_child_of_a_spare_knows_only_what_it_was_told(
    tmp_path: Path, launcher: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "of the server")
    launcher.prepare()
    one_spare(os.getpid(), tmp_path / "spare", launcher)
    job = model_job(tmp_path)
    environment = child_environment(job.folder.path, "cpu")
    worker = start_worker(job.folder, job.spec, "cpu", launcher)
    process = psutil.Process(worker.pid)
    # The dataset is missing: the worker says so and ends. Its first environment is the spare's, and holds no secret either.
    assert "SECRET" not in process.environ()
    assert "SECRET" not in environment
    assert worker.wait(60) == 1
    assert worker.words_before_order() is None, "it had begun"
    assert "is not there" in events_of(job, "failed")[0]["cause"]


def test_without_a_spare_a_child_starts_from_nothing(tmp_path: Path, launcher: Launcher) -> None:
    make_dataset(tmp_path)
    job = model_job(tmp_path, train_epochs=1)
    assert start_worker(job.folder, job.spec, "cpu", launcher).wait(60) == 0
    assert events_of(job, "finished")


def test_a_spare_that_was_killed_is_not_missed(tmp_path: Path, launcher: Launcher) -> None:
    make_dataset(tmp_path)
    job = model_job(tmp_path, train_epochs=1)
    launcher.prepare()
    spare = one_spare(os.getpid(), tmp_path / "spare", launcher)
    spare.send_signal(signal.SIGKILL)
    until(lambda: len(list(Path(f"/proc/{spare.pid}/task").iterdir())) == 1, 60, "its threads are gone")
    until(lambda: spare.status() == psutil.STATUS_ZOMBIE, 60, "the spare is dead")
    worker = start_worker(job.folder, job.spec, "cpu", launcher)
    assert worker.pid != spare.pid
    assert worker.wait(60) == 0
    assert events_of(job, "finished")


# What a spare runs before anything else.
WITHOUT_TORCH = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise ImportError("libtorch.so: cannot open shared object file")

if "--prepared" in sys.orig_argv:
    sys.meta_path.insert(0, Missing())
"""
WITHOUT_MEMORY = """
import socket, sys

def fail(*arguments, take=socket.recv_fds):
    take(*arguments)
    raise MemoryError("no memory is left")

if "--prepared" in sys.orig_argv:
    socket.recv_fds = fail
"""


@pytest.fixture
def start_faulty(
    tmp_path: Path, launcher: Launcher, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], psutil.Process]:
    def start(fault: str) -> psutil.Process:
        (tmp_path / "path").mkdir()
        (tmp_path / "path" / "sitecustomize.py").write_text(fault)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"), prepend=os.pathsep)
        launcher.prepare()
        spares = until(lambda: [child for child in psutil.Process().children() if is_spare(child)], 60, "a spare")
        return spares[0]

    return start


@pytest.fixture
def spare_without_memory(tmp_path: Path, launcher: Launcher, start_faulty: Callable[[str], psutil.Process]) -> None:
    """A spare that gets its order, and dies of it."""
    start_faulty(WITHOUT_MEMORY)
    one_spare(os.getpid(), tmp_path / "spare", launcher)


def is_spare(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
        return "--prepared" in process.cmdline()
    return False


def train(tmp_path: Path, launcher: Launcher, prepared: Callable[[Scheduler, str], None]) -> JobRecord:
    """A model's job from its entry to its end; `prepared` is called when its worker has been started."""
    make_dataset(tmp_path)
    store = Store(tmp_path / "store.sqlite")
    store.add(DATASET, "generic-image-dataset", "dataset", "Digits", "", 1.0, None)
    for before, after in pairwise((Status.INITIALIZED, Status.WAITING, Status.RUNNING, Status.DONE)):
        assert store.move(DATASET, before, after, 2.0)
    scheduler = Scheduler(tmp_path, store, Resources(), launcher)
    network = starter_network((1, 28, 28))
    job_id = scheduler.submit(GenericImageModelSpec(model_name="Model", dataset=DATASET, custom_network=network))

    def job() -> JobRecord:
        scheduler.poll()
        return store.get(job_id)

    until(lambda: job().status is Status.RUNNING, 60, "the worker is started")
    prepared(scheduler, job_id)
    until(lambda: not job().status.is_running, 60, "the job has ended")
    assert not lock_is_held(scheduler.folder(job_id).lock)
    return store.get(job_id)


def test_a_job_has_the_last_words_of_a_spare_that_died_with_its_order(
    tmp_path: Path, launcher: Launcher, spare_without_memory: None
) -> None:
    job = train(tmp_path, launcher, lambda scheduler, job_id: None)
    assert job.status is Status.ERROR
    assert "before it had begun" in (job.cause or "")
    assert (job.cause or "").endswith("MemoryError: no memory is left")


def test_a_network_is_not_to_blame_for_a_spare_that_died_with_its_order(
    tmp_path: Path, launcher: Launcher, spare_without_memory: None
) -> None:
    request = {"text": starter_network((1, 28, 28)), "image_shape": [1, 28, 28]}
    with pytest.raises(EnvironmentFault, match=r"before it had begun .* no memory is left"):
        NetworkChecks(launcher).check(request, tmp_path)
    # The next one starts from nothing.
    assert NetworkChecks(launcher).check(request, tmp_path)["parameters"] == 501_834


def test_nobody_waits_for_a_spare_that_still_imports(tmp_path: Path, launcher: Launcher) -> None:
    make_dataset(tmp_path)
    launcher.prepare()
    spare = until(lambda: [child for child in psutil.Process().children() if is_spare(child)], 60, "a spare is there")[
        0
    ]
    spare.suspend()
    job = model_job(tmp_path, train_epochs=1)
    worker = start_worker(job.folder, job.spec, "cpu", launcher)
    assert worker.pid != spare.pid
    assert worker.wait(60) == 0
    spare.resume()
    assert one_spare(os.getpid(), tmp_path / "spare", launcher) == spare, "it is the next child's"


def test_a_spare_takes_no_time_that_a_training_wants(tmp_path: Path, launcher: Launcher) -> None:
    launcher.prepare()
    spare = until(lambda: [child for child in psutil.Process().children() if is_spare(child)], 60, "a spare is there")[
        0
    ]
    until(lambda: os.SCHED_IDLE in policies(spare), 60, "it imports in idle time")
    session = Path(f"/proc/{spare.pid}/autogroup")
    if session.exists():
        until(lambda: session.read_text().endswith(" nice 19\n"), 60, "its session steps back")
    one_spare(os.getpid(), tmp_path / "spare", launcher)
    assert policies(spare) == {os.SCHED_OTHER}, "what it becomes is a process like any other"
    assert not session.exists() or session.read_text().endswith(" nice 0\n")


def test_a_spare_that_cannot_import_torch_gets_no_order(
    tmp_path: Path, launcher: Launcher, start_faulty: Callable[[str], psutil.Process], caplog: pytest.LogCaptureFixture
) -> None:
    spare = start_faulty(WITHOUT_TORCH)
    until(lambda: spare.status() == psutil.STATUS_ZOMBIE, 60, "the spare is dead")
    make_dataset(tmp_path)
    job = model_job(tmp_path, train_epochs=1)
    assert start_worker(job.folder, job.spec, "cpu", launcher).wait(60) == 0
    assert events_of(job, "finished")
    assert "ImportError: libtorch.so: cannot open shared object file" in caplog.text


def test_a_spare_that_is_killed_with_its_order_in_hand(tmp_path: Path, launcher: Launcher) -> None:
    launcher.prepare()
    spare = one_spare(os.getpid(), tmp_path / "spare", launcher)
    spare.suspend()
    job = train(tmp_path, launcher, lambda scheduler, job_id: spare.kill())
    assert (job.status, job.crashes) == (Status.DONE, 1)


def test_a_spare_ends_with_its_server(tmp_path: Path) -> None:
    server = start_server(tmp_path / "data")
    (gunicorn,) = until(lambda: psutil.Process(server.process.pid).children(), 60, "gunicorn's worker is there")
    spare = one_spare(gunicorn.pid, tmp_path / "data" / "spare")
    gunicorn.kill()
    server.process.kill()
    server.process.wait()
    until(lambda: not spare.is_running(), 60, "the spare has ended")


def test_the_next_child_gets_no_pipes_of_the_one_before(tmp_path: Path, launcher: Launcher) -> None:
    launcher.prepare()
    one_spare(os.getpid(), tmp_path / "spare", launcher)
    with (tmp_path / "said").open("w+b") as said, Path(os.devnull).open("rb") as nothing:
        order = Order("jobs.network_check", (), tmp_path, child_environment(tmp_path, "cpu"))
        child = launcher.start(order, nothing.fileno(), said.fileno(), said.fileno())
        # Nobody asks it anything: its requests are at their end.
        assert child.wait(60) == 0
        assert said.read() == b""
