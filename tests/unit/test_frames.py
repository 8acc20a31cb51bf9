"""Frames of a training: when they are taken, what they hold, and that nothing else depends on them."""

import base64
import gzip
import io
import json
import random
import threading
import time
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from jobs.errors import StopRequested, TrainingDiverged
from jobs.networks.contract import Network, NetworkParams, build_network
from jobs.networks.starter import starter_network
from jobs.pins import pin_image, pin_upload
from jobs.training.capture import MOST_PIXELS, Camera, draw_capture, in_evaluation
from jobs.training.checkpoints import Position, load_snapshot
from jobs.training.data import Preparation, ResidentImages
from jobs.training.frames import Budget, Frames
from jobs.training.job import open_data, train
from jobs.training.pinned import PinnedImage
from jobs.training.plan import Plan
from jobs.training.probes import Probes
from jobs.worker import WorkerJob
from tests.conftest import until
from tests.unit.digits_jobs import curve, digits, events_of, make_dataset, model_job

SEED = starter_network((1, 28, 28))
CPU = torch.device("cpu")
HEAD = "loss=nn.MSELoss(), label_hook=lambda input, label: input"
NOISY = f"""
def network(params):
    model = nn.Sequential(Scale(1 / 256), nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5),
                          nn.Conv2d(4, 1, 3, padding=1))
    return dict(model=model, {HEAD}, train_batch_size=16)
"""


def frame(job: WorkerJob, number: int) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(gzip.decompress(job.folder.frame(number).read_bytes()))
    return content


def warnings_of(job: WorkerJob) -> list[str]:
    return [event["text"] for event in events_of(job, "message") if event["level"] == "warning"]


def test_a_training_has_a_frame_at_the_start_and_at_the_end(tmp_path):
    make_dataset(tmp_path)
    job = model_job(tmp_path, train_epochs=2)
    train(job)
    found = events_of(job, "frame")
    assert [event["frame"] for event in found] == list(range(1, len(found) + 1))
    assert (found[0]["step"], found[0]["epoch"]) == (0, 0)
    assert (found[-1]["step"], found[-1]["epoch"]) == (4, 2)
    for event in found:
        content = frame(job, event["frame"])
        assert {key: content[key] for key in ("frame", "step", "epoch", "image", "warnings", "error")} == {
            key: event[key] for key in ("frame", "step", "epoch", "image", "warnings", "error")
        }
        assert event["image"] == {"split": "val", "index": 0}
        assert event["size"] == job.folder.frame(event["frame"]).stat().st_size < 40_000


def test_a_frame_holds_what_test_one_shows(tmp_path):
    make_dataset(tmp_path)
    job = model_job(tmp_path, train_epochs=1)
    train(job)
    content = frame(job, len(events_of(job, "frame")))
    assert [picture["key"] for picture in content["pictures"]] == ["original", "normalized", "code", "output", "error"]
    assert all(picture["picture"]["values"] for picture in content["pictures"])
    assert (content["total_parameters"], content["code_layer"]) == (501_834, 4)
    weights = {row["index"]: row for row in content["layers"] if row["kind"] == "weights"}
    assert all(row["gradient_norm"] > 0 for row in weights.values())
    assert (weights[4]["units"], weights[4]["shape"]) == (50, [50, 300])
    activations = {row["index"]: row for row in content["layers"] if row["kind"] == "activations"}
    assert activations[5]["dead_units"] == weights[4]["dead_units"] is not None
    assert activations[4]["dead_units"] is None
    assert all(row["picture"]["values"] is None for row in content["layers"] if row["picture"])
    untrained = frame(job, 1)
    assert all(row["gradient_norm"] is None for row in untrained["layers"])


def test_without_validation_images_the_first_to_learn_is_shown(tmp_path):
    make_dataset(tmp_path, val=0)
    job = model_job(tmp_path, train_epochs=1)
    train(job)
    assert events_of(job, "frame")[0]["image"] == {"split": "train", "index": 0}


def test_live_layers_can_be_turned_off(tmp_path):
    make_dataset(tmp_path)
    job = model_job(tmp_path, live_layers=False)
    train(job)
    assert not events_of(job, "frame")
    assert not job.folder.frames.exists()


@pytest.mark.parametrize("text", [SEED, NOISY])
def test_results_are_the_same_with_and_without_frames(tmp_path, text):
    ends = []
    for live in (True, False):
        make_dataset(tmp_path / str(live))
        job = model_job(tmp_path / str(live), custom_network=text, live_layers=live, train_epochs=3, use_mean="none")
        train(job)
        validation = [event["loss"] for event in events_of(job, "validation")]
        ends.append((curve(job), validation, load_snapshot(job.folder, 3)))
    with_frames, without = ends
    assert with_frames[:2] == without[:2]
    for name, values in without[2]["model"].items():
        assert torch.equal(values, with_frames[2]["model"][name])
    assert torch.equal(with_frames[2]["random_state"]["cpu"], without[2]["random_state"]["cpu"])


class Unruly(nn.Module):
    """Draws random numbers, changes its buffers and has parts in modes of their own, whatever its mode."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.frozen = nn.BatchNorm2d(1, track_running_stats=True), nn.BatchNorm2d(1)
        self.register_buffer("count", torch.zeros(()))
        self.count: Tensor
        self.linear = nn.Linear(28, 28)
        self.calls = 0
        self.momentum = torch.zeros(())
        self.log: list[Any] = [0, {"calls": 0}]
        self.random = random.Random(1)

    def forward(self, input: Tensor) -> Tensor:
        self.calls += 1
        self.momentum += 1
        self.log.append(self.random.random())
        self.log[1]["calls"] += 1
        self.seen = input.shape
        self.count = self.count + 1 + random.random() + float(np.random.random())
        self.norm.running_mean += 1
        return self.linear(self.frozen(self.norm(input + torch.rand_like(input))))  # type: ignore[no-any-return]


def state(model: nn.Module) -> dict[str, Any]:
    return {
        "tensors": {name: value.clone() for name, value in model.state_dict().items()},
        "modes": [module.training for module in model.modules()],
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": np.random.get_state()[1].tolist(),
        "gradients": [parameter.grad for parameter in model.parameters()],
        "own random numbers": model.random.getstate(),
        "attributes": {name: repr(value) for name, value in vars(model).items()},
    }


def camera_of(network: Network, shape=(1, 28, 28), count=20) -> tuple[Camera, PinnedImage]:
    pixels = np.random.default_rng(0).integers(0, 256, (count, *shape), np.uint8)
    data = ResidentImages(torch.from_numpy(pixels), torch.zeros(count))
    prepare = Preparation()
    camera = Camera(network, prepare, Probes(data, prepare, 16), nullcontext, CPU)
    return camera, PinnedImage({"name": "noise"}, pixels[0])


def test_a_network_is_left_as_it_was():
    model = Unruly().train()
    model.frozen.eval()
    camera, pinned = camera_of(Network(model, nn.MSELoss()))
    before = state(model)
    camera.take(pinned, 1)
    after = state(model)
    for name, tensor in before["tensors"].items():
        assert torch.equal(tensor, after["tensors"].pop(name)), name
    assert torch.equal(before["torch"], after["torch"])
    assert all(before[key] == after[key] for key in ("modes", "python", "numpy", "gradients", "attributes"))
    assert before["own random numbers"] == after["own random numbers"]


def test_a_network_that_fails_is_left_as_it_was():
    model = Unruly().train()
    modes = [module.training for module in model.modules()]
    with pytest.raises(ZeroDivisionError), in_evaluation(model, CPU):
        model.count += 1 / 0
    assert [module.training for module in model.modules()] == modes


class CannotSwitch(Unruly):
    def train(self, mode: bool = True) -> "CannotSwitch":
        if not mode:
            self.norm.eval()
            raise ValueError("no evaluation")
        super().train(mode)
        return self


def test_a_network_that_refuses_to_evaluate_is_left_as_it_was():
    model = CannotSwitch().train()
    with pytest.raises(ValueError, match="no evaluation"), in_evaluation(model, CPU):
        pass
    assert all(module.training for module in model.modules())


def test_precision_of_the_training_is_that_of_its_frames(tmp_path):
    make_dataset(tmp_path)
    job = model_job(tmp_path, train_epochs=1, precision="bfloat16")
    train(job)
    assert events_of(job, "frame")[-1]["error"]["mse"] > 0
    assert not warnings_of(job)


def test_pictures_of_a_large_network_are_bounded():
    channels = [1, *[64] * 12]
    layers = [nn.Conv2d(before, after, 3, padding=1) for before, after in pairwise(channels)]
    camera, pinned = camera_of(Network(nn.Sequential(*layers), nn.MSELoss()), (1, 96, 96), count=2)
    shown, _ = draw_capture(camera.take(pinned, 1), 0, None)
    pictures = [row["picture"] for row in shown["layers"] if row["picture"]]
    assert len(pictures) == 12 * 3
    assert sum(picture["width"] * picture["height"] for picture in pictures) <= MOST_PIXELS
    assert max(picture["width"] for picture in pictures) > 40


def test_a_network_of_too_many_layers_is_not_drawn():
    layers = [nn.Conv2d(16, 16, 3, padding=1) for _ in range(900)]
    camera, pinned = camera_of(Network(nn.Sequential(nn.Conv2d(1, 16, 1), *layers), nn.MSELoss()), (1, 16, 16), count=2)
    shown, _ = draw_capture(camera.take(pinned, 1), 0, None)
    assert all(row["picture"] is None for row in shown["layers"])
    assert "too many layers" in shown["layers"][0]["not_drawn"]
    assert shown["layers"][0]["histogram"]


@pytest.mark.parametrize(("rate", "ending"), [(1e6, TrainingDiverged), (0.001, StopRequested)])
def test_a_training_that_ends_early_shows_where_it_ended(tmp_path, rate, ending):
    make_dataset(tmp_path)
    job = model_job(tmp_path, learning_rate=rate, train_epochs=100_000, snapshot_interval=0, val_interval=0)
    watcher = threading.Thread(target=lambda: until(lambda: len(curve(job)) > 20) and job.stop.set(), daemon=True)
    if ending is StopRequested:
        watcher.start()
    with pytest.raises(ending):
        train(job)
    last = events_of(job, "frame")[-1]
    assert job.folder.frame(last["frame"]).exists()
    assert last["step"] == curve(job, "step")[-1]
    if ending is TrainingDiverged:
        assert "not finite" in last["warnings"][0]["text"]


class Stage:
    """Frames of a job whose steps and clock the test moves on."""

    def __init__(self, jobs_dir: Path, **changes: Any) -> None:
        dataset = make_dataset(jobs_dir)
        self.job = model_job(jobs_dir, **changes)
        self.now = 0.0
        self._steps = 0
        network = build_network(SEED, NetworkParams((1, 28, 28)))
        data, facts = open_data(dataset, "train", CPU), dataset.read_dataset()
        options = self.job, Plan(self.job.spec), network, Preparation(), nullcontext, data, dataset, facts, CPU
        self.frames = Frames(*options, clock=lambda: self.now)

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        self.frames.between_steps(Position(self._steps, 10, 1000))
        self._steps += 1

    def taken(self) -> list[dict[str, Any]]:
        return events_of(self.job, "frame")

    def has_drawn(self, count: int) -> bool:
        """Whether so many frames are there, and the thread that drew them is free for the next."""
        return len(self.taken()) == count and (self.frames._drawing is None or self.frames._drawing.done())

    def images(self) -> list[dict[str, Any]]:
        return [event["image"] for event in self.taken()]

    def shows(self, **image: Any) -> bool:
        self.pass_by(0.25)
        return image in self.images()


@pytest.fixture
def stage(tmp_path, monkeypatch):
    # By the test's own clock, whatever a frame costs on this machine.
    monkeypatch.setattr("jobs.training.frames.time.thread_time", lambda: 0.0)
    stage = Stage(tmp_path)
    with stage.frames:
        stage.pass_by(0)
        until(lambda: stage.has_drawn(1))
        yield stage


def test_ten_seconds_apart_within_an_epoch(stage):
    for count in range(2, 5):
        for _ in range(9):
            stage.pass_by(1)
        assert len(stage.taken()) == count - 1
        stage.pass_by(1.1)
        until(lambda count=count: stage.has_drawn(count))


def test_an_image_of_the_dataset_is_shown_soon_after_it_is_pinned(stage):
    # Of an hour, its share is enough for any frame, and the next one would come ten seconds later.
    stage.pass_by(3600)
    until(lambda: stage.has_drawn(2))
    pinned_at = stage.now
    pin_image(stage.job.folder, "train", 7)
    # On busy cores, the threads that look and draw need time, too.
    until(lambda: stage.shows(split="train", index=7), wait=lambda _: time.sleep(0.3))
    assert stage.now - pinned_at < 5
    content = frame(stage.job, 3)
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(content["pictures"][0]["picture"]["png"]))))
    assert np.array_equal(shown, digits(8)[7, 0])


def test_a_picture_that_was_sent_is_resized_as_test_one_does(stage, tmp_path):
    picture = tmp_path / "dog.png"
    Image.new("RGB", (100, 50), "red").save(picture)
    pin_upload(stage.job.folder, picture.read_bytes(), "dog.png")
    until(lambda: stage.shows(name="dog.png"))
    assert frame(stage.job, 2)["pictures"][0]["picture"]["width"] == 28


def test_a_pin_that_cannot_be_read_is_said_once_and_the_one_before_stays(stage):
    pin_upload(stage.job.folder, b"no picture", "dog.png")
    until(lambda: stage.pass_by(0.25) or warnings_of(stage.job), wait=lambda _: time.sleep(0.3))
    for _ in range(45):
        stage.pass_by(0.25)
    until(lambda: stage.has_drawn(2))
    (said,) = warnings_of(stage.job)
    assert said.startswith('The pinned "dog.png" cannot be shown. The file is no picture')
    assert said.endswith("The image before it stays pinned.")
    assert stage.images() == [{"split": "val", "index": 0}] * 2
    pin_image(stage.job.folder, "val", 400)
    until(lambda: stage.pass_by(0.25) or len(warnings_of(stage.job)) == 2)
    pin_image(stage.job.folder, "val", 3)
    until(lambda: stage.shows(split="val", index=3))


def test_an_image_that_was_pinned_while_the_job_waited_is_the_first(tmp_path):
    stage = Stage(tmp_path)
    pin_image(stage.job.folder, "train", 2)
    with stage.frames:
        stage.pass_by(0)
    assert stage.images() == [{"split": "train", "index": 2}]


def test_a_pin_that_was_broken_from_the_start_leaves_the_default(tmp_path):
    stage = Stage(tmp_path)
    stage.job.folder.pin.write_text("{")
    with stage.frames:
        stage.pass_by(0)
    assert stage.images() == [{"split": "val", "index": 0}]
    assert "Which image is pinned cannot be read" in warnings_of(stage.job)[0]


def test_a_network_that_takes_no_single_image_trains_without_frames(tmp_path):
    make_dataset(tmp_path)
    text = """
class Pair(nn.Module):
    def forward(self, input):
        if len(input) == 1:
            raise ValueError("one image is too few")
        return input

def network(params):
    model = nn.Sequential(Pair(), Scale(1 / 256), nn.Conv2d(1, 1, 3, padding=1))
    return dict(model=model, loss=nn.MSELoss(), label_hook=lambda input, label: input)
"""
    job = model_job(tmp_path, custom_network=text, train_epochs=3)
    train(job)
    assert len(curve(job)) == 6 * 3
    assert not events_of(job, "frame")
    (said,) = warnings_of(job)
    assert said == ("The layers cannot be shown. The network failed on line 5 with ValueError: one image is too few")


def test_frames_that_cannot_be_written_are_said_once(tmp_path):
    make_dataset(tmp_path)
    job = model_job(tmp_path, train_epochs=3)
    job.folder.frames.write_text("in the way")
    train(job)
    assert job.folder.snapshot_epochs() == [1, 2, 3]
    (said,) = warnings_of(job)
    assert said.startswith("The layers cannot be shown. A file could not be used")


def test_a_budget_grows_with_time():
    budget = Budget(spent=1.7)
    assert not budget.allows(seconds_passed=99)
    assert budget.allows(seconds_passed=101)
