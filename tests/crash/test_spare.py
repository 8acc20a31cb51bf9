"""The process that waits with torch imported, and what happens when it is not there any more."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from jobs.children import Order, Spares, child_environment
from jobs.folder import lock_is_held
from jobs.processes import start_worker
from tests.conftest import start_server, until
from tests.unit.digits_jobs import events_of, make_dataset, model_job


@pytest.fixture
def spares(tmp_path: Path) -> Iterator[Spares]:
    spares = Spares(tmp_path / "spare")
    yield spares
    spares.close()


def waiting(parent: int, scratch: Path) -> list[psutil.Process]:
    """The spares of a process that wait for their order: asleep in their own folder, with torch in memory."""
    found = []
    for child in psutil.Process(parent).children():
        # One that has become a worker may end while we look.
        with suppress(psutil.NoSuchProcess):
            with_torch = any("libtorch" in part.path for part in child.memory_maps())
            if Path(child.cwd()) == scratch and with_torch and child.status() == psutil.STATUS_SLEEPING:
                found.append(child)
    return found


def one_spare(parent: int, scratch: Path) -> psutil.Process:
    return until(lambda: waiting(parent, scratch), 60, "a spare waits")[0]


def test_a_spare_becomes_the_worker_and_another_takes_its_place(tmp_path: Path, spares: Spares) -> None:
    make_dataset(tmp_path)
    job = model_job(tmp_path, train_epochs=1)
    spares.prepare()
    spare = one_spare(os.getpid(), tmp_path / "spare")
    worker = start_worker(job.folder, "cpu", spares)
    assert worker.pid == spare.pid
    assert lock_is_held(job.folder.lock)
    assert worker.wait(60) == 0
    successor = one_spare(os.getpid(), tmp_path / "spare")
    assert successor.pid != spare.pid
    assert events_of(job, "finished")
    assert "Random seed" in job.folder.log.read_text()
    spares.close()
    assert not successor.is_running()


def test_a_child_of_a_spare_knows_only_what_it_was_told(
    tmp_path: Path, spares: Spares, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "of the server")
    spares.prepare()
    one_spare(os.getpid(), tmp_path / "spare")
    job = model_job(tmp_path)
    environment = child_environment(job.folder.path, "cpu")
    worker = start_worker(job.folder, "cpu", spares)
    process = psutil.Process(worker.pid)
    # The dataset is missing: the worker says so and ends. Its first environment is the spare's, and holds no secret either.
    assert "SECRET" not in process.environ()
    assert "SECRET" not in environment
    assert worker.wait(60) == 1
    assert "is not there" in events_of(job, "failed")[0]["cause"]


def test_without_a_spare_a_child_starts_from_nothing(tmp_path: Path, spares: Spares) -> None:
    make_dataset(tmp_path)
    job = model_job(tmp_path, train_epochs=1)
    assert start_worker(job.folder, "cpu", spares).wait(60) == 0
    assert events_of(job, "finished")


def test_a_spare_that_was_killed_is_not_missed(tmp_path: Path, spares: Spares) -> None:
    make_dataset(tmp_path)
    job = model_job(tmp_path, train_epochs=1)
    spares.prepare()
    spare = one_spare(os.getpid(), tmp_path / "spare")
    spare.send_signal(signal.SIGKILL)
    until(lambda: len(list(Path(f"/proc/{spare.pid}/task").iterdir())) == 1, 10, "its threads are gone")
    until(lambda: spare.status() == psutil.STATUS_ZOMBIE, 10, "the spare is dead")
    worker = start_worker(job.folder, "cpu", spares)
    assert worker.pid != spare.pid
    assert worker.wait(60) == 0
    assert events_of(job, "finished")


def test_a_spare_ends_with_its_server(tmp_path: Path) -> None:
    server = start_server(tmp_path / "data")
    (gunicorn,) = until(lambda: psutil.Process(server.process.pid).children(), 10, "gunicorn's worker is there")
    spare = one_spare(gunicorn.pid, tmp_path / "data" / "spare")
    gunicorn.kill()
    server.process.kill()
    server.process.wait()
    until(lambda: not spare.is_running(), 20, "the spare has ended")


def test_the_next_child_gets_no_pipes_of_the_one_before(tmp_path: Path, spares: Spares) -> None:
    spares.prepare()
    one_spare(os.getpid(), tmp_path / "spare")
    with (tmp_path / "said").open("w+b") as said, Path(os.devnull).open("rb") as nothing:
        order = Order("jobs.network_check", (), tmp_path, child_environment(tmp_path, "cpu"))
        child = spares.start(order, nothing.fileno(), said.fileno(), said.fileno())
        assert isinstance(child, subprocess.Popen)
        # Nobody asks it anything: its requests are at their end.
        assert child.wait(60) == 0
        assert said.read() == b""
