"""An epoch of the worker beside the ways in which others train the same network on the same database."""

import json
import statistics
from dataclasses import dataclass, field

from tests.benchmarks.bench import Bench, epoch_seconds, run_module
from tests.benchmarks.figures import Aim, Figure, at_least, at_most, ratios
from tests.benchmarks.rivals.task import Task

WARM_UP = 1


@dataclass
class Rival:
    """`module` with `loader_workers`. `aim` is for its epoch as a multiple of the worker's; of a limit it is the other way."""

    title: str
    module: str
    aim: Aim | None = None
    loader_workers: int = 0
    epochs: int | None = None
    is_limit: bool = False
    seconds: list[float] = field(default_factory=list)
    worker_seconds: list[float] = field(default_factory=list)

    def measure(self, bench: Bench, device: str) -> float:
        """Seconds of an epoch; the first, in which libraries settle, does not count where there are others."""
        task = Task(
            database=str(bench.classification.path / "train_db"),
            mean_file=str(bench.classification.path / "mean.binaryproto"),
            epochs=self.epochs or bench.scale.epochs,
            device=device,
            loader_workers=self.loader_workers,
        )
        module = f"tests.benchmarks.rivals.{self.module}"
        answer = json.loads(run_module(module, [task.as_argument()], with_gpu=device != "cpu"))
        seconds: list[float] = answer["seconds"]
        return statistics.median(seconds[WARM_UP:] or seconds)

    def as_ratio(self) -> Figure:
        if self.is_limit:
            times = ratios(self.worker_seconds, self.seconds)
            return Figure(f"worker : {self.title}", "×", times, self.aim)
        return Figure(f"{self.title} : worker", "×", ratios(self.seconds, self.worker_seconds), self.aim)


def measure(bench: Bench) -> list[Figure]:
    rivals = [
        [
            Rival("(b) a bare PyTorch loop in memory", "bare_loop", at_least(1)),
            Rival("(c) the matrix products alone", "matrix_products", at_most(1.4), is_limit=True),
        ],
        [
            Rival("(d) PyTorch Lightning in memory", "lightning", at_least(1)),
            Rival("(d) Keras 3 on torch in memory", "keras", at_least(1)),
        ],
        # An epoch of these is so long that there is nothing to settle.
        [Rival("(a) the usual script, no loader workers", "plain_script", at_least(5), 0, epochs=1)],
        [Rival("(a) the usual script, 2 loader workers", "plain_script", at_least(5), 2, epochs=1)],
    ]
    return against_worker(bench, rivals, "cpu")


def against_worker(bench: Bench, groups: list[list[Rival]], device: str) -> list[Figure]:
    """Before and after each group the worker trains; its mean of the two is what the group is compared with."""
    worker: list[float] = []
    for _ in range(bench.scale.rounds):
        worker.append(epoch_of_worker(bench, device))
        for group in groups:
            seconds = [rival.measure(bench, device) for rival in group]
            worker.append(epoch_of_worker(bench, device))
            for rival, rival_seconds in zip(group, seconds, strict=True):
                rival.seconds.append(rival_seconds)
                rival.worker_seconds.append(statistics.fmean(worker[-2:]))
    rivals = [rival for group in groups for rival in group]
    return [
        Figure(f"epoch of the worker, {images(bench):,} images", "s", worker),
        *(Figure(f"epoch of {rival.title}", "s", rival.seconds) for rival in rivals),
        *(rival.as_ratio() for rival in rivals),
    ]


def images(bench: Bench) -> int:
    return int(bench.dataset.read_dataset()["splits"]["train"]["entries"])


def epoch_of_worker(bench: Bench, device: str) -> float:
    """Of a real job with the options of the form; its first epoch does not count, and it has no validation."""
    select = "cpu" if device == "cpu" else "next"
    job = bench.site.train(bench.model_form(train_epochs=str(WARM_UP + bench.scale.epochs), select_gpu=select))
    bench.site.wait(job)
    return statistics.median(epoch_seconds(job))
