"""What a training says of its steps: points that lose no spike, and pauses that are foreseen."""

import json
import random
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from jobs.errors import TrainingDiverged
from jobs.events import EventWriter, all_events
from jobs.storage.progress import Progress
from jobs.training.checkpoints import Position
from jobs.training.reporting import MOST_POINTS, Points, TrainingReport, steps_in_group

CPU = torch.device("cpu")


def told(path: Path, type: str) -> list[dict]:
    return [event for event in all_events(path) if event["type"] == type]


def test_every_step_is_a_point_up_to_a_generous_number() -> None:
    assert steps_in_group(Position(0, 1000, MOST_POINTS)) == 1
    points = Points(1, steps_per_epoch=10)
    assert points.add([3.0, 1.0], [0.1, 0.05]) == {
        "step": [1, 2],
        "epoch": [0.1, 0.2],
        "loss": [3.0, 1.0],
        "learning_rate": [0.1, 0.05],
    }
    assert points.add([], []) == {}


def test_a_longer_training_keeps_lowest_highest_and_last_of_each_group() -> None:
    points = Points(4, steps_per_epoch=100)
    first = points.add([9.0, 2.0, 7.0, 1.0, 3.0, 5.0], [0.1] * 6)
    assert (first["step"], first["loss"]) == ([1, 3, 4, 5], [9.0, 7.0, 1.0, 3.0])
    rest = points.add([], [], is_last=True)
    assert rest["loss"] == [5.0]
    assert points.add([], [], is_last=True) == {}


@pytest.mark.parametrize("seed", range(20))
def test_no_spike_is_lost_however_the_blocks_fall(seed: int) -> None:
    rnd = random.Random(seed)
    losses = [float(f"{rnd.lognormvariate(0, 2):.5g}") for _ in range(rnd.randrange(2, 500))]
    whole, parts = Points(rnd.randrange(2, 40), 7), {"step": [], "loss": []}
    at = 0
    while at < len(losses):
        size = rnd.randrange(1, 60)
        block = losses[at : at + size]
        at += size
        for name, column in whole.add(block, [0.1] * len(block), is_last=at >= len(losses)).items():
            parts.setdefault(name, []).extend(column)
    assert parts["step"] == sorted(set(parts["step"]))
    assert parts["loss"] == [losses[step - 1] for step in parts["step"]]
    assert {min(losses), max(losses), losses[-1], losses[0]} <= set(parts["loss"])
    for start in range(1, len(losses), whole.group):
        group = losses[start : start + whole.group]
        assert {min(group), max(group), group[-1]} <= set(parts["loss"])


def test_a_long_training_has_about_as_many_points_as_it_may() -> None:
    position = Position(0, 10_000, 3_000_000)
    points = Points(steps_in_group(position), position.steps_per_epoch)
    rnd = random.Random(1)
    kept = sum(len(points.add([rnd.random()] * 1, [0.1]).get("step", ())) for _ in range(90_000))
    assert kept <= MOST_POINTS * 90_000 / 3_000_000 + 3


def test_a_group_is_never_longer_than_an_epoch() -> None:
    assert steps_in_group(Position(0, 5, 5_000_000)) == 5


def test_a_loss_that_is_no_number_is_said_before_its_group_is_full(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    position = Position(0, 100_000, 1_000_000)
    report = TrainingReport(EventWriter(log), position, 100_000, torch.device("cpu"))
    with pytest.raises(TrainingDiverged):
        for loss in (1.0, 5.0, 2.0, float("nan")):
            report.step(torch.tensor(loss), 0.1, 1)
        report.flush()
    assert [loss for event in told(log, "train") for loss in event["loss"]][-1] == "nan"


def test_a_training_ends_at_the_step_at_which_its_loss_explodes(tmp_path: Path) -> None:
    """The steps that followed before anybody looked are told by nobody: neither as points nor as progress."""
    log, now = tmp_path / "events.jsonl", [0.0]
    report = TrainingReport(EventWriter(log), Position(0, 10, 100), 80, CPU, clock=lambda: now[0])
    report.step(torch.tensor(1.0), 0.1, 8)
    for loss in (2.0, float("inf"), float("nan"), float("nan")):
        report.step(torch.tensor(loss), 0.1, 8)
    now[0] = 1.0
    with pytest.raises(TrainingDiverged, match="reported infinity") as ending:
        report.step(torch.tensor(float("nan")), 0.1, 8)
    assert ending.value.step == 3
    assert [loss for event in told(log, "train") for loss in event["loss"]] == [1.0, 2.0, "infinity"]
    assert told(log, "train")[-1]["epoch"][-1] == told(log, "progress")[-1]["epoch"] == 0.3
    assert told(log, "progress")[-1]["done"] == 24


def test_losses_are_written_with_the_digits_that_they_have(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    report = TrainingReport(EventWriter(log), Position(0, 10, 10), 10, torch.device("cpu"))
    loss = torch.tensor(0.1) / 3
    report.step(loss, 0.1, 1)
    (event,) = told(log, "train")
    assert torch.tensor(event["loss"][0]) == loss
    assert len(json.dumps(event["loss"][0])) <= 13


@dataclass(frozen=True)
class Course:
    """A training with a clock that is made."""

    epochs: int
    seconds_of_epoch: float
    pause: tuple[float, float]
    """Seconds that an epoch's end takes, at least and at most, where it has a validation."""
    interval: int = 1

    def validates(self, epoch: int) -> bool:
        return epoch % self.interval == 0 or epoch == self.epochs


def told_by_report(path: Path, course: Course) -> list[tuple[float, int, dict]]:
    """What the report of a training says: seconds that are truly left, epochs that have ended with all, progress."""
    rnd, now, steps, time_of = random.Random(1), [0.0], 400, {}
    position = Position(0, steps, steps * course.epochs)
    report = TrainingReport(EventWriter(path), position, steps, CPU, course.validates, clock=lambda: now[0])
    for epoch in range(1, course.epochs + 1):
        for step in range(1, steps + 1):
            now[0] += course.seconds_of_epoch / steps * rnd.uniform(0.8, 1.2)
            time_of[steps * (epoch - 1) + step] = now[0]
            report.step(torch.ones(()), 0.1, 1)
        if course.validates(epoch):
            now[0] += rnd.uniform(*course.pause)
    return [
        (now[0] - time_of[progress["done"]], (progress["done"] - 1) // steps, progress)
        for progress in told(path, "progress")
    ]


COURSES = [
    Course(5, 20, (25, 25)),
    Course(10, 20, (25, 25)),
    Course(10, 5, (60, 60)),
    Course(10, 60, (30, 60)),
    Course(5, 60, (30, 60)),
    Course(5, 20, (25, 25), interval=2),
    Course(10, 20, (25, 60), interval=2),
]


@pytest.mark.parametrize("course", COURSES, ids=str)
def test_long_pauses_between_epochs_are_foreseen(tmp_path: Path, course: Course) -> None:
    after_all_was_seen = [
        (left, progress["seconds_left"], progress["rate"])
        for left, ended, progress in told_by_report(tmp_path / "events.jsonl", course)
        if ended >= course.interval
    ]
    rate = 400 / course.seconds_of_epoch
    for left, (low, high), told_rate in after_all_was_seen:
        assert low <= left <= high < 3 * left
        assert told_rate == pytest.approx(rate, rel=0.25)
    assert len(after_all_was_seen) > 50


def test_training_and_dataset_say_the_time_left_alike(tmp_path: Path) -> None:
    log, now = tmp_path / "events.jsonl", [0.0]
    report = TrainingReport(EventWriter(log), Position(0, 10, 100), 100, torch.device("cpu"), clock=lambda: now[0])
    progress = Progress(EventWriter(log), 100, now=lambda: now[0])
    progress.begin("Reading", 100)
    for _ in range(40):
        now[0] += 1.0
        report.step(torch.ones(()), 0.1, 10)
        progress.advance(1)
    for event in told(log, "progress")[-2:]:
        low, high = event["seconds_left"]
        assert low <= high
