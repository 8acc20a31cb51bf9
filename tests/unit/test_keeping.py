"""Which snapshots a training keeps, and that going on from any of them ends with the same weights and losses."""

from pathlib import Path
from typing import Any

import pytest

from jobs.errors import StopRequested
from jobs.events import all_events
from jobs.folder import JobFolder
from jobs.models.generic_image import KeepSnapshots
from jobs.summaries import apply_event
from jobs.training.job import train
from jobs.training.snapshot_files import (
    epochs_in_words,
    newest_good_snapshot,
    of_epoch,
    passing,
    snapshot_files,
    superfluous,
    write_snapshot,
)
from tests.unit.digits_jobs import curve, events_of, make_dataset, model_job
from tests.unit.test_resuming import OPTIONS, StopAt, taken_up, told, weights

EVERY_STEP = 1e-9


@pytest.mark.parametrize(
    ("keep", "last", "validation", "training", "kept"),
    [
        ("all", 2, [None] * 5, [None] * 5, [1, 2, 3, 4, 5]),
        ("last", 2, [None] * 5, [None] * 5, [4, 5]),
        ("last", 3, [None] * 5, [None] * 5, [3, 4, 5]),
        ("last", 9, [None] * 5, [None] * 5, [1, 2, 3, 4, 5]),
        ("best", 2, [3, 1, 2, 9, 9], [1, 9, 9, 9, 9], [2, 4, 5]),
        ("best", 2, [None, None, 8, None, 9], [1, 1, 2, 3, 4], [3, 4, 5]),
        ("best", 2, [None] * 5, [3, 1, 2, 9, 9], [2, 4, 5]),
        ("best", 2, [float("nan")] * 5, [3, 1, 2, 9, float("inf")], [2, 4, 5]),
        ("best", 3, [5, 4, 3, 2, 1], [None] * 5, [3, 4, 5]),
    ],
)
def test_the_form_says_which_snapshots_stay_and_the_newest_two_always_do(
    tmp_path: Path, keep: KeepSnapshots, last: int, validation: list[Any], training: list[Any], kept: list[int]
) -> None:
    folder = JobFolder(tmp_path)
    for epoch in range(1, 6):
        write_snapshot(of_epoch(folder, epoch), b"x", 10 * epoch, validation[epoch - 1], training[epoch - 1])
    for snapshot in superfluous(folder, keep, last):
        snapshot.remove()
    assert folder.snapshot_epochs() == kept
    assert len(list(folder.snapshots.iterdir())) == 2 * len(kept), "no manifest without its snapshot"


def test_of_passing_snapshots_only_those_among_the_newest_two_stay(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    for file, step in ((passing(folder, 1, 4), 4), (of_epoch(folder, 1), 10), (passing(folder, 2, 14), 14)):
        write_snapshot(file, b"x", step)
    assert superfluous(folder, "all", 2) == [passing(folder, 1, 4)]
    # Stopped, taken up again, and further on in the same epoch.
    write_snapshot(of_epoch(folder, 2), b"x", 15)
    write_snapshot(passing(folder, 2, 17), b"x", 17)
    assert newest_good_snapshot(folder).snapshot == passing(folder, 2, 17)
    assert superfluous(folder, "all", 2) == [passing(folder, 2, 14), passing(folder, 1, 4)]
    # One that was not finished counts for none.
    passing(folder, 2, 17).manifest_path.unlink()
    assert superfluous(folder, "all", 2) == [passing(folder, 1, 4)]


def test_removed_snapshots_are_told_of_and_in_no_list_any_more(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    job = model_job(tmp_path, **OPTIONS, keep_snapshots="last")
    train(job)
    assert job.folder.snapshot_epochs() == [4, 5]
    assert [event["epochs"] for event in events_of(job, "snapshots_removed")] == [[1], [2], [3]]
    summary: dict[str, Any] = {}
    for event in all_events(job.folder.events):
        apply_event(summary, event)
    assert summary["snapshots"] == [4, 5]


def test_the_best_snapshot_is_that_of_the_lowest_validation_loss(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    # It gets worse after some epochs.
    job = model_job(tmp_path, **OPTIONS, keep_snapshots="best", lr_policy="multistep", lr_multistep_values="40",
                    lr_multistep_gamma=80)  # fmt: skip
    train(job)
    losses = {event["epoch"]: event["loss"] for event in events_of(job, "validation")}
    best = int(min(losses, key=lambda epoch: losses[epoch]))
    assert best < 4
    assert job.folder.snapshot_epochs() == [best, 4, 5]
    manifest = of_epoch(job.folder, best).manifest()
    assert manifest is not None
    assert manifest.validation_loss == losses[best]
    steps = curve(job)[10 * (best - 1) : 10 * best]
    assert manifest.training_loss == pytest.approx(sum(steps) / 10)


def test_snapshots_between_those_of_epochs_change_nothing_and_one_can_go_on_from_them(tmp_path: Path) -> None:
    make_dataset(tmp_path / "whole")
    whole = model_job(tmp_path / "whole", **OPTIONS, snapshot_minutes="", snapshot_interval=0)
    train(whole)
    make_dataset(tmp_path / "parts")
    job = model_job(tmp_path / "parts", **OPTIONS, snapshot_minutes=EVERY_STEP, snapshot_interval=0)
    with pytest.raises(StopRequested):
        train(taken_up(job, StopAt(31)))
    # As if a crash had taken what was kept at the stop, and a fault the newest of the others.
    (stopped,) = job.folder.snapshot_epochs()
    of_epoch(job.folder, stopped).remove()
    (newest,) = snapshot_files(job.folder)
    train(taken_up(job))
    resumed = events_of(job, "resumed")[-1]
    assert resumed["step"] == newest.step
    assert weights(job, 5) == weights(whole, 5)
    assert told(job) == told(whole)
    assert job.folder.snapshot_epochs() == [5]
    assert len(snapshot_files(job.folder)) <= 2
    assert {event["epoch"] for event in events_of(job, "snapshot")} == {stopped, 5}, "only these can be tested"


@pytest.mark.parametrize(("epochs", "words"), [
    (10, "10"), (9.5, "9.5"), (9.98, "9.98"), (9.04, "9.04"), (0.996, "0.996"), (1e-9, "0.000000"), (1000000.25, "1000000.2"),
])  # fmt: skip
def test_nobody_takes_a_part_of_an_epoch_for_the_whole(epochs: float, words: str) -> None:
    assert epochs_in_words(epochs) == words
