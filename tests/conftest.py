"""What tests share: a data directory, an app without a network, a real server, and tiny real pictures."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from PIL import Image
from sklearn.datasets import load_digits

from jobs.errors import Refused
from jobs.scheduler import Scheduler
from webapp import create_app
from webapp.config import Settings
from webapp.services import Services

# The same examples in each run, however fast the machine is: that is not what they try.
hypothesis_settings.register_profile(
    "same", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("same")

T = TypeVar("T")
PATIENT_SERVER = """
from webapp import cli, live
live.SECONDS_BETWEEN_PINGS, live.SECONDS_TO_ANSWER = 60, 120
cli.main()
"""
ENDED = ("Done", "Aborted", "Error")


def until(
    look: Callable[[], T], seconds: float = 60.0, what: str = "", wait: Callable[[float], None] | None = None
) -> T:
    """What `look` returns as soon as that is true; fails after `seconds`.

    `wait` passes some milliseconds between two looks: a browser's page has a way of its own. A machine that stands still
    has kept others from their work, too: of the time from one look to the next, no more than this counts.
    """
    most_counted = 0.5
    waited, before = 0.0, time.monotonic()
    while True:
        seen = look()
        if seen:
            return seen
        if waited > seconds:
            pytest.fail(f"Not so after {seconds} s: {what or look}; last seen: {seen!r}")
        now = time.monotonic()
        waited, before = waited + min(now - before, most_counted), now
        if wait is None:
            time.sleep(0.02)
        else:
            wait(50)


def worker_pid(scheduler: Scheduler, job_id: str) -> int:
    """The worker of a running job."""
    worker = scheduler.workers.known[job_id].identity
    assert worker is not None
    return worker.pid


def save_digits(folder: Path, count: int, size: int = 28) -> Path:
    """`count` of scikit-learn's real handwritten digits as class folders of grey PNGs."""
    digits = load_digits()
    for index in range(count):
        label = int(digits.target[index])
        pixels = (digits.images[index] * (255 / 16)).astype(np.uint8)
        path = folder / str(label) / f"{index:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR).save(path)
    return folder


@pytest.fixture(scope="session")
def digit_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 handwritten digits, 28×28, in ten class folders."""
    return save_digits(tmp_path_factory.mktemp("digits"), 200)


@pytest.fixture
def settings(tmp_path: Path, digit_folders: Path) -> Settings:
    """A data directory of its own; forms may name this test's folder and the digits."""
    return Settings(data_dir=tmp_path / "data", data_roots=(tmp_path, digit_folders))


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    """The web side with its scheduler running, without a network."""
    app = create_app(settings)
    app.extensions["layerscope"].scheduler.start()
    yield app
    service = app.extensions["layerscope"]
    abort_all(service)
    service.close()


def abort_all(services: Services) -> None:
    """End what still runs, so that no worker outlives its test."""
    for job in services.store.active():
        # It may just have ended by itself.
        with suppress(Refused):
            services.scheduler.abort(job.id)
    until(lambda: not services.store.active(), what="no job runs any more")


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def wait_for_job(client: FlaskClient, job_id: str, seconds: float = 90.0) -> dict[str, Any]:
    """The job's status answer, once it has ended."""

    def ended() -> dict[str, Any] | None:
        status: dict[str, Any] = client.get(f"/jobs/{job_id}/status").get_json()
        return status if status["status"] in ENDED else None

    return until(ended, seconds, f"job {job_id} ends") or {}


@dataclass
class RunningServer:
    """A real `layerscope serve` and its address."""

    process: subprocess.Popen[bytes]
    url: str
    data_dir: Path
    log: Path

    def status(self, job_id: str) -> dict[str, Any]:
        status: dict[str, Any] = requests.get(f"{self.url}/jobs/{job_id}/status", timeout=60).json()
        return status

    def wait_for_job(
        self, job_id: str, seconds: float = 120.0, wait: Callable[[float], None] | None = None
    ) -> dict[str, Any]:
        def ended() -> dict[str, Any] | None:
            status = self.status(job_id)
            return status if status["status"] in ENDED else None

        return until(ended, seconds, f"job {job_id} ends", wait) or {}

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=60)


def start_server(
    data_dir: Path, *data_roots: Path, port: int = 0, host: str = "127.0.0.1", patient: bool = False
) -> RunningServer:
    """Serve `data_dir` on that port of a loopback address, or on a free one; returns when it answers.

    A patient one keeps the sockets of clients that stand still for a minute, and that do not connect again as pages do.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    log = data_dir / "server.log"
    roots = [argument for root in data_roots for argument in ("--data-root", str(root))]
    program = ("-c", PATIENT_SERVER) if patient else ("-m", "webapp.cli")
    command = [sys.executable, *program, "serve", "--port", str(port), "--data-dir", str(data_dir), *roots]
    command += ["--host", host]
    shown = f"[{host}]" if ":" in host else host
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, "COLUMNS": "200"}
        )

    def address() -> str | None:
        assert process.poll() is None, log.read_text()
        found = re.search(rf"http://{re.escape(shown)}:[1-9]\d*", log.read_text())
        return found.group() if found else None

    url = until(address, what="the server listens") or ""

    def answers() -> bool:
        try:
            return requests.get(f"{url}/health", timeout=5).ok
        except (requests.ConnectionError, requests.Timeout):
            return False

    until(answers, what="the server answers")
    return RunningServer(process, url, data_dir, log)


@pytest.fixture
def server(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A real server whose forms may name every folder that tests make."""
    running = start_server(tmp_path / "data", tmp_path_factory.getbasetemp())
    yield running
    end_jobs(running)
    running.stop()


def end_jobs(server: RunningServer) -> None:
    """Abort what still runs, so that no worker outlives its test."""

    def active() -> list[str]:
        rows = requests.get(f"{server.url}/completed_jobs.json", timeout=60).json()["running"]
        return [row["id"] for row in rows]

    for job_id in active():
        requests.post(f"{server.url}/jobs/{job_id}/abort", timeout=60)
    until(lambda: not active(), 40, "no job runs any more")
