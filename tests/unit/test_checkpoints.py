"""Snapshots are whole, and are read without running anything in them."""

import os
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from jobs.errors import UserError
from jobs.folder import JobFolder
from jobs.training.checkpoints import Position, load_snapshot, save_snapshot
from jobs.training.solvers import make_optimizer


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    return JobFolder(tmp_path)


def save(folder: JobFolder, step: int = 14) -> tuple[nn.Module, str]:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizer = make_optimizer("SGD", model.parameters(), 0.1)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return model, save_snapshot(folder, model, optimizer, Position(step, 10, 30), {"lr_policy": "step"}, seed=5)


def test_snapshot_holds_all_that_a_training_is(folder):
    model, file = save(folder)
    assert file == "snapshots/snapshot_2.pt"
    assert folder.snapshot_epochs() == [2]
    drawn = torch.rand(1)
    content = load_snapshot(folder, 2)
    assert torch.equal(content["model"]["weight"], model.weight)
    assert content["optimizer"]["state"][0]["momentum_buffer"].shape == (2, 3)
    assert content["schedule"] == {"lr_policy": "step"}
    assert content["position"]["epochs_done"] == 1.4
    assert content["seed"] == 5
    torch.set_rng_state(content["random_state"]["cpu"])
    assert torch.equal(torch.rand(1), drawn)


def test_last_step_of_an_epoch_belongs_to_it():
    assert [Position(step, 10, 30).epoch for step in (0, 1, 10, 11, 30)] == [0, 1, 1, 2, 3]


def test_writing_leaves_no_halves(folder):
    save(folder)
    assert [path.name for path in folder.snapshots.iterdir()] == ["snapshot_2.pt"]


def test_absent_snapshot_says_which_there_are(folder):
    save(folder)
    with pytest.raises(UserError, match=r"no snapshot of epoch 7\. There are: 2\."):
        load_snapshot(folder, 7)


def test_damaged_snapshot_is_a_sentence(folder):
    save(folder)
    folder.snapshot(2).write_bytes(folder.snapshot(2).read_bytes()[:500])
    with pytest.raises(UserError, match="cannot be read"):
        load_snapshot(folder, 2)


class Bomb:
    def __reduce__(self):
        return (os.mkdir, ("exploded",))


def test_code_in_a_snapshot_is_not_run(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    save(folder)
    torch.save({"model": Bomb()}, folder.snapshot(2))
    with pytest.raises(UserError, match="cannot be read"):
        load_snapshot(folder, 2)
    folder.snapshot(3).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UserError, match="cannot be read"):
        load_snapshot(folder, 3)
    assert not Path("exploded").exists()
