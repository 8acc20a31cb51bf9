"""A training that was left goes on as if nothing had happened: the same steps, losses and weights, wherever it was left."""

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from jobs.curves import Curve
from jobs.errors import StopRequested, UserError
from jobs.events import EventWriter, all_events, that_count
from jobs.training.checkpoints import load_snapshot
from jobs.training.job import train
from jobs.worker import WorkerJob
from tests.unit.digits_jobs import events_of, make_dataset, model_job

# Everything that draws random numbers: crops, dropout, and code of the network's own with Python's and NumPy's.
NETWORK = """
import random
import numpy

def noisy(input, label):
    return input * (1 + random.random() / 100) + numpy.random.normal()

def network(params):
    model = nn.Sequential(Scale(1 / 256), nn.Flatten(), nn.Linear(400, 60), nn.BatchNorm1d(60), nn.ReLU(), nn.Dropout(0.5),
                          nn.Linear(60, 400), nn.Unflatten(1, (1, 20, 20)))
    return dict(model=model, loss=nn.MSELoss(), label_hook=noisy)
"""
OPTIONS = {"custom_network": NETWORK, "crop_size": 20, "use_mean": "pixel", "train_epochs": 5, "batch_size": 10}


class StopAt(threading.Event):
    """A request to stop that comes when it was asked for a number of times: once for each step and validation batch."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self._left = times

    def is_set(self) -> bool:
        self._left -= 1
        return self._left < 0


def taken_up(job: WorkerJob, stop: threading.Event | None = None) -> WorkerJob:
    return WorkerJob(job.folder, job.spec, EventWriter(job.folder.events), stop or threading.Event(), is_taken_up=True)


def weights(job: WorkerJob, epoch: int) -> str:
    """SHA-256 of all weights, buffers and what the solver keeps."""
    content = load_snapshot(job.folder, epoch)
    digest = hashlib.sha256()
    for tensor in [*content["model"].values(), *_tensors(content["optimizer"])]:
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _tensors(part)


def told(job: WorkerJob) -> dict[str, Any]:
    """The steps, losses and learning rates of the curve, and the validations, as the server reads them."""
    curve = Curve(job.folder.events)
    curve.read_on()
    counting = that_count(all_events(job.folder.events))
    for name in ("step", "loss", "learning_rate"):
        folded = [value for event in counting if event["type"] == "train" for value in event[name]]
        assert folded == curve.train[name].tolist(), "both ways of reading say the same"
    validations = [(event["step"], event["loss"]) for event in counting if event["type"] == "validation"]
    assert validations == list(zip(*(curve.validation[name].tolist() for name in ("step", "loss")), strict=True))
    return {name: curve.train[name].tolist() for name in ("step", "loss", "learning_rate")} | {"val": validations}


def trained(jobs_dir: Path, **changes: Any) -> WorkerJob:
    make_dataset(jobs_dir)
    job = model_job(jobs_dir, **OPTIONS | changes)
    train(job)
    return job


@pytest.mark.parametrize("solver", ["SGD", "NESTEROV", "ADAM", "ADAGRAD", "RMSPROP", "ADADELTA"])
def test_stopped_anywhere_a_training_ends_with_the_same_weights_and_losses(tmp_path: Path, solver: str) -> None:
    whole = trained(tmp_path / "whole", solver_type=solver)
    make_dataset(tmp_path / "parts")
    job = model_job(tmp_path / "parts", **OPTIONS, solver_type=solver)
    # In the middle of an epoch, during a validation, and before the first step after one.
    for part, times in enumerate((4, 9, 11, 13)):
        stopped = taken_up(job, StopAt(times)) if part else WorkerJob(job.folder, job.spec, job.events, StopAt(times))
        with pytest.raises(StopRequested):
            train(stopped)
    train(taken_up(job))
    assert weights(job, 5) == weights(whole, 5)
    assert told(job) == told(whole)
    assert len(told(job)["val"]) == 5


def test_after_a_damaged_snapshot_it_goes_on_from_the_one_before(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole")
    job = trained(tmp_path / "parts")
    for epoch in (4, 5):
        job.folder.snapshot(epoch).write_bytes(job.folder.snapshot(epoch).read_bytes()[:1000])
    train(taken_up(job))
    (resumed,) = events_of(job, "resumed")
    assert (resumed["step"], resumed["epoch"]) == (30, 3)
    warnings = [event["text"] for event in events_of(job, "message") if event["level"] == "warning"]
    assert len(warnings) == 2
    assert "The snapshot of epoch 5 is damaged: it has 1,000 bytes" in warnings[0]
    assert (job.folder.snapshots / "snapshot_5.pt.damaged").exists()
    assert weights(job, 5) == weights(whole, 5)
    assert told(job) == told(whole)


def test_without_any_snapshot_it_begins_anew_and_what_was_told_before_is_void(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole")
    job = trained(tmp_path / "parts")
    for path in job.folder.snapshots.iterdir():
        path.unlink()
    (job.folder.snapshots / ".snapshot_1.pt.123.tmp").write_bytes(b"half")
    train(taken_up(job))
    assert events_of(job, "resumed")[0]["step"] == 0
    assert weights(job, 5) == weights(whole, 5)
    assert told(job) == told(whole)
    assert not list(job.folder.path.rglob("*.tmp"))


def test_frames_of_steps_that_come_again_are_dropped_and_no_number_is_given_twice(tmp_path: Path) -> None:
    job = trained(tmp_path)
    before = events_of(job, "frame")
    for epoch in (3, 4, 5):
        job.folder.snapshot(epoch).unlink()
    job.folder.frame(99).write_bytes(b"written, and not told of")
    train(taken_up(job))
    (dropped,) = events_of(job, "frames_dropped")
    assert dropped["frames"] == [event["frame"] for event in before if event["step"] > 20]
    kept = [event for event in events_of(job, "frame") if event["frame"] not in dropped["frames"]]
    assert {path.name for path in job.folder.frames.iterdir()} == {Path(event["file"]).name for event in kept}
    assert [event["step"] for event in kept] == sorted({event["step"] for event in kept})
    after = [event["frame"] for event in events_of(job, "frame")[len(before) :]]
    assert after[0] == 100
    assert all(event["step"] > 20 for event in events_of(job, "frame")[len(before) :])
    said = [warning["text"] for event in events_of(job, "frame") for warning in event["warnings"]]
    assert not any("No gradient" in text for text in said), "the first frame comes after a step"


def test_a_long_training_thins_its_curve_as_if_it_had_not_been_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Points in groups of seven, which no epoch of ten is a multiple of.
    monkeypatch.setattr("jobs.training.reporting.steps_in_group", lambda position: 7)
    whole = trained(tmp_path / "whole", snapshot_interval=2)
    make_dataset(tmp_path / "parts")
    job = model_job(tmp_path / "parts", **OPTIONS, snapshot_interval=2)
    with pytest.raises(StopRequested):
        train(WorkerJob(job.folder, job.spec, job.events, StopAt(33)))
    # As if a crash had taken what was kept at the stop.
    newest = job.folder.snapshot_epochs()[-1]
    assert newest > 2
    job.folder.snapshot(newest).unlink()
    train(taken_up(job))
    assert told(job) == told(whole)


def test_a_snapshot_of_another_network_is_a_sentence(tmp_path: Path) -> None:
    job = trained(tmp_path)
    other = model_job(tmp_path, **{**OPTIONS, "custom_network": NETWORK.replace("60", "61"), "train_epochs": 6})
    with pytest.raises(UserError, match=r"The snapshot of epoch 5 does not fit the network.* Clone the job"):
        train(taken_up(other))
    assert job.folder.snapshot(5).exists()


# A module that counts its steps in plain Python and in a tensor that is no buffer, and a loss that keeps a mean.
COUNTING = """
class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.steps = 0
        self._seen = torch.zeros(1)

    def forward(self, input):
        if self.training:
            self.steps += 1
            self._seen += input.mean().detach()
        return input * (1 + self.steps / 1000) + self._seen

class Moving(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.ones(1))

    def forward(self, output, target):
        loss = ((output - target) ** 2).mean()
        if torch.is_grad_enabled():
            self.mean.mul_(0.9).add_(0.1 * loss.detach().sqrt())
        return loss / self.mean

def network(params):
    model = nn.Sequential(Scale(1 / 256), nn.Flatten(), nn.Linear(400, 10), Counting(), nn.Linear(10, 400),
                          nn.Unflatten(1, (1, 20, 20)))
    return dict(model=model, loss=Moving(), label_hook=lambda input, label: input)
"""


def test_what_modules_and_the_loss_keep_outside_of_the_weights_goes_on_too(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", custom_network=COUNTING)
    make_dataset(tmp_path / "parts")
    job = model_job(tmp_path / "parts", **OPTIONS | {"custom_network": COUNTING})
    with pytest.raises(StopRequested):
        train(WorkerJob(job.folder, job.spec, job.events, StopAt(17)))
    train(taken_up(job))
    assert told(job) == told(whole)
    assert weights(job, 5) == weights(whole, 5)
    assert not [event for event in events_of(job, "message") if event["level"] == "warning"]


def test_what_a_text_keeps_where_no_snapshot_holds_it_is_told_once(tmp_path: Path) -> None:
    text = NETWORK.replace("def noisy(input, label):", "steps = [0]\n\ndef noisy(input, label):\n    steps[0] += 1")
    job = trained(tmp_path, custom_network=text)
    (warning,) = [event["text"] for event in events_of(job, "message") if event["level"] == "warning"]
    assert warning.startswith("The network's text changes steps while it trains, outside of its modules")
