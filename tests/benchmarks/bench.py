"""What all measurements share: how large they are, the pictures, and one server with a dataset to learn."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import requests

from jobs.events import Event, all_events
from jobs.folder import JobFolder
from jobs.storage.handwritten import write_digit_folders
from tests.conftest import RunningServer, end_jobs, start_server
from tests.web import payloads

REPOSITORY = Path(__file__).parents[2]
SECONDS_BETWEEN_QUESTIONS = 1.0


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    rounds: int = 5
    epochs: int = 4
    pictures: int = 60_000
    photographs: int = 2_000
    visitors: int = 100
    seconds_watched: int = 30
    listed_jobs: tuple[int, ...] = (1_000, 10_000)
    curve_points: int = 100_000
    repetitions: int = 20


# To see that everything runs; its figures mean nothing.
QUICK = Scale(
    rounds=1,
    epochs=2,
    pictures=2_000,
    photographs=40,
    visitors=10,
    seconds_watched=4,
    listed_jobs=(50, 200),
    curve_points=5_000,
    repetitions=3,
)


class Bench:
    """One run. `data` is what `layerscope download-data mnist` wrote; without it scikit-learn's digits are taken."""

    def __init__(self, scratch: Path, scale: Scale, data: Path | None) -> None:
        self.scratch = scratch
        self.scale = scale
        self._data = data

    @cached_property
    def pictures(self) -> Path:
        """Class folders of grey 28×28 PNGs."""
        if self._data is not None:
            return self._data / "train"
        folder = self.scratch / "digits"
        write_digit_folders(folder)
        originals = sorted(folder.rglob("*.png"))
        for number in range(len(originals), self.scale.pictures):
            original = originals[number % len(originals)]
            original.with_name(f"{number:05d}.png").write_bytes(original.read_bytes())
        return folder

    @cached_property
    def pictures_in_words(self) -> str:
        count = sum(1 for _ in self.pictures.rglob("*.png"))
        return f"{count:,} {'MNIST' if self._data else 'handwritten digits, repeated,'} PNGs"

    @cached_property
    def site(self) -> "Site":
        """A server that runs until the end of the bench."""
        return Site(start_server(self.scratch / "data", self.scratch, self.pictures))

    @cached_property
    def classification(self) -> JobFolder:
        job = self.site.make("datasets/images/classification", payloads.classification(self.pictures))
        self.site.wait(job)
        return job

    @cached_property
    def dataset(self) -> JobFolder:
        """A generic dataset of the pictures, without validation."""
        form = payloads.generic(self.classification.path, prebuilt_val_images="")
        job = self.site.make("datasets/images/generic", form)
        self.site.wait(job)
        return job

    def model_form(self, **changes: Any) -> dict[str, Any]:
        """The seed with the options of the form; snapshots at the end only, so that an epoch is training alone."""
        form = {"snapshot_interval": "0", "val_interval": "0", "random_seed": "", **changes}
        return payloads.model(self.dataset.id, **form)

    def close(self) -> None:
        if "site" in self.__dict__:
            self.site.close()


class Site:
    """A real server, and what a person does there."""

    def __init__(self, server: RunningServer) -> None:
        self.server = server
        self.url = server.url

    def folder(self, job_id: str) -> JobFolder:
        return JobFolder(self.server.data_dir / "jobs" / job_id)

    def make(self, path: str, form: dict[str, Any]) -> JobFolder:
        answer = requests.post(f"{self.url}/{path}.json", data=form, timeout=60)
        if not answer.ok:
            raise RuntimeError(f"The server refused a job: {answer.text}")
        return self.folder(answer.json()["id"])

    def train(self, form: dict[str, Any]) -> JobFolder:
        return self.make("models/images/generic", form)

    def wait(self, job: JobFolder, seconds: float = 600) -> None:
        # Whoever asks fifty times a second, as tests do, takes a tenth of the cores from what is measured.
        status = self.server.wait_for_job(job.id, seconds, wait=lambda _: time.sleep(SECONDS_BETWEEN_QUESTIONS))
        if status["status"] != "Done":
            raise RuntimeError(f"The job did not succeed: {status}")

    def abort(self, job: JobFolder) -> None:
        requests.post(f"{self.url}/jobs/{job.id}/abort", timeout=10)
        self.server.wait_for_job(job.id, 60)

    def close(self) -> None:
        end_jobs(self.server)
        self.server.stop()


@contextmanager
def served(data_dir: Path, *roots: Path) -> Iterator[Site]:
    """A server of a measurement's own."""
    site = Site(start_server(data_dir, *roots))
    try:
        yield site
    finally:
        site.close()


def events_of(job: JobFolder, kind: str) -> list[Event]:
    return [event for event in all_events(job.events) if event["type"] == kind]


def epoch_ends(job: JobFolder) -> list[float]:
    """When each epoch of a training was over, before its snapshot."""
    return [event["time"] for event in events_of(job, "progress") if event["epoch"] > 0 and event["epoch"] % 1 == 0]


def epoch_seconds(job: JobFolder) -> list[float]:
    """How long each epoch of a training took, from the second on: from the end of one to the end of the next."""
    return [end - begin for begin, end in pairwise(epoch_ends(job))]


def run_module(module: str, arguments: Sequence[str], with_gpu: bool = False) -> str:
    """The last line that a process of its own prints. Threads are left to torch, as anybody would."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    if not with_gpu:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{module} failed:\n{done.stderr[-2000:]}")
    return done.stdout.splitlines()[-1]
