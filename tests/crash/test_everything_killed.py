"""Server, workers and predictor killed in one moment, as when the machine goes down; and what the next server makes of it."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from jobs.events import all_events
from jobs.folder import JobFolder
from tests.conftest import end_jobs, save_digits, start_server, until
from tests.crash.conftest import shrink
from tests.web import payloads

# Goes on for as long as the test likes.
TRAINING = {
    "train_epochs": "1000000",
    "snapshot_interval": "20",
    "val_interval": "0",
    "live_layers": "0",
    "learning_rate": "1e-6",
}


@pytest.fixture
def servers(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator["Servers"]:
    (tmp_path / "passing").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "passing"))
    servers = Servers(tmp_path / "data", tmp_path_factory.getbasetemp())
    yield servers
    end_jobs(servers.now)
    servers.now.stop()


class Servers:
    """One server after the other on one data directory."""

    def __init__(self, data_dir: Path, data_root: Path) -> None:
        self.data_dir, self._data_root = data_dir, data_root
        self.now = start_server(data_dir, data_root)

    def kill_everything(self) -> None:
        """SIGKILL for the server and all below it, none before the others."""
        server = psutil.Process(self.now.process.pid)
        everything = [server, *server.children(recursive=True)]
        for process in everything:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
        for process in everything:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.now.process.wait()

    def start_again(self) -> None:
        self.now = start_server(self.data_dir, self._data_root)

    def make(self, url: str, form: dict[str, Any]) -> str:
        answer = requests.post(f"{self.now.url}/{url}.json", data=form, timeout=60)
        assert answer.ok, answer.text
        return str(answer.json()["id"])

    def done(self, job_id: str) -> str:
        assert self.now.wait_for_job(job_id)["status"] == "Done"
        return job_id

    def folder(self, job_id: str) -> JobFolder:
        return JobFolder(self.data_dir / "jobs" / job_id)

    def told(self, job_id: str, type: str) -> int:
        return sum(event["type"] == type for event in all_events(self.folder(job_id).events))

    def test_one(self, model: str, image: Path) -> requests.Response:
        form = {"job_id": model, "image_path": str(image)}
        return requests.post(f"{self.now.url}/models/images/generic/infer_one.json", data=form, timeout=60)


def test_nothing_is_lost_when_everything_is_killed_at_once(
    servers: Servers, digit_folders: Path, tmp_path: Path
) -> None:
    many = save_digits(tmp_path / "many", 1000)
    classification = servers.done(
        servers.make("datasets/images/classification", payloads.classification(digit_folders))
    )
    generic = servers.done(
        servers.make("datasets/images/generic", payloads.generic(servers.folder(classification).path))
    )
    training = servers.make("models/images/generic", payloads.model(generic, **TRAINING))
    until(lambda: servers.told(training, "snapshot"), 60, "it has a snapshot")
    image = min(digit_folders.rglob("*.png"))
    assert servers.test_one(training, image).ok, "its predictor is warm"
    waiting = servers.make("models/images/generic", payloads.model(generic))
    form = payloads.classification(many, resize_width="1024", resize_height="1024")
    dataset = servers.make("datasets/images/classification", form)
    until(lambda: servers.told(dataset, "progress"), 60, "the dataset is half made")
    servers.kill_everything()
    shrink(many)
    upload = servers.data_dir / "uploads" / "0123456789abcdef"
    upload.write_bytes(image.read_bytes())
    left = list((tmp_path / "passing").glob("layerscope-warm-*"))
    assert left, "of its predictor"
    servers.start_again()
    assert servers.test_one(training, image).ok
    assert not [path for path in (upload, *left) if path.exists()], "pictures that somebody had sent are gone"
    servers.done(dataset)
    assert servers.told(dataset, "begun_anew") == 1
    assert not list(servers.folder(dataset).path.glob(".*"))
    until(lambda: servers.told(training, "resumed"), 60, "the training goes on from its snapshot")
    for job_id, why in ((waiting, "it was not lost"), (training, "it is at work")):
        requests.post(f"{servers.now.url}/jobs/{job_id}/abort", timeout=60)
        assert servers.now.wait_for_job(job_id)["status"] == "Aborted", why
