"""A training that was left goes on as if nothing had happened: the same steps, losses and weights, wherever it was left."""

import hashlib
import threading
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from jobs.curves import Curve
from jobs.errors import StopRequested, UserError
from jobs.events import EventWriter, that_count
from jobs.networks.contract import Network
from jobs.training.checkpoints import load_snapshot
from jobs.training.job import train
from jobs.training.outside import set_attributes
from jobs.training.snapshot_files import of_epoch
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
    counting = list(chain.from_iterable(that_count(job.folder.events, ("train", "validation"))))
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


@pytest.mark.parametrize("seed", [3, None])
def test_the_seed_is_said_once_and_then_from_where_it_goes_on(tmp_path: Path, seed: int | None) -> None:
    make_dataset(tmp_path)
    job = model_job(tmp_path, **OPTIONS, random_seed=seed)
    for part, times in enumerate((14, 17, 19)):
        stopped = taken_up(job, StopAt(times)) if part else WorkerJob(job.folder, job.spec, job.events, StopAt(times))
        with pytest.raises(StopRequested):
            train(stopped)
    train(taken_up(job))
    said = [event["text"] for event in events_of(job, "message")]
    assert sum(text.startswith("Random seed:") for text in said) == 1
    assert sum("Taken up again after step" in text for text in said) == 3
    assert seed is None or "Random seed: 3." in said


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


def test_who_dies_while_it_replaces_the_only_snapshot_goes_on_from_that(tmp_path: Path) -> None:
    options = {"snapshot_interval": 0, "snapshot_minutes": ""}
    whole = trained(tmp_path / "whole", **options)
    make_dataset(tmp_path / "parts")
    job = model_job(tmp_path / "parts", **OPTIONS | options)
    for stop in (StopAt(4), StopAt(3)):
        with pytest.raises(StopRequested):
            train(taken_up(job, stop))
    # Paused twice in the first epoch: as if it had died before the manifest of the second pause.
    of_epoch(job.folder, 1).manifest_path.unlink()
    train(taken_up(job))
    assert [event["step"] for event in events_of(job, "resumed")] == [0, 4, 4]
    assert weights(job, 5) == weights(whole, 5)
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


# A module that counts in something of its own, and one that counts in validations, too.
KEEPING = """
import collections, random, types
import numpy as np

class Own:
    def __init__(self):
        self.steps = 0

OUTSIDE

class Keeping(nn.Module):
    def __init__(self):
        super().__init__()
        self.kept = BEGIN

    def forward(self, input):
        if self.training:
            CHANGE
        return input * (1 + (VALUE) / 1000)

def network(params):
    model = nn.Sequential(Scale(1 / 256), nn.Flatten(), nn.Linear(400, 10), Keeping(), nn.Linear(10, 400),
                          nn.Unflatten(1, (1, 20, 20)))
    return dict(model=model, loss=nn.MSELoss(), label_hook=lambda input, label: input)
"""


def keeping(begin: str, change: str, value: str, outside: str = "") -> str:
    text = KEEPING.replace("BEGIN", begin).replace("CHANGE", change).replace("VALUE", value)
    return text.replace("OUTSIDE", outside)


def stopped_and_taken_up(jobs_dir: Path, times: int = 13, **changes: Any) -> WorkerJob:
    make_dataset(jobs_dir)
    job = model_job(jobs_dir, **OPTIONS | changes)
    with pytest.raises(StopRequested):
        train(taken_up(job, StopAt(times)))
    train(taken_up(job))
    return job


def warnings_of(job: WorkerJob) -> list[str]:
    return [event["text"] for event in events_of(job, "message") if event["level"] == "warning"]


@pytest.mark.parametrize(
    ("begin", "change", "value"),
    [
        pytest.param("{'steps': {1: 0}}", "self.kept['steps'][1] += 1", "self.kept['steps'][1]", id="dict"),
        pytest.param("[0]", "self.kept.append(self.kept[-1] + 1)", "len(self.kept)", id="list"),
        pytest.param("(0, [0])", "self.kept = (self.kept[0] + 1, self.kept[1])", "self.kept[0]", id="tuple"),
        pytest.param("{0}", "self.kept.add(len(self.kept))", "len(self.kept)", id="set"),
        pytest.param("collections.deque([0], 50)", "self.kept.append(len(self.kept))", "sum(self.kept)", id="deque"),
        pytest.param("collections.Counter()", "self.kept['steps'] += 1", "self.kept['steps']", id="counter"),
        pytest.param("b''", "self.kept += bytes([len(self.kept)])", "len(self.kept)", id="bytes"),
        pytest.param("1", "self.kept *= 9**30", "len(str(self.kept))", id="an int of many digits"),
        pytest.param("np.float64(0)", "self.kept = self.kept + np.float64(0.1)", "float(self.kept)", id="number of numpy"),
        pytest.param("np.zeros(3)", "self.kept += 0.1", "float(self.kept.sum())", id="array"),
        pytest.param("torch.zeros(300, 300)", "self.kept += 0.1", "self.kept.mean()", id="large tensor"),
        pytest.param("[torch.zeros(2)]", "self.kept[0] += 0.1", "self.kept[0].mean()", id="tensor in a list"),
        pytest.param("None", "self.kept = input.detach()", "0 if self.kept is None else self.kept.mean()", id="last output"),
        pytest.param("random.Random(1)", "self.drawn = self.kept.random()", "getattr(self, 'drawn', 0)", id="random"),
        pytest.param(
            "np.random.default_rng(1)", "self.drawn = self.kept.random()", "getattr(self, 'drawn', 0)", id="generator"
        ),
        pytest.param(
            "np.random.RandomState(1)", "self.drawn = self.kept.normal()", "getattr(self, 'drawn', 0)", id="state"
        ),
        pytest.param(
            "torch.Generator()",
            "self.drawn = torch.rand(1, generator=self.kept)",
            "getattr(self, 'drawn', 0)",
            id="generator of torch",
        ),
    ],
)  # fmt: skip
def test_whatever_plain_things_a_module_keeps_go_on_with_it(
    tmp_path: Path, begin: str, change: str, value: str
) -> None:
    changes = {"custom_network": keeping(begin, change, value), "train_epochs": 2}
    whole = trained(tmp_path / "whole", **changes)
    job = stopped_and_taken_up(tmp_path / "parts", **changes)
    assert weights(job, 2) == weights(whole, 2)
    assert told(job) == told(whole)
    assert warnings_of(job) == warnings_of(whole) == []
    still = trained(tmp_path / "still", **changes | {"custom_network": keeping(begin, "pass", value)})
    assert weights(still, 2) != weights(whole, 2), "it matters"


@pytest.mark.parametrize(
    ("begin", "change", "value", "outside", "words"),
    [
        pytest.param("Own()", "self.kept.steps += 1", "self.kept.steps", "", "kept of model.3", id="object"),
        pytest.param(
            "types.SimpleNamespace(steps=0)", "self.kept.steps += 1", "self.kept.steps", "", "kept of model.3", id="namespace"
        ),
        pytest.param("[0, Own()]", "self.kept[0] += 1", "self.kept[0]", "", "kept of model.3", id="beside an object"),
        pytest.param(
            "iter(range(99))", "self.steps = next(self.kept)", "getattr(self, 'steps', 0)", "", "kept of model.3", id="iterator"
        ),
        pytest.param("None", "seen.add_(1)", "seen", "seen = torch.zeros(1)", "seen", id="tensor in a global"),
        pytest.param("None", "seen.add_(1)", "seen.mean()", "seen = torch.zeros(300, 300)", "seen", id="large one"),
        pytest.param("None", "seen[:] += 1", "float(seen[0])", "seen = np.zeros(1)", "seen", id="array in a global"),
        pytest.param("None", "self.drawn = rng.random()", "getattr(self, 'drawn', 0)", "rng = random.Random(1)", "rng",
                     id="random of a global"),
        pytest.param("None", "Own.steps += 1", "Own.steps", "Own.steps = 0", "Own", id="class"),
        pytest.param("None", "Keeping.seen = Keeping.__dict__.get('seen', 0) + 1", "getattr(Keeping, 'seen', 0)", "",
                     "Keeping.seen", id="class of a module"),
        pytest.param("None", "count()", "count.steps", "def count():\n    count.steps += 1\ncount.steps = 0", "count",
                     id="attribute of a function"),
        pytest.param("None", "count()", "0", "def make():\n    steps = [0]\n    def count():\n        steps[0] += 1\n"
                     "    return count\ncount = make()", "count", id="closure"),
    ],
)  # fmt: skip
def test_what_no_snapshot_holds_is_named(
    tmp_path: Path, begin: str, change: str, value: str, outside: str, words: str
) -> None:
    changes = {"train_epochs": 2, "live_layers": False}
    job = trained(tmp_path, custom_network=keeping(begin, change, value, outside), **changes)
    (warning,) = warnings_of(job)
    assert warning.startswith(f"The network's text changes {words} while it trains, ")
    assert "goes on with what the text begins with" in warning


@pytest.mark.parametrize(
    ("begin", "change", "value"),
    [
        pytest.param("seen", "seen[0] += 1", "seen[0]", id="the global itself"),
        pytest.param("None", "seen[0] += 1; self.kept = seen", "seen[0]", id="since the training began"),
        pytest.param("seen", "self.kept = [self.kept[0] + 1]", "self.kept[0] + 5 * seen[0]", id="another in its place"),
        pytest.param("tensor", "self.kept = self.kept + 1", "self.kept + 5 * tensor", id="another tensor in its place"),
    ],
)
def test_what_a_module_keeps_may_be_a_global_too(tmp_path: Path, begin: str, change: str, value: str) -> None:
    # Not yet in the steps that check the network.
    change = f"self.steps = vars(self).get('steps', 0) + 1\n            if self.steps > 5: {change}"
    text = keeping(begin, change, value, "seen = [0]\ntensor = torch.zeros(1)")
    whole = trained(tmp_path / "whole", custom_network=text)
    job = stopped_and_taken_up(tmp_path / "parts", custom_network=text)
    assert weights(job, 5) == weights(whole, 5)
    assert warnings_of(job) == []


def test_attributes_of_a_snapshot_of_an_older_version_are_put_back() -> None:
    model = nn.Sequential(nn.Identity())
    vars(model[0]).update(seen=torch.zeros(2), steps=0)
    held = model[0].seen
    set_attributes(Network(model), {"model.0": {"seen": torch.ones(2), "steps": 5, "mean": torch.ones(1)}})
    assert (held.tolist(), model[0].steps, model[0].mean.item()) == ([1, 1], 5, 1)


def test_parameters_in_lists_stay_parameters_and_weights_that_are_frozen_stay_so(tmp_path: Path) -> None:
    text = keeping(
        "[0]",
        "self.kept[0] += 1; self.own[0].requires_grad_(self.kept[0] < 8); self.seen = self.own[0].detach()",
        "(self.own[0] if self.own[0].requires_grad else self.seen).mean()",
    ).replace("self.kept = ", "self.weight = nn.Parameter(torch.ones(2)); self.own = [self.weight]; self.kept = ")
    whole = trained(tmp_path / "whole", custom_network=text, solver_type="NESTEROV")
    job = stopped_and_taken_up(tmp_path / "parts", custom_network=text, solver_type="NESTEROV")
    assert weights(job, 5) == weights(whole, 5)
    assert warnings_of(job) == []


@pytest.mark.parametrize("seen", ["weight + 2", "weight.t()", "weight[:1]"])
def test_gradients_flow_on_through_what_was_computed_of_weights(tmp_path: Path, seen: str) -> None:
    text = keeping("None", "pass", "self.seen.sum()").replace(
        "self.kept = ", f"self.weight = nn.Parameter(torch.rand(2, 2)); self.seen = self.{seen}; self.kept = "
    )
    # With frames, between which and steps it stays, too.
    whole = trained(tmp_path / "whole", custom_network=text, live_layers=False)
    job = stopped_and_taken_up(tmp_path / "parts", custom_network=text)
    assert weights(job, 5) == weights(whole, 5)
    assert warnings_of(job) == []


def test_layers_of_torch_that_list_their_weights_go_on(tmp_path: Path) -> None:
    text = keeping("nn.LSTM(10, 10, batch_first=True)", "pass", "self.kept(input[:, None])[0].mean()")
    whole = trained(tmp_path / "whole", custom_network=text, train_epochs=2)
    job = stopped_and_taken_up(tmp_path / "parts", custom_network=text, train_epochs=2)
    assert weights(job, 2) == weights(whole, 2)
    assert warnings_of(job) == []


@pytest.mark.parametrize("is_persistent", [True, False])
@pytest.mark.parametrize("place", ["model", "loss"])
def test_buffers_that_count_in_validations_count_no_batch_twice(
    tmp_path: Path, is_persistent: bool, place: str
) -> None:
    text = keeping("None", "pass", "self.count()")
    methods = f"""
        self.register_buffer("steps", torch.zeros(()), persistent={is_persistent})

    def count(self):
        self.steps += 1
        return self.steps
"""
    text = text.replace("        self.kept = None\n", methods)
    if place == "loss":
        text = (
            text.replace("Keeping(), ", "")
            .replace("loss=nn.MSELoss()", "loss=Loss()")
            .replace(
                "def network",
                """
class Loss(Keeping):
    def forward(self, output, target):
        return ((output - target) ** 2).mean() * (1 + self.count() / 1000)

def network""",
            )
        )
    whole = trained(tmp_path / "whole", custom_network=text, live_layers=False)
    # Ten steps, and then within the validation.
    job = stopped_and_taken_up(tmp_path / "parts", 12, custom_network=text, live_layers=False)
    assert (events_of(job, "resumed")[-1]["step"], len(events_of(job, "validation"))) == (10, 5)
    assert weights(job, 5) == weights(whole, 5)
    assert told(job) == told(whole)


def test_what_each_pass_computes_is_in_no_snapshot(tmp_path: Path) -> None:
    changes = {"train_epochs": 2, "val_interval": 1}
    text = keeping("None", "pass", "0").replace(
        "        if self.training", "        self.kept = input\n        if self.training"
    )
    job = trained(tmp_path, custom_network=text, **changes)
    assert "model.3" not in load_snapshot(job.folder, 1)["attributes"]
    assert warnings_of(job) == []


def test_a_list_of_what_steps_computed_is_named(tmp_path: Path) -> None:
    job = trained(tmp_path, custom_network=keeping("[]", "self.kept.append(input.mean())", "0"), train_epochs=2)
    (warning,) = warnings_of(job)
    assert warning.startswith("The network's text changes kept of model.3 while it trains, which is of a kind that no")


@pytest.mark.parametrize("begin", ["None", "torch.zeros(2)"])
def test_buffers_that_grow_go_on_with_their_parts(tmp_path: Path, begin: str) -> None:
    # Not yet in the steps that check the network.
    change = """self.steps = vars(self).get('steps', 0) + 1
            if self.steps > 5:
                self.kept = torch.full((self.steps,), 2.0)
                self.whole, self.part = self.kept, self.kept[2:]"""
    text = keeping(begin, change, "vars(self)['part'].sum() if 'part' in vars(self) else 0").replace(
        f"self.kept = {begin}", f"self.register_buffer('kept', {begin}, persistent=False)"
    )
    whole = trained(tmp_path / "whole", custom_network=text, train_epochs=2)
    job = stopped_and_taken_up(tmp_path / "parts", custom_network=text, train_epochs=2)
    assert weights(job, 2) == weights(whole, 2)
    assert warnings_of(job) == []


def test_what_a_text_keeps_where_no_snapshot_holds_it_is_told_once(tmp_path: Path) -> None:
    text = NETWORK.replace("def noisy(input, label):", "steps = [0]\n\ndef noisy(input, label):\n    steps[0] += 1")
    job = trained(tmp_path, custom_network=text)
    (warning,) = [event["text"] for event in events_of(job, "message") if event["level"] == "warning"]
    assert warning.startswith("The network's text changes steps while it trains, outside of its modules")
