"""A whole training on a few real digits, and all that can stop it."""

import math
import threading

import pytest
import torch

from jobs.errors import BadNetwork, StopRequested, TrainingDiverged, UserError
from jobs.networks.starter import starter_network
from jobs.training.checkpoints import Position, load_snapshot
from jobs.training.job import train
from jobs.training.reporting import TrainingReport
from tests.conftest import until
from tests.unit.digits_jobs import DATASET, curve, events_of, make_dataset, model_job

SEED = starter_network((1, 28, 28))


def test_training_tells_the_whole_story(tmp_path):
    make_dataset(tmp_path)
    job = model_job(tmp_path, train_epochs=4, batch_size=10)
    train(job)

    (network,) = events_of(job, "network")
    assert network["parameters"] == 501_834
    assert network["steps_per_epoch"] == 10
    assert (network["train_images"], network["validation_images"]) == (96, 32)
    assert len(curve(job)) == 40
    assert curve(job, "step") == list(range(1, 41))
    assert curve(job, "epoch")[9] == 1
    # The step policy: a tenth after 33 % and again after 66 %.
    assert [curve(job, "learning_rate")[step] for step in (0, 13, 14, 39)] == pytest.approx([0.01, 0.01, 0.001, 0.0001])
    assert [event["epoch"] for event in events_of(job, "validation")] == [1, 2, 3, 4]
    assert [event["epoch"] for event in events_of(job, "snapshot")] == [1, 2, 3, 4]
    assert job.folder.snapshot_epochs() == [1, 2, 3, 4]
    progress = events_of(job, "progress")[-1]
    assert progress["fraction"] == 1
    assert (progress["done"], progress["total"], progress["epoch"]) == (384, 384, 4)
    assert events_of(job, "usage")[0]["memory_bytes"] > 0
    assert any("Random seed: 1" in event["text"] for event in events_of(job, "message"))


def test_same_seed_gives_the_same_training(tmp_path):
    make_dataset(tmp_path / "a")
    make_dataset(tmp_path / "b")
    jobs = [model_job(tmp_path / name, train_epochs=1) for name in ("a", "b")]
    for job in jobs:
        train(job)
    assert curve(jobs[0]) == curve(jobs[1])


def test_intervals_are_kept_and_the_end_counts(tmp_path):
    make_dataset(tmp_path)
    job = model_job(tmp_path, train_epochs=5, snapshot_interval=0, val_interval=2)
    train(job)
    assert [event["epoch"] for event in events_of(job, "validation")] == [2, 4, 5]
    assert job.folder.snapshot_epochs() == [5]


def test_dataset_without_validation_images_trains(tmp_path):
    make_dataset(tmp_path, val=0)
    job = model_job(tmp_path, train_epochs=1)
    train(job)
    assert not events_of(job, "validation")


def test_labels_reach_the_loss(tmp_path):
    make_dataset(tmp_path)
    text = """
def network(params):
    model = nn.Sequential(Scale(1 / 256), nn.Flatten(), nn.Linear(784, 10), nn.LogSoftmax(1))
    return dict(model=model)
"""
    job = model_job(tmp_path, custom_network=text, train_epochs=10, learning_rate=0.5)
    train(job)
    losses = curve(job)
    assert losses[0] == pytest.approx(math.log(10), abs=0.5)
    assert losses[-1] < 1.5


def test_crop_and_pixel_mean(tmp_path):
    make_dataset(tmp_path)
    text = starter_network((1, 20, 20))
    job = model_job(tmp_path, custom_network=text, crop_size=20, use_mean="pixel", train_epochs=1)
    train(job)
    assert events_of(job, "network")[0]["layers"][0]["shape"] == [1, 20, 20]


@pytest.mark.parametrize(
    ("solver", "learning_rate"),
    [("SGD", 1), ("NESTEROV", 0.1), ("ADAM", 0.01), ("ADAGRAD", 0.05), ("RMSPROP", 0.01), ("ADADELTA", 0.01)],
)
def test_every_solver_learns(tmp_path, solver, learning_rate):
    make_dataset(tmp_path, val=0)
    # One layer learns at once; the seed's network takes some hundred steps before its loss moves.
    text = """
def network(params):
    model = nn.Sequential(Scale(1 / 256), nn.Flatten(), nn.Linear(784, 784), nn.Unflatten(1, (1, 28, 28)))
    return dict(model=model, loss=nn.MSELoss(), label_hook=lambda input, label: input)
"""
    options = {"solver_type": solver, "learning_rate": learning_rate, "custom_network": text}
    job = model_job(tmp_path, train_epochs=10, batch_size=8, snapshot_interval=0, **options)
    train(job)
    losses = curve(job)
    assert sum(losses[-12:]) < 0.95 * sum(losses[:12])


def test_infinite_loss_stops_with_advice(tmp_path):
    make_dataset(tmp_path)
    job = model_job(tmp_path, learning_rate=1e6, train_epochs=30)
    with pytest.raises(TrainingDiverged, match="Try decreasing your learning rate"):
        train(job)
    assert any(loss in ("nan", "infinity") for loss in curve(job))


def stop_after(job, step):
    """Ask the job to stop from another thread, as soon as its events tell of this step."""

    def watch():
        until(lambda: curve(job, "step")[-1:] >= [step])
        job.stop.set()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    return watcher


def test_stopping_in_the_first_epoch_keeps_what_was_learnt(tmp_path):
    make_dataset(tmp_path)
    text = SEED.replace(
        "lambda input, label: input", "lambda input, label: (__import__('time').sleep(0.002), input)[1]"
    )
    job = model_job(tmp_path, custom_network=text, train_epochs=1000, batch_size=1, snapshot_interval=0)
    watcher = stop_after(job, 1)
    with pytest.raises(StopRequested):
        train(job)
    watcher.join()
    (snapshot,) = events_of(job, "snapshot")
    content = load_snapshot(job.folder, snapshot["epoch"])
    assert content["position"]["step"] == snapshot["step"] == curve(job, "step")[-1]
    assert content["model"]["2.weight"].shape == (300, 784)


def test_stop_before_the_first_step_leaves_nothing(tmp_path):
    make_dataset(tmp_path)
    job = model_job(tmp_path)
    job.stop.set()
    with pytest.raises(StopRequested):
        train(job)
    assert job.folder.snapshot_epochs() == []


def test_mean_wanted_where_there_is_none(tmp_path):
    make_dataset(tmp_path, mean=False)
    with pytest.raises(UserError, match='Set "Subtract mean" to none'):
        train(model_job(tmp_path))
    train(model_job(tmp_path, use_mean="none", train_epochs=1))


def test_dataset_that_was_deleted(tmp_path):
    with pytest.raises(UserError, match=f"{DATASET} is not there"):
        train(model_job(tmp_path))


def test_crop_larger_than_the_images(tmp_path):
    make_dataset(tmp_path)
    with pytest.raises(UserError, match="bigger than the images"):
        train(model_job(tmp_path, crop_size=29))


def test_bad_network_fails_before_the_first_step(tmp_path):
    make_dataset(tmp_path)
    job = model_job(tmp_path, custom_network=SEED.replace("300, 50", "784, 50"))
    with pytest.raises(BadNetwork, match=r"on line 5 got 300 values") as caught:
        train(job)
    assert caught.value.line == 5
    assert not events_of(job, "network")


def test_fault_in_a_later_batch_names_line_and_batch(tmp_path):
    make_dataset(tmp_path)
    hook = "lambda input, label: input if len(input) in (2, 64) else bogus"
    text = SEED.replace("lambda input, label: input", hook)
    with pytest.raises(BadNetwork, match=r"line 10.*bogus.*step 2, a batch of 32") as caught:
        train(model_job(tmp_path, custom_network=text))
    assert caught.value.line == 10


def test_the_steps_before_one_that_failed_are_on_the_curve(tmp_path):
    make_dataset(tmp_path)
    text = SEED.replace("lambda input, label: input", "lambda input, label: input if len(input) != 6 else bogus")
    job = model_job(tmp_path, custom_network=text, batch_size=10)
    with pytest.raises(BadNetwork, match="step 10, a batch of 6"):
        train(job)
    assert curve(job, "step") == list(range(1, 10))


def test_losses_are_read_in_blocks_not_at_every_step(tmp_path):
    job = model_job(tmp_path)
    now = [100.0]
    report = TrainingReport(job.events, Position(0, 100, 100), 1000, torch.device("cpu"), clock=lambda: now[0])
    for _ in range(50):
        report.step(torch.ones(()), 0.1, 10)
        now[0] += 0.01
    # The first step is said at once, the next after 0.25 seconds.
    assert [len(event["step"]) for event in events_of(job, "train")] == [1, 25]
    report.flush()
    assert len(curve(job)) == 50
