"""What the frames of the pinned image cost: the same training with and without them, in turns.

Two trainings of a minute differ by several percent for no reason of ours, and what is measured here is less. A frame is
taken when an epoch ends and is drawn a moment later, so that moment is compared with the middle of the same epochs,
with frames and without.
"""

import statistics
from dataclasses import dataclass
from itertools import pairwise

from jobs.folder import JobFolder
from tests.benchmarks.bench import Bench, epoch_seconds, events_of
from tests.benchmarks.figures import Figure, at_most, ratios


def measure(bench: Bench) -> list[Figure]:
    seconds: dict[bool, list[float]] = {True: [], False: []}
    lost: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(bench.scale.rounds):
        # Whoever is second in a round is so the next time first: a drift of the machine falls on both.
        for live in (True, False) if turn % 2 else (False, True):
            job = train(bench, live)
            seconds[live].append(sum(epoch_seconds(job)))
            lost[live].append(percent_lost_between_epochs(job))
    cost = [with_frames - without for with_frames, without in zip(lost[True], lost[False], strict=True)]
    whole = [100 * (ratio - 1) for ratio in ratios(seconds[True], seconds[False])]
    return [
        Figure("what live layers cost the training", "%", cost, at_most(3)),
        Figure("the same by the time of whole trainings, with all that differs from one to the next", "%", whole),
    ]


def train(bench: Bench, live: bool) -> JobFolder:
    form = bench.model_form(train_epochs=str(3 * bench.scale.epochs), select_gpu="cpu", live_layers=str(int(live)))
    job = bench.site.train(form)
    bench.site.wait(job)
    return job


@dataclass(frozen=True)
class Stretch:
    """Part of a training between two reports of its progress."""

    seconds: float
    epochs: float
    touches_end_of_epoch: bool


def percent_lost_between_epochs(job: JobFolder) -> float:
    """How much longer an epoch takes than it would if all of it went as its middle: the median over the epochs."""
    return statistics.median(100 * (rate_lost(epoch) - 1) for epoch in stretches_of_epochs(job))


def rate_lost(epoch: list[Stretch]) -> float:
    """Time of a whole epoch beside that of its middle at the same length; 1 where nothing is lost at its ends."""
    middle = [stretch for stretch in epoch if not stretch.touches_end_of_epoch]
    if not middle:
        raise RuntimeError("Epochs are too short to have a middle: no progress is reported within them.")
    return seconds_per_epoch(epoch) / seconds_per_epoch(middle)


def seconds_per_epoch(stretches: list[Stretch]) -> float:
    return sum(stretch.seconds for stretch in stretches) / sum(stretch.epochs for stretch in stretches)


def stretches_of_epochs(job: JobFolder) -> list[list[Stretch]]:
    """Those of each epoch from the second on: in the first one threads are tried out."""
    epochs: dict[int, list[Stretch]] = {}
    for before, after in pairwise(events_of(job, "progress")):
        if before["epoch"] < 1 or after["epoch"] == before["epoch"]:
            continue
        at_end = before["epoch"] % 1 == 0 or after["epoch"] % 1 == 0
        stretch = Stretch(after["time"] - before["time"], after["epoch"] - before["epoch"], at_end)
        epochs.setdefault(int(before["epoch"]), []).append(stretch)
    return list(epochs.values())
