"""From the request that creates a training to its first loss, with the spare worker and from nothing."""

import shutil
import time

import psutil
import requests

from jobs.children import Launcher
from jobs.folder import JobFolder
from jobs.processes import start_worker
from jobs.registry import parse_spec
from tests.benchmarks.bench import Bench, events_of
from tests.benchmarks.figures import Figure, at_most
from tests.conftest import until

IDLE_SECONDS = 0.5


def measure(bench: Bench) -> list[Figure]:
    form = bench.model_form(train_epochs="1", select_gpu="cpu")
    warm = [with_spare(bench, form) for _ in range(bench.scale.rounds)]
    cold = [from_nothing(bench, form) for _ in range(bench.scale.rounds)]
    return [
        Figure("Create to the first loss at the server, spare worker waiting", "s", warm, at_most(1)),
        Figure("start of a worker to its first loss, without the spare", "s", cold, at_most(4)),
    ]


def with_spare(bench: Bench, form: dict[str, str]) -> float:
    """As a page learns it: read from the server again and again."""
    wait_for_spare(bench.site.server.process.pid)
    began = time.monotonic()
    job = bench.site.train(form)

    def told() -> bool:
        events = requests.get(f"{bench.site.url}/jobs/{job.id}/events", timeout=10).json()["events"]
        return any(event["type"] == "train" for event in events)

    until(told, 60, "the first loss")
    seconds = time.monotonic() - began
    bench.site.wait(job)
    return seconds


def wait_for_spare(server: int) -> None:
    """Until a spare has done its imports and waits."""

    def used() -> float:
        spares = [child for child in psutil.Process(server).children(recursive=True) if "--prepared" in child.cmdline()]
        return sum(sum(spare.cpu_times()[:2]) for spare in spares)

    def rests() -> bool:
        before = used()
        time.sleep(IDLE_SECONDS)
        return 0 < before == used()

    until(rests, 60, "the spare worker waits")


def from_nothing(bench: Bench, form: dict[str, str]) -> float:
    """The worker of a job that the server does not know, beside the dataset that it reads."""
    known = bench.site.train(form)
    bench.site.wait(known)
    job = JobFolder(known.path.with_name("20250101-000000-c01d"))
    job.path.mkdir()
    shutil.copy(known.spec, job.spec)
    spec = parse_spec(job.read_spec())
    began = time.monotonic()
    worker = start_worker(job, spec, "cpu", Launcher())
    until(lambda: events_of(job, "train"), 60, "the first loss")
    seconds = time.monotonic() - began
    worker.wait()
    shutil.rmtree(job.path)
    return seconds
